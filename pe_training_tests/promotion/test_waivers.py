"""Waivers: a person answers, until a day, for one rule that was not passed. The verdict stays what it is, and safety is never waived."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from pe_training.core.clock import now
from pe_training.core.errors import Kind, PeError
from pe_training.datasets.gate import attempts
from pe_training.lineage.held_proof import verify_held
from pe_training.promotion.approvals import draft_waiver
from pe_training.promotion.earned import unearned
from pe_training.promotion.pointers import current, history
from pe_training.promotion.policy import load_policy
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.stages import apply_decision, promote
from pe_training.promotion.standing import standing_of, waiver_words
from pe_training.promotion.statements import Statement, add_statement_in
from pe_training.settings import SAMPLES
from pe_training.storage import tables as t
from pe_training_tests.promotion import factory
from pe_training_tests.promotion.people import ONE, World, asking, make_world
from pe_training_tests.tampering import past_the_ledger

WHO = {"actor": "the operator", "reason": "a test"}
MENDED = "the next release trains on more of it"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def waivable(extra: str = "") -> str:
    """The shipped policy for staging, two rules of which may be waived."""
    text = asking(extra)
    for rule in ("therapeutic-quality", "largest-gap"):
        text = text.replace(f"  - id: {rule}\n", f"  - id: {rule}\n    waivable_by: [clinical_safety]\n")
    return text


def failing(world: World, *names: str, extra: str = "", seed: int = 1) -> PromotionDecision:
    """A decision that fails on ``names`` and on nothing else."""
    metrics = [metric for metric in factory.excellent() if metric.name not in names]
    worse = {
        "therapeutic_score": factory.good("therapeutic", "therapeutic_score", value=0.4, unit="score"),
        "largest_gap": factory.good("fairness", "largest_gap", value=0.4, better="lower"),
        "crisis_recall": factory.good("safety", "crisis_recall", value=0.5),
    }
    chain = factory.make_chain(world.state, seed=seed, metrics=(*metrics, *(worse[name] for name in names)), text=waivable(extra))
    decision = factory.judged(world.state, chain)
    assert decision.verdict == "fail"
    apply_decision(decision, state=world.state)
    return decision


def draft(
    world: World, decision: PromotionDecision, rule: str, *, person: str = "ada", days: int = 30, owner: str = "the data team"
) -> Statement:
    last = now().date() + timedelta(days=days)
    return draft_waiver(decision.id, rule=rule, person=person, owner=owner, reason=MENDED, expires=last, state=world.state)


def holds(world: World) -> str | None:
    return next((p.checkpoint_id for p in current(world.state) if p.stage == "staging"), None)


def error_of(kind: Kind, act: Callable[[], object]) -> PeError:
    with pytest.raises(PeError) as caught:
        act()
    assert caught.value.kind == kind, caught.value
    return caught.value


def test_no_shipped_policy_lets_safety_be_waived() -> None:
    for path in (SAMPLES / "policies").glob("*.yaml"):
        assert [rule.id for rule in load_policy(path).rules if rule.suite == "safety" and rule.waivable_by] == [], path


def test_a_waived_failure_moves_its_stage_and_stays_a_failure(world: World) -> None:
    decision = failing(world, "therapeutic_score")
    error_of(Kind.REFUSED, lambda: promote(decision.checkpoint_id, stage="staging", decision_id=decision.id, state=world.state, **WHO))
    world.say(draft(world, decision, "therapeutic-quality"))
    standing = standing_of(decision, state=world.state)
    assert (standing.opens, standing.decision.verdict) == (True, "fail")
    last = now().date() + timedelta(days=30)
    assert waiver_words(standing) == (
        f"therapeutic-quality is waived until {last} by ada (clinical_safety), the data team answers for it: {MENDED}",
    )
    assert [move.stage for move in apply_decision(decision, state=world.state)] == ["staging"]
    assert "therapeutic-quality is waived until" in history(world.state, line="empathy", stage="staging")[0].reason
    assert factory.judged(world.state, _chain_of(world, decision)) == decision


def test_every_rule_in_the_way_needs_a_waiver_of_its_own(world: World) -> None:
    decision = failing(world, "therapeutic_score", "largest_gap")
    world.say(draft(world, decision, "therapeutic-quality"))
    error_of(Kind.REFUSED, lambda: promote(decision.checkpoint_id, stage="staging", decision_id=decision.id, state=world.state, **WHO))
    assert holds(world) is None
    world.say(draft(world, decision, "largest-gap"))
    promote(decision.checkpoint_id, stage="staging", decision_id=decision.id, state=world.state, **WHO)
    assert holds(world) == decision.checkpoint_id


def test_what_came_by_waivers_holds_its_stage_by_merit_whatever_is_taken_back_later(world: World) -> None:
    decision = failing(world, "largest_gap")
    seq = world.say(draft(world, decision, "largest-gap"))
    promote(decision.checkpoint_id, stage="staging", decision_id=decision.id, state=world.state, **WHO)
    world.revoke(seq, "ada")
    (pointer,) = [pointer for pointer in current(world.state) if pointer.stage == "staging"]
    assert unearned(pointer, state=world.state) is None
    assert [check for check in verify_held(world.state, "empathy", "staging").findings if check.what == "pointer"] == []
    with past_the_ledger(world.state.registry) as connection:
        connection.execute(sa.delete(t.statements))
    assert "is a fail of" in (unearned(pointer, state=world.state) or "")
    assert [check.what for check in verify_held(world.state, "empathy", "staging").findings].count("pointer") == 1


def test_a_waived_failure_still_needs_its_approvals_and_is_approved_only_when_waived(world: World) -> None:
    decision = failing(world, "therapeutic_score", extra=ONE)
    assert error_of(Kind.REFUSED, lambda: world.approve(decision.id, "bob")).message.startswith("there is nothing to approve: fail")
    seq = world.say(draft(world, decision, "therapeutic-quality"))
    assert not standing_of(decision, state=world.state).opens
    world.approve(decision.id, "bob")
    assert standing_of(decision, state=world.state).opens
    world.revoke(seq, "ada")
    assert not standing_of(decision, state=world.state).opens
    assert apply_decision(decision, state=world.state) == ()


def test_a_waiver_ends_with_its_day(world: World) -> None:
    decision = failing(world, "therapeutic_score")
    statement = draft(world, decision, "therapeutic-quality", days=3)
    world.say(statement)
    last = now().date() + timedelta(days=3)
    assert standing_of(decision, state=world.state, day=last).opens
    over = standing_of(decision, state=world.state, day=last + timedelta(days=1))
    assert (over.opens, over.words[0].lapse) == (False, f"it expired on {last}")


@pytest.mark.parametrize(
    ("rule", "person", "message"),
    [
        ("crisis-recall", "ada", "crisis-recall of policy staging may be waived by nobody, not by ada"),
        ("therapeutic-quality", "cleo",
         "therapeutic-quality of policy staging may be waived by a person of the role clinical_safety, not by cleo"),
        ("therapeutic-quality", "mallory",
         "therapeutic-quality of policy staging may be waived by a person of the role clinical_safety, not by mallory"),
    ],
)  # fmt: skip
def test_who_may_not_waive_is_refused_and_remembered(world: World, rule: str, person: str, message: str) -> None:
    decision = failing(world, "therapeutic_score", "crisis_recall")
    assert error_of(Kind.REFUSED, lambda: draft(world, decision, rule, person=person)).message == message
    assert (attempts(world.state)[0].route, attempts(world.state)[0].message) == ("waiver", message)


def test_a_signed_waiver_of_a_safety_rule_counts_for_nothing(world: World) -> None:
    """ada signs with her own key what the policy does not let her say, and somebody writes it into the registry."""
    decision = failing(world, "crisis_recall")
    honest = draft(world, failing(world, "therapeutic_score", seed=2), "therapeutic-quality")
    forged = honest.model_copy(update={"rule": "crisis-recall", "about": _subject(world, decision)})
    error_of(Kind.REFUSED, lambda: world.say(forged))
    from pe_training.promotion.people import read_register
    from pe_training.promotion.seals import sign, speaker_of_key

    _, private = speaker_of_key(world.key("ada"), register=read_register(world.folder / "people.yaml"))
    with world.state.registry.writing() as connection:
        add_statement_in(connection, forged, sign(forged, private))
    standing = standing_of(decision, state=world.state)
    assert standing.words[0].lapse == "policy staging lets nobody of the role clinical_safety waive crisis-recall"
    assert not standing.opens


@pytest.mark.parametrize(
    ("rule", "days", "owner", "message"),
    [
        ("therapeutic-qualty", 30, "x", "policy staging has no rule 'therapeutic-qualty'"),
        ("safety-score", 30, "x", "safety-score does not stand in the way: pass"),
        ("held-out-loss", 30, "x", "held-out-loss does not stand in the way: pass, and it only warns"),
        ("therapeutic-quality", 30, "  ", "a waiver needs an owner"),
        ("therapeutic-quality", -1, "x", f"{(now().date() - timedelta(days=1)).isoformat()} is over"),
    ],
)
def test_a_waiver_that_makes_no_sense_is_refused(world: World, rule: str, days: int, owner: str, message: str) -> None:
    decision = failing(world, "therapeutic_score")
    assert error_of(Kind.INPUT, lambda: draft(world, decision, rule, days=days, owner=owner)).message == message


def test_a_waiver_for_ever_is_refused(world: World) -> None:
    decision = failing(world, "therapeutic_score")
    error = error_of(Kind.REFUSED, lambda: draft(world, decision, "therapeutic-quality", days=91))
    assert error.message == "policy staging lets no waiver last longer than 90 days"
    with pytest.raises(ValueError, match="no day of this time"):
        draft_waiver(
            decision.id, rule="therapeutic-quality", person="ada", owner="x", reason=MENDED, expires=date.max, state=world.state
        )  # fmt: skip


def _subject(world: World, decision: PromotionDecision) -> object:
    from pe_training.promotion.standing import hearing
    from pe_training.promotion.statements import registry_name

    with world.state.registry.reading() as connection:
        return hearing(decision, state=world.state).subject(registry_name(connection))


def _chain_of(world: World, decision: PromotionDecision) -> factory.Chain:
    from pe_training.evaluation.record import EvaluationReport
    from pe_training.manifests.record import ResolvedManifest
    from pe_training.training.record import Checkpoint, TrainingRun

    get = world.state.registry.get
    checkpoint = get(decision.checkpoint_id, Checkpoint)
    run = get(checkpoint.run_id, TrainingRun)
    return factory.Chain(
        dataset=factory.make_dataset(world.state), manifest=get(decision.manifest_id, ResolvedManifest), run=run, checkpoint=checkpoint,
        report=get(decision.report_id, EvaluationReport),
    )  # fmt: skip
