"""What a new model is compared with beside its base: the holder of a stage when the run begins, and nobody where nobody holds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.recall import Selector
from pe_training.lineage.recall import recall
from pe_training.manifests.resolve import resolve
from pe_training.manifests.schema import Manifest
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.training.identity import plan_run
from pe_training_tests.lineage import recalling
from pe_training_tests.manifests.test_parent import checkpoint_of
from pe_training_tests.training.steps import smoke

OTHER_DATA = ("name: sample-dialogues", "name: two")


def beside(incumbent: str, *changes: tuple[str, str]) -> Manifest:
    return smoke(
        ("name: sample-dialogues", "name: one"), ("baseline: base_model", f"baseline: base_model\n  incumbent: {incumbent}"), *changes
    )  # fmt: skip


def test_an_id_is_pinned_whole_and_moves_no_weight(state: State) -> None:
    held = checkpoint_of(state, smoke(OTHER_DATA))
    manifest = resolve(beside(held.id[:12]), state=state)
    assert manifest.spec.evaluation.incumbent == held.id
    assert plan_run(manifest).id == plan_run(resolve(smoke(("name: sample-dialogues", "name: one")), state=state)).id


def test_a_stage_that_nobody_holds_has_no_incumbent(state: State) -> None:
    assert resolve(beside("production"), state=state).spec.evaluation.incumbent is None


def test_a_stage_stands_for_its_holder_and_one_that_speaks_other_tokens_is_refused(tmp_path: Path) -> None:
    state = State(Settings(home=tmp_path / "home"))
    recalling.model(state, recalling.accepted(state, tmp_path, "one"), 1, line="talks")
    with pytest.raises(PeError) as caught:
        resolve(beside("staging", ("name: smoke", "name: talks")), state=state)
    assert (caught.value.kind, caught.value.where) == (Kind.INPUT, "evaluation.incumbent")
    assert "has another base model than this manifest" in caught.value.message


def test_one_that_comes_from_recalled_data_is_not_asked(state: State) -> None:
    held = checkpoint_of(state, smoke(OTHER_DATA))
    (dataset,) = state.registry.rows("ds", label="two")
    recall(state, Selector(kind="version", value=dataset.id), reason="withdrawn", actor="somebody")
    with pytest.raises(PeError) as caught:
        resolve(beside(held.id), state=state)
    assert caught.value.kind is Kind.REFUSED
