"""What no longer covers a stage is told and changes nothing by itself; what waits is listed with whom it waits for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from pe_training.core.clock import now
from pe_training.promotion.approvals import draft_waiver
from pe_training.promotion.lapses import lapses, newly_open, spoken_words, waiting_now
from pe_training.promotion.pointers import current
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.stages import apply_decision
from pe_training.promotion.statements import spoken_since
from pe_training.storage import tables as t
from pe_training_tests.promotion import factory
from pe_training_tests.promotion.people import FILE, ONE, World, asking, make_world
from pe_training_tests.tampering import past_the_ledger

TODAY = now().date()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def staged(world: World) -> tuple[PromotionDecision, int]:
    """A stage that ada's approval opened."""
    decision = factory.judged(world.state, factory.make_chain(world.state, text=asking()))
    seq = world.approve(decision.id, "ada")
    assert len(apply_decision(decision, state=world.state)) == 2
    return decision, seq


def test_an_approval_is_told_before_it_ends_and_after_and_the_stage_stays(world: World) -> None:
    decision, _ = staged(world)
    last = TODAY + timedelta(days=30)
    assert lapses(world.state) == ()
    assert lapses(world.state, day=last - timedelta(days=15)) == ()
    assert spoken_words(decision, state=world.state) == [f"approved by ada (clinical_safety), until {last}"]
    (soon,) = lapses(world.state, day=last - timedelta(days=14))
    assert (soon.over, str(soon)) == (False, f"staging of empathy: the approval of clinical_safety ends after {last}")
    (over,) = lapses(world.state, day=last + timedelta(days=1))
    assert (over.over, over.decision_id, over.until) == (True, decision.id, last.isoformat())
    assert str(over) == f"staging of empathy: the approval of clinical_safety does not hold: it expired on {last}"
    assert [p.stage for p in current(world.state)] == ["training", "staging"]
    assert lapses(world.state, line="another", day=last + timedelta(days=1)) == ()


def test_a_revoked_approval_and_a_person_who_left_are_told(world: World) -> None:
    _, seq = staged(world)
    world.file(FILE.replace("name: ada", "name: eve"))
    (gone,) = lapses(world.state)
    assert gone.what == "the approval of clinical_safety does not hold: ada does not hold the role clinical_safety here"
    world.file(FILE)
    world.revoke(seq, "ada")
    (revoked,) = lapses(world.state)
    assert revoked.what == "the approval of clinical_safety does not hold: revoked by ada: a reply was overlooked"


def test_a_waiver_that_ends_is_told(world: World) -> None:
    text = asking("").replace("  - id: largest-gap\n", "  - id: largest-gap\n    waivable_by: [clinical_safety]\n")
    metrics = [metric for metric in factory.excellent() if metric.name != "largest_gap"]
    wide = factory.good("fairness", "largest_gap", value=0.4, better="lower")
    decision = factory.judged(world.state, factory.make_chain(world.state, text=text, metrics=(*metrics, wide)))
    last = TODAY + timedelta(days=20)
    world.say(draft_waiver(
        decision.id, rule="largest-gap", person="ada", owner="the data team", reason="the groups are small", expires=last, state=world.state
    ))  # fmt: skip
    assert len(apply_decision(decision, state=world.state)) == 2
    assert lapses(world.state) == ()
    assert [one.what for one in lapses(world.state, day=last)] == [f"the waiver of largest-gap ends after {last}"]
    (over,) = lapses(world.state, day=last + timedelta(days=1))
    assert (over.over, over.what) == (True, f"the waiver of largest-gap does not hold: it expired on {last}")


def test_damage_is_told_and_hides_no_other_stage(world: World) -> None:
    _, seq = staged(world)
    with past_the_ledger(world.state.registry) as connection:
        connection.execute(sa.update(t.statements).values(body="{}"))
    (told,) = lapses(world.state)
    assert (told.over, told.what) == (
        True, f"what it was entered by cannot be read: statement {seq} was changed: its text is not what its digest says",
    )  # fmt: skip


def test_what_waits_is_the_newest_pass_of_a_line_and_stage_that_has_not_moved(world: World) -> None:
    first = factory.judged(world.state, factory.make_chain(world.state, seed=1, text=asking()))
    second = factory.judged(world.state, factory.make_chain(world.state, seed=2, text=asking()))
    other = factory.judged(world.state, factory.make_chain(world.state, line="crisis", text=asking()))
    factory.judged(world.state, factory.make_chain(world.state, seed=3, text=asking(), metrics=()))
    assert {one.decision_id for one in waiting_now(world.state)} == {second.id, other.id}
    assert [one.words for one in waiting_now(world.state, line="crisis")] == ["waits for the approval of clinical_safety (ada or bob)"]
    world.approve(second.id, "ada")
    apply_decision(second, state=world.state)
    assert [one.decision_id for one in waiting_now(world.state, line="empathy")] == []
    assert first.id != second.id


def test_a_decision_whose_statements_were_changed_waits_with_that(world: World) -> None:
    decision = factory.judged(world.state, factory.make_chain(world.state, text=asking()))
    world.approve(decision.id, "ada")
    with past_the_ledger(world.state.registry) as connection:
        connection.execute(sa.update(t.statements).values(seal="[]"))
    (one,) = waiting_now(world.state)
    assert (one.decision_id, one.words) == (decision.id, "cannot be known: statement 1 was changed: it cannot be read")


def test_the_last_approval_opens_a_decision_once(world: World) -> None:
    decision = factory.judged(world.state, factory.make_chain(world.state, text=asking(ONE + "  - {role: privacy, valid_days: 5}\n")))
    world.approve(decision.id, "bob")
    assert newly_open(spoken_since(world.state, 0), state=world.state) == {}
    seq = world.approve(decision.id, "ada", "privacy")
    assert newly_open(spoken_since(world.state, 0), state=world.state) == {decision.manifest_id: seq}
    apply_decision(decision, state=world.state)
    assert newly_open(spoken_since(world.state, 0), state=world.state) == {}
    with past_the_ledger(world.state.registry) as connection:
        connection.execute(sa.delete(t.records).where(t.records.c.id == decision.id))
    assert newly_open(spoken_since(world.state, 0), state=world.state) == {}
