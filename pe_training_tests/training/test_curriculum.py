"""Stages of a curriculum: each run goes on exactly where its parent ended."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from pe_training.core.errors import Kind, PeError
from pe_training.manifests.record import ResolvedManifest
from pe_training.manifests.schema import Manifest
from pe_training.training.record import Checkpoint
from pe_training.training.start import _require_labels, start_model
from pe_training_tests.lineage.recalling import accepted
from pe_training_tests.promotion.factory import damage
from pe_training_tests.training.runs import Prepared, register_run
from pe_training_tests.training.steps import smoke
from pe_training_tests.training.test_preference import PREFERENCE, rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),
]
FIRST = (("max_steps: 30", "max_steps: 4"), ("every_steps: 10", "every_steps: 4"), ("name: sample-dialogues", "name: planted"))
LORA = "adapter: {type: lora, r: 4, alpha: 8}"
SHAPES = pytest.mark.parametrize("adapter", ["", f", {LORA}"], ids=["full", "lora"])


def spec_of(model: str, *changes: tuple[str, str]) -> Manifest:
    return smoke(*changes, ('tiny-llama"', f'tiny-llama"{model}'))


def history(run: Prepared, made: Checkpoint) -> list[dict[str, Any]]:
    digest = next(file.digest for file in made.content_files if file.path == "history.jsonl")
    return [json.loads(line) for line in run.state.artifacts.get(digest).decode().splitlines()]


def first_stage(folder: Path, adapter: str) -> tuple[Prepared, Checkpoint]:
    home = folder / "home"
    accepted(Prepared(home, "", "").state, folder, "planted", rows())
    run = register_run(home, spec_of(adapter, *FIRST))
    return run, run.finish()


@SHAPES
def test_a_second_stage_starts_where_the_first_one_ended(tmp_path: Path, adapter: str) -> None:
    first, parent = first_stage(tmp_path, adapter)
    assert parent.val_loss < parent.val_loss_before
    child = register_run(first.home, spec_of(f"{adapter}, parent: {parent.id}", *FIRST, ("learning_rate: 3.0e-3", "learning_rate: 2.0e-3")))
    made = child.finish()
    assert made.val_loss_before == pytest.approx(parent.val_loss, abs=1e-6)
    assert made.val_loss < parent.val_loss
    assert child.state.registry.parents(child.run)["parent"] == parent.id

    preferring = spec_of(f"{adapter}, parent: {parent.id}", *PREFERENCE[:2], ("label_smoothing: 0.1", "reference: parent"), *FIRST)
    tuned = register_run(first.home, preferring)
    lines = history(tuned, tuned.finish())
    assert lines[0]["val_loss"] == pytest.approx(math.log(2), abs=1e-5)


@SHAPES
def test_the_weights_are_the_parents_to_the_bit_or_the_start_is_refused(tmp_path: Path, adapter: str) -> None:
    first, parent = first_stage(tmp_path, adapter)
    state = first.state
    child = register_run(first.home, spec_of(f"{adapter}, parent: {parent.id}", *FIRST))
    manifest = state.registry.get(child.manifest, ResolvedManifest)
    from pe_training.training.weights import tensors_digest, trained_tensors

    assert tensors_digest(trained_tensors(start_model(manifest, labels=None, state=state))) == parent.weights
    weights = next(file for file in parent.content_files if file.path.endswith(".safetensors"))
    damage(state, weights)
    with pytest.raises(PeError) as caught:
        start_model(manifest, labels=None, state=state)
    assert caught.value.kind is Kind.CORRUPT


def test_tensors_of_another_shape_are_refused_though_the_records_agree(tmp_path: Path) -> None:
    from safetensors.torch import save

    first, parent = first_stage(tmp_path, "")
    state = first.state
    data = save({"lm_head.weight": torch.zeros(3, 3)})
    attachment = parent.content_files[0].model_copy(update={"path": "model.safetensors", "digest": state.artifacts.put_bytes(data)})
    other = register_run(first.home, spec_of("", *FIRST, ("seed: 17", "seed: 5")))
    forged = parent.model_copy(update={"run_id": other.run, "content_files": (attachment,)})
    state.registry.put(forged)
    child = register_run(first.home, spec_of(f", parent: {forged.id}", *FIRST))
    with pytest.raises(PeError, match="does not fit this model"):
        start_model(state.registry.get(child.manifest, ResolvedManifest), labels=None, state=state)


def test_a_foreign_classifier_that_never_named_its_labels_is_told_by_the_names_that_it_gets() -> None:
    config = transformers.LlamaConfig(num_labels=2).to_json_string().encode()
    assert b"id2label" not in config
    _require_labels(["LABEL_0", "LABEL_1"], "im_1", config=config)
    with pytest.raises(PeError, match="tells LABEL_0, LABEL_1 apart, and the training rows have calm, crisis"):
        _require_labels(["calm", "crisis"], "im_1", config=config)
