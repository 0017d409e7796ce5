"""The judges that a manifest names: pinned by id, and refused before anything is trained where they never learnt to judge replies."""

from __future__ import annotations

import json

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.recall import Selector
from pe_training.lineage.recall import recall
from pe_training.manifests.resolve import resolve
from pe_training.manifests.schema import Manifest
from pe_training.storage.state import State
from pe_training.training.identity import plan_run
from pe_training.training.record import Checkpoint
from pe_training_tests.manifests.test_parent import DATASET, checkpoint_of
from pe_training_tests.promotion import factory as promotion
from pe_training_tests.training.steps import smoke

JUDGE = (
    ("name: sample-dialogues", "name: two"), ("name: smoke", "name: judge"), ("task: causal_lm", "task: text_classification"),
    ("packing: true", "label: exploration\n  reads: exchange"), ("[accuracy, safety, fairness, therapeutic]", "[accuracy]"),
    (", safety: 24, fairness: 4, therapeutic: 12", ""), ("base_model", "none"),
)  # fmt: skip


def judging(state: State, *changes: tuple[str, str], classes: tuple[str, ...] = ("0", "1", "2")) -> Checkpoint:
    """A judge that a run of JUDGE would have ended with."""
    config = promotion.kept(state, "config.json", json.dumps({"id2label": dict(enumerate(classes))}).encode())
    weights = promotion.kept(state, "model.safetensors", b"weights")
    return checkpoint_of(state, smoke(*JUDGE, *changes), content_files=(config, weights))


def asking(*judges: str) -> Manifest:
    return smoke(DATASET, ("baseline: base_model", f"baseline: base_model\n  judges: [{', '.join(judges)}]"))


def refusal(state: State, *judges: str) -> PeError:
    with pytest.raises(PeError) as caught:
        resolve(asking(*judges), state=state)
    return caught.value


def test_judges_are_pinned_by_id_and_move_no_weight(state: State) -> None:
    judge = judging(state)
    manifest = resolve(asking(judge.id[:12]), state=state)
    assert manifest.spec.evaluation.judges == [judge.id]
    assert plan_run(manifest).id == plan_run(resolve(smoke(DATASET), state=state)).id


def test_a_judge_of_what_a_therapist_does_may_read_the_reply_alone(state: State) -> None:
    judge = judging(state, ("label: exploration", "label: reflection"), ("reads: exchange", "reads: reply"), classes=("0", "1"))
    assert resolve(asking(judge.id), state=state).spec.evaluation.judges == [judge.id]
    graded = judging(state, ("label: exploration", "label: reflection"), ("seed: 17", "seed: 23"))
    assert refusal(state, graded.id).message.endswith("tells 0, 1, 2 apart, and not the grades 0, 1")


def test_what_never_learnt_to_judge_is_refused_with_what_a_judge_is(state: State) -> None:
    talker = checkpoint_of(state, smoke(DATASET))
    reader = judging(state, ("\n  reads: exchange", ""))
    other = judging(state, ("label: exploration", "label: warmth"))
    binary = judging(state, ("seed: 17", "seed: 19"), classes=("0", "1"))
    for named, why in (
        (talker, "is no classifier of replies"),
        (reader, "is no classifier of replies"),
        (other, "learnt 'warmth', which no suite asks about"),
        (binary, "tells 0, 1 apart, and not the grades 0, 1, 2"),
    ):
        found = refusal(state, named.id)
        assert (found.kind, found.where) == (Kind.INPUT, "evaluation.judges")
        assert found.message.endswith(why)
        assert "emotional_reaction, interpretation, exploration" in str(found.hint)


def test_two_judges_of_one_thing_and_a_stage_that_nobody_holds_are_refused(state: State) -> None:
    first, second = judging(state), judging(state, ("seed: 17", "seed: 18"))
    found = refusal(state, first.id, second.id)
    assert found.message.endswith("both judge 'exploration'")
    found = refusal(state, "judge@production")
    assert (found.kind, found.where) == (Kind.NOT_FOUND, "evaluation.judges")


def test_a_judge_that_learnt_from_recalled_data_is_refused(state: State) -> None:
    judge = judging(state)
    (dataset,) = state.registry.rows("ds", label="two")
    recall(state, Selector(kind="version", value=dataset.id), reason="consent withdrawn", actor="somebody")
    found = refusal(state, judge.id)
    assert found.kind is Kind.REFUSED
    assert "recalled data" in str(found)
