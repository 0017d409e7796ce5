"""QLoRA without a CUDA device is refused where somebody asks first, in the same words, and no other model takes its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from pe_training.cli.files import _parse
from pe_training.core.errors import Kind, PeError
from pe_training.costs.rates import load_rates
from pe_training.manifests.needs import require_instance
from pe_training.manifests.resolve import read_manifest
from pe_training.settings import SAMPLES
from pe_training.training import identity, needs
from pe_training.training.needs import require_machine
from pe_training_tests.training.steps import smoke

QLORA = SAMPLES / "manifests" / "wayfarer-12b-qlora.yaml"
RATES = load_rates(SAMPLES / "rates.yaml")
REFUSED = (
    "model.quantization: nf4 quantization needs a CUDA device and {} has none (name an instance that has one and run there, "
    "or remove model.quantization; the base model is never exchanged for another)"
)


def test_an_instance_without_an_accelerator_is_refused_and_one_with_it_is_planned() -> None:
    require_instance(read_manifest(QLORA), RATES)
    with pytest.raises(PeError) as caught:
        require_instance(smoke(("h100-80", "m5.large"), name="wayfarer-12b-qlora"), RATES)
    assert (caught.value.kind, str(caught.value)) == (Kind.INPUT, REFUSED.format("the instance m5.large"))


def test_pe_check_says_so_of_a_file(tmp_path: Path) -> None:
    assert _parse(QLORA) == ("manifest", [])
    path = tmp_path / "m.yaml"
    path.write_text(QLORA.read_text().replace("h100-80", "cpu-local"))
    with pytest.raises(PeError) as caught:
        _parse(path)
    assert str(caught.value) == f"{path}: {REFUSED.format('the instance cpu-local')}"


def test_this_machine_is_asked_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    here = identity.hardware_class()
    monkeypatch.setattr(needs, "hardware_class", lambda: here.model_copy(update={"accelerator": "none"}))
    with pytest.raises(PeError) as caught:
        require_machine(read_manifest(QLORA))
    assert str(caught.value) == REFUSED.format("this machine")
    require_machine(smoke())


def test_compiling_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = smoke(("precision: 32-true", "precision: 32-true, compile: true"))
    require_machine(spec)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PeError, match=r"compute\.compile: torch\.compile needs a C\+\+ compiler and this machine has none"):
        require_machine(spec)
