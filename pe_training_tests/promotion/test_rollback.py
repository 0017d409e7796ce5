"""The way back: only to what passes today, rehearsed without being made, and out of service where there is no way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.datasets.gate import attempts
from pe_training.datasets.recall import Selector
from pe_training.lineage.recall import recall
from pe_training.promotion.events import events
from pe_training.promotion.pointers import current, history
from pe_training.promotion.rollback import drill, plan_rollback, rollback
from pe_training.promotion.stages import apply, apply_decision, promote
from pe_training.promotion.withdrawal import plan_withdrawal, withdraw
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training_tests.promotion import factory
from pe_training_tests.promotion.living import living_chain
from pe_training_tests.promotion.standing import WHO, judged_again, produced, stricter


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(Settings(home=tmp_path, artifacts_url="", database_url="", policies=None))


@pytest.fixture
def own_policies(tmp_path: Path) -> State:
    """A home whose policies are its own, the shipped ones to begin with."""
    return State(Settings(home=tmp_path, artifacts_url="", database_url="", policies=tmp_path / "policies"))


def holder(state: State, place: str = "production") -> tuple[str, bool]:
    (found,) = [p for p in current(state, line="empathy") if p.stage == place]
    return found.checkpoint_id, found.holds


def error_of(kind: Kind, act: Callable[[], object]) -> PeError:
    with pytest.raises(PeError) as caught:
        act()
    assert caught.value.kind == kind, caught.value
    return caught.value


def test_a_target_that_todays_policy_refuses_is_refused_unless_somebody_says_otherwise(own_policies: State) -> None:
    state = own_policies
    stricter(state, "dev")  # the others as they are shipped
    first, second = produced(state, 1), produced(state, 2)
    stricter(state, "production")
    error = error_of(Kind.REFUSED, lambda: rollback("empathy", stage="production", state=state, **WHO))
    assert error.message == (
        f"{short(first.checkpoint.id)} would not pass production as it is today: "
        "fail: of 17 blocking rules of production, 1 failed, 16 passed"
    )
    assert error.hint == "choose another checkpoint with --to, or give --under-pinned-policy and the reason why it may serve all the same"
    assert holder(state) == (second.checkpoint.id, True)
    assert [(a.route, a.subject) for a in attempts(state)] == [("rollback", first.checkpoint.id)]
    plan = plan_rollback("empathy", stage="production", policy="pinned", state=state, **WHO)
    assert apply(plan, state).checkpoint_id == first.checkpoint.id
    assert history(state, line="empathy", stage="production")[0].reason == "a test (judged by its pinned policy only)"


def test_a_policy_that_is_gone_can_let_nobody_back(own_policies: State) -> None:
    state = own_policies
    stricter(state, "dev")
    produced(state, 1)
    produced(state, 2)
    (state.settings.policy_folder / "production.yaml").unlink()
    error = error_of(Kind.REFUSED, lambda: rollback("empathy", stage="production", state=state, **WHO))
    assert error.message.startswith("there is no policy production any more")
    assert rollback("empathy", stage="production", policy="pinned", state=state, **WHO).version == 3


def test_a_target_that_failed_when_it_was_judged_again_is_refused_and_so_is_its_promotion(state: State) -> None:
    first, second = produced(state, 1), produced(state, 2)
    passed = factory.judged(state, factory.again_under(state, first, "production"))
    later = judged_again(state, first, good=False)
    assert later.verdict == "fail"
    message = (
        f"{short(first.checkpoint.id)} was judged again for production and failed: fail: of 21 blocking rules of production, 1 failed, "
    )
    error = error_of(Kind.REFUSED, lambda: rollback("empathy", stage="production", state=state, **WHO))
    assert error.message.startswith(message)
    error = error_of(Kind.REFUSED, lambda: rollback("empathy", stage="production", policy="pinned", state=state, **WHO))
    assert error.message.startswith(message)
    apply_decision(factory.judged(state, first), state=state)
    error_of(Kind.REFUSED, lambda: promote(first.checkpoint.id, stage="production", decision_id=passed.id, state=state, **WHO))
    assert holder(state) == (second.checkpoint.id, True)


def test_a_later_pass_leaves_the_way_open(state: State) -> None:
    first, _ = produced(state, 1), produced(state, 2)
    assert judged_again(state, first, good=True).verdict == "pass"
    assert rollback("empathy", stage="production", state=state, **WHO).checkpoint_id == first.checkpoint.id


def test_a_target_without_a_trusted_signature_is_refused(state: State, tmp_path: Path) -> None:
    produced(state, 1)
    produced(state, 2)
    folder = tmp_path / "trusted"
    folder.mkdir()
    (folder / "one.pem").write_bytes(_public_key())
    asking = State(Settings(home=tmp_path, artifacts_url="", database_url="", trusted_keys=folder))
    error = error_of(Kind.REFUSED, lambda: rollback("empathy", stage="production", state=asking, **WHO))
    assert "is not signed by a trusted key" in error.message


def _public_key() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    return (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


# --- drills -----------------------------------------------------------------------------------------------------------


def test_a_drill_does_everything_but_the_swap_and_is_kept(state: State) -> None:
    first, second = produced(state, 1), produced(state, 2)
    moves = history(state, line="empathy")
    made = drill("empathy", stage="production", state=state, **WHO)
    assert (made.from_id, made.to_id, made.problem) == (second.checkpoint.id, first.checkpoint.id, None)
    assert [step.name for step in made.steps] == ["find", "prove", "canary", "swap"]
    assert all(step.duration_s >= 0 for step in made.steps)
    assert holder(state) == (second.checkpoint.id, True)
    assert history(state, line="empathy") == moves
    (event,) = events(state, line="empathy", place="production", kind="drill")
    assert (event.version, event.actor) == (2, "ada")
    assert event.body == {
        "from": second.checkpoint.id,
        "to": first.checkpoint.id,
        "reason": "a test",
        "problem": None,
        "steps": {step.name: step.duration_s for step in made.steps},
    }


def test_a_drill_that_would_be_refused_says_why_and_after_which_step(state: State) -> None:
    first, _ = produced(state, 1), produced(state, 2)
    factory.damage(state, first.checkpoint.content_files[0])
    made = drill("empathy", stage="production", state=state, **WHO)
    assert made.problem is not None
    assert made.problem.startswith(f"corrupt: adapter_model.safetensors of {short(first.checkpoint.id)}")
    assert [step.name for step in made.steps] == ["find", "prove"]
    assert events(state, line="empathy", place="production", kind="drill")[0].body["problem"] == made.problem


def test_a_drill_without_a_way_back_is_a_finding_and_of_an_empty_stage_an_error(state: State) -> None:
    chain = produced(state, 1)
    made = drill("empathy", stage="production", state=state, **WHO)
    assert (made.to_id, made.problem) == (None, f"refused: no checkpoint held production of empathy before {short(chain.checkpoint.id)}")
    error_of(Kind.NOT_FOUND, lambda: drill("nobody", stage="production", state=state, **WHO))


def test_a_living_target_answers_before_it_comes_back(state: State) -> None:
    first = living_chain(state, seed=1)
    apply_decision(factory.judged(state, first), state=state)
    apply_decision(factory.judged(state, factory.make_chain(state, seed=2)), state=state)
    rollback("empathy", stage="staging", state=state, **WHO)
    asked = events(state, line="empathy", place="staging", kind="canary")
    assert [event.body["action"] for event in asked] == ["rollback", "promote"]


# --- out of service ---------------------------------------------------------------------------------------------------


def test_what_is_withdrawn_holds_nothing_keeps_its_history_and_can_come_back(state: State) -> None:
    chain = produced(state, 1)
    production = factory.judged(state, factory.again_under(state, chain, "production"))
    plan = plan_withdrawal("empathy", place="production", state=state, **WHO)
    assert holder(state) == (chain.checkpoint.id, True)
    gone = apply(plan, state)
    assert (gone.checkpoint_id, gone.version, gone.withdrawn) == (chain.checkpoint.id, 2, "a test")
    newest = history(state, line="empathy", stage="production")[0]
    assert (newest.action, newest.from_id, newest.to_id) == ("withdraw", chain.checkpoint.id, chain.checkpoint.id)
    error = error_of(Kind.CONFLICT, lambda: withdraw("empathy", place="production", state=state, **WHO))
    assert error.message == f"{short(chain.checkpoint.id)} was withdrawn from production of empathy before: a test"
    assert apply_decision(production, state=state) == ()  # no sensor puts it back
    back = promote(chain.checkpoint.id, stage="production", decision_id=production.id, state=state, **WHO)
    assert (back.version, back.holds) == (3, True)


def test_a_model_that_was_withdrawn_below_may_not_go_up(state: State) -> None:
    chain = factory.make_chain(state)
    apply_decision(factory.judged(state, chain), state=state)
    withdraw("empathy", place="staging", state=state, **WHO)
    production = factory.judged(state, factory.again_under(state, chain, "production"))
    error = error_of(Kind.REFUSED, lambda: promote(chain.checkpoint.id, stage="production", decision_id=production.id, state=state, **WHO))
    assert error.message.endswith("it does not hold staging, nothing does")


def test_a_damaged_and_recalled_model_can_still_be_withdrawn(state: State) -> None:
    chain = produced(state, 1)
    factory.damage(state, chain.checkpoint.content_files[0])
    recall(state, Selector(kind="version", value=chain.dataset.id), reason="consent", actor="ada")
    assert not withdraw("empathy", place="production", state=state, **WHO).holds


@pytest.mark.parametrize(
    ("place", "reason", "kind"), [("production", " ", Kind.INPUT), ("prod", "x", Kind.INPUT), ("staging", "x", Kind.NOT_FOUND)]
)
def test_a_withdrawal_needs_a_place_that_is_held_and_a_reason(state: State, place: str, reason: str, kind: Kind) -> None:
    error_of(kind, lambda: withdraw("empathy", place=place, actor="ada", reason=reason, state=state))
