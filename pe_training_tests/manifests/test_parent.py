"""A run that starts from a checkpoint: named by id or stage, pinned by id, of the same shape, and never of recalled data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.recall import Selector
from pe_training.lineage.recall import recall
from pe_training.manifests.record import BaseModelPin, ResolvedManifest
from pe_training.manifests.resolve import resolve
from pe_training.manifests.schema import Manifest
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.training.identity import plan_run
from pe_training.training.record import Checkpoint
from pe_training_tests.lineage import recalling
from pe_training_tests.promotion import factory as promotion
from pe_training_tests.training.steps import smoke

LORA = "adapter: {type: lora, r: 4, alpha: 8, dropout: 0.1}"
DATASET = ("name: sample-dialogues", "name: one")


def with_model(text: str, *changes: tuple[str, str]) -> Manifest:
    """The smoke manifest on dataset ``one``; ``text`` goes into its ``model``."""
    return smoke(DATASET, ('"scratch:tiny-llama"', f'"scratch:tiny-llama"{text}'), *changes)


def checkpoint_of(state: State, spec: Manifest, **changes: Any) -> Checkpoint:
    """What a run of ``spec`` would have ended with."""
    manifest = resolve(spec, state=state)
    run = plan_run(manifest)
    weights = promotion.kept(state, "model.safetensors", b"weights")
    made = Checkpoint(
        run_id=run.id, line=spec.name, task=spec.model_task, base=manifest.base, format="full", step=2, weights=weights.digest,
        val_loss_before=3.0, val_loss=2.5, content_files=(weights,),
    ).model_copy(update=changes)  # fmt: skip
    for record in (manifest, run, made):
        state.registry.put(record)
    return made


def test_a_parent_is_pinned_by_its_id_and_is_an_ancestor_of_manifest_and_run(state: State) -> None:
    parent = checkpoint_of(state, with_model(""))
    manifest = resolve(with_model(f", parent: {parent.id[:12]}"), state=state)
    assert manifest.spec.model.parent == parent.id
    assert manifest.parents()["parent"] == parent.id
    assert plan_run(manifest).parents()["parent"] == parent.id
    assert manifest.recipe()["model"]["parent"] == parent.id
    assert ResolvedManifest.from_json(manifest.to_json()) == manifest


def test_a_line_and_its_stage_stand_for_what_holds_it_now(tmp_path: Path) -> None:
    state = State(Settings(home=tmp_path / "home"))
    dataset = recalling.accepted(state, tmp_path, "one")
    base = resolve(with_model(""), state=state).base
    held = recalling.model(state, dataset, 1, line="talks").chain.checkpoint
    with pytest.raises(PeError, match="has another base model than this manifest"):  # found; the factory's base is another
        resolve(with_model(", parent: talks@staging"), state=state)
    assert held.base != base
    with pytest.raises(PeError) as caught:
        resolve(with_model(", parent: talks@production"), state=state)
    assert caught.value.kind is Kind.NOT_FOUND
    assert str(caught.value).startswith("model.parent: nothing holds 'production' of talks")
    with pytest.raises(PeError, match="no stage of 'talk' holds a checkpoint"):
        resolve(with_model(", parent: talk@staging"), state=state)


@pytest.mark.parametrize(
    ("parent", "child", "what"),
    [
        ("", f", {LORA}", "adapter than this manifest: none, not alpha 8, quantization none, r 4, target_modules all-linear, type lora"),
        (f", {LORA}", "", "adapter than this manifest: alpha 8, quantization none, r 4, target_modules all-linear, type lora, not none"),
        (
            f", {LORA}",
            f", {LORA.replace('r: 4', 'r: 8')}",
            "adapter than this manifest: alpha 8, quantization none, r 4",
        ),
    ],
)
def test_a_parent_of_another_shape_is_refused(state: State, parent: str, child: str, what: str) -> None:
    made = checkpoint_of(state, with_model(parent))
    with pytest.raises(PeError) as caught:
        resolve(with_model(f"{child}, parent: {made.id}"), state=state)
    assert (caught.value.kind, caught.value.where) == (Kind.INPUT, "model.parent")
    assert what in caught.value.message


def test_an_adapter_over_random_weights_goes_on_over_the_same_ones(state: State) -> None:
    made = checkpoint_of(state, with_model(f", {LORA}"))
    with pytest.raises(PeError, match="has another seed than this manifest: 17, not 18"):
        resolve(with_model(f", {LORA}, parent: {made.id}", ("seed: 17", "seed: 18")), state=state)


def test_another_dropout_is_the_same_shape(state: State) -> None:
    made = checkpoint_of(state, with_model(f", {LORA}"))
    child = with_model(f", {LORA.replace('dropout: 0.1', 'dropout: 0.0')}, parent: {made.id}")
    assert resolve(child, state=state).spec.model.parent == made.id


def test_a_parent_of_another_task_or_base_is_refused(state: State) -> None:
    other = checkpoint_of(state, with_model(""), task="text_classification")
    with pytest.raises(PeError, match="has another task than this manifest: text_classification, not causal_lm"):
        resolve(with_model(f", parent: {other.id}"), state=state)
    elsewhere = checkpoint_of(state, with_model("", ("seed: 17", "seed: 18")), base=BaseModelPin(ref="hub:a/b", pin="git:0"))
    with pytest.raises(PeError, match="has another base model than this manifest: pin git:0, ref hub:a/b"):
        resolve(with_model(f", parent: {elsewhere.id}"), state=state)


def test_a_model_of_dialogues_may_be_the_parent_of_one_of_preferences(state: State) -> None:
    made = checkpoint_of(state, with_model(""))
    child = with_model(f", parent: {made.id}", ("task: causal_lm", "task: preference"), ("packing: true", "dpo: {reference: parent}"))
    assert resolve(child, state=state).parents()["parent"] == made.id


def test_a_parent_made_from_recalled_data_is_refused_and_taints_its_children(state: State) -> None:
    made = checkpoint_of(state, with_model(""))
    child = resolve(with_model(f", parent: {made.id}", ("name: one", "name: two")), state=state)
    state.registry.put(child)
    outcome = recall(state, Selector(kind="version", value=child_dataset(state, "one")), reason="withdrawn", actor="ada")
    assert child.id in outcome.tainted["mf"]  # by its parent alone: its own dataset is another
    with pytest.raises(PeError, match="comes from recalled data"):
        resolve(with_model(f", parent: {made.id}", ("name: one", "name: two")), state=state)


def child_dataset(state: State, name: str) -> str:
    from pe_training.datasets.accept import resolve_version

    return resolve_version(state, name=name, version="latest").id
