"""Roles point only to models that came into production by merit and that nothing speaks against; one of many who move one wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.datasets.gate import attempts
from pe_training.datasets.recall import Selector
from pe_training.lineage.recall import recall
from pe_training.lineage.substitutes import tainted_stages
from pe_training.promotion.pointers import Pointer, at, at_every_line, current, history
from pe_training.promotion.roles import plan_role, set_role
from pe_training.promotion.rollback import rollback
from pe_training.promotion.stages import apply, apply_decision
from pe_training.promotion.withdrawal import withdraw
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.storage.tables import stage_moves
from pe_training_tests.postgres_server import PostgresServer
from pe_training_tests.promotion import factory
from pe_training_tests.promotion.standing import WHO, judged_again, produced


@pytest.fixture
def state(tmp_path: Path) -> State:
    return factory.new_state(tmp_path)


def error_of(kind: Kind, act: Callable[[], object]) -> PeError:
    with pytest.raises(PeError) as caught:
        act()
    assert caught.value.kind == kind, caught.value
    return caught.value


def test_a_role_is_taken_kept_through_a_promotion_and_logged(state: State) -> None:
    first = produced(state, 1)
    plan = plan_role("empathy", role="crisis", checkpoint_id=first.checkpoint.id, state=state, **WHO)
    assert [p.stage for p in current(state)] == ["training", "staging", "production"]
    taken = apply(plan, state)
    assert (taken.stage, taken.version, taken.checkpoint_id) == ("crisis", 1, first.checkpoint.id)
    second = produced(state, 2)
    held = {p.stage: p.checkpoint_id for p in current(state, line="empathy")}
    assert list(held) == ["training", "staging", "production", "crisis"]
    assert (held["production"], held["crisis"]) == (second.checkpoint.id, first.checkpoint.id)
    (move,) = history(state, line="empathy", stage="crisis")
    assert (move.action, move.actor, move.reason, move.decision_id) == ("assign", "ada", "a test", taken.decision_id)


def test_what_only_held_staging_has_no_role_and_the_attempt_is_kept(state: State) -> None:
    chain = factory.make_chain(state)
    apply_decision(factory.judged(state, chain), state=state)
    error = error_of(Kind.REFUSED, lambda: set_role("empathy", role="crisis", checkpoint_id=chain.checkpoint.id, state=state, **WHO))
    assert str(error) == (
        f"{chain.checkpoint.id}: {short(chain.checkpoint.id)} never held production of empathy, so it may not be its crisis "
        "(promote it to production first: a role skips no stage)"
    )
    assert [(a.route, a.subject) for a in attempts(state)] == [("role", chain.checkpoint.id)]


def test_a_model_of_another_line_has_no_role_here(state: State) -> None:
    other = produced(state, 1, line="crisis")
    produced(state, 1)
    error_of(Kind.REFUSED, lambda: set_role("empathy", role="fallback", checkpoint_id=other.checkpoint.id, state=state, **WHO))


def test_damaged_recalled_and_failing_models_have_no_role(state: State) -> None:
    damaged, failing, tainted = produced(state, 1), produced(state, 2), produced(state, 3)
    factory.damage(state, damaged.checkpoint.content_files[0])
    judged_again(state, failing, good=False)

    def take(chain: factory.Chain) -> Callable[[], object]:
        return lambda: set_role("empathy", role="primary", checkpoint_id=chain.checkpoint.id, state=state, **WHO)

    error_of(Kind.CORRUPT, take(damaged))
    error_of(Kind.REFUSED, take(failing))
    take(tainted)()
    recall(state, Selector(kind="version", value=tainted.dataset.id), reason="consent", actor="ada")
    error_of(Kind.REFUSED, lambda: set_role("empathy", role="crisis", checkpoint_id=tainted.checkpoint.id, state=state, **WHO))
    ways = {way.stage: way.command for way in tainted_stages(state, line="empathy")}
    assert ways == {"training": None, "staging": None, "production": None, "primary": None}  # all of them are of that data


def test_a_recalled_model_in_a_role_names_the_one_to_take_its_place(state: State) -> None:
    first = produced(state, 1)
    second = produced(state, 2)
    set_role("empathy", role="crisis", checkpoint_id=second.checkpoint.id, state=state, **WHO)
    recall(state, Selector(kind="version", value=second.dataset.id), reason="consent", actor="ada")
    assert first.dataset.id == second.dataset.id
    (way,) = [way for way in tainted_stages(state, line="empathy") if way.stage == "crisis"]
    assert way.replacement is None


@pytest.mark.parametrize(("role", "checkpoint"), [("boss", "ck_" + "0" * 32), ("crisis", "pd_" + "0" * 32)])
def test_an_unknown_role_and_what_is_no_checkpoint_are_refused(state: State, role: str, checkpoint: str) -> None:
    error_of(Kind.INPUT, lambda: set_role("empathy", role=role, checkpoint_id=checkpoint, state=state, **WHO))


def test_the_role_that_it_has_is_a_conflict_and_a_withdrawn_one_can_be_given_again(state: State) -> None:
    chain = produced(state, 1)

    def take() -> Pointer:
        return set_role("empathy", role="crisis", checkpoint_id=chain.checkpoint.id, state=state, **WHO)

    take()
    assert error_of(Kind.CONFLICT, take).message == f"{short(chain.checkpoint.id)} is the crisis of empathy already"
    withdraw("empathy", place="crisis", state=state, **WHO)
    assert take().version == 3
    assert current(state, line="empathy")[-1].holds


# --- as of ------------------------------------------------------------------------------------------------------------


def test_every_line_can_be_asked_what_held_it_at_a_time_page_by_page(state: State) -> None:
    chains = {line: produced(state, 1, line=line) for line in ("a", "b", "c")}
    set_role("b", role="crisis", checkpoint_id=chains["b"].checkpoint.id, state=state, **WHO)
    withdraw("c", place="production", state=state, **WHO)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    with state.registry.writing() as connection:
        for seq in connection.execute(sa.select(stage_moves.c.seq)).scalars().all():
            at_hour = (began + timedelta(hours=int(seq))).strftime("%Y-%m-%dT%H:%M:%SZ")
            connection.execute(sa.update(stage_moves).where(stage_moves.c.seq == seq).values(at=at_hour))
    later = began + timedelta(days=30)
    everything, following = at_every_line(state, later)
    assert following is None
    assert [(move.line, move.stage, move.action) for move in everything] == [
        ("a", "training", "enter"), ("a", "staging", "promote"), ("a", "production", "promote"),
        ("b", "training", "enter"), ("b", "staging", "promote"), ("b", "production", "promote"), ("b", "crisis", "assign"),
        ("c", "training", "enter"), ("c", "staging", "promote"), ("c", "production", "withdraw"),
    ]  # fmt: skip
    page, following = at_every_line(state, later, limit=2)
    assert (following, {move.line for move in page}) == ("b", {"a", "b"})
    page, following = at_every_line(state, later, after="b", limit=2)
    assert (following, page) == (None, at(state, later, line="c"))
    assert at_every_line(state, began) == ((), None)


# --- races ------------------------------------------------------------------------------------------------------------


def race(home: Path, url: str, act: Callable[[State, int], Pointer]) -> list[Pointer | PeError]:
    """What came of sixteen who act at once."""
    start, results = threading.Barrier(16), list[Pointer | PeError]()

    def go(number: int) -> None:
        own = State(Settings(home=home, artifacts_url="", database_url=url))
        start.wait()
        try:
            results.append(act(own, number))
        except PeError as error:
            results.append(error)
        finally:
            own.registry.close()

    threads = [threading.Thread(target=go, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 16
    return results


def races(home: Path, url: str) -> None:
    """Sixteen who want a role, and sixteen who roll back: of each one wins, and the others are told so."""
    state = State(Settings(home=home, artifacts_url="", database_url=url))
    first, second = produced(state, 1), produced(state, 2)
    ids = [first.checkpoint.id, second.checkpoint.id]

    def take(own: State, number: int) -> Pointer:
        return set_role("empathy", role="crisis", checkpoint_id=ids[number % 2], expected_version=0, state=own, **WHO)

    def back(own: State, _: int) -> Pointer:
        return rollback("empathy", stage="production", expected_version=2, state=own, **WHO)

    for act, place in ((take, "crisis"), (back, "production")):
        results = race(home, url, act)
        won = [result for result in results if isinstance(result, Pointer)]
        assert len(won) == 1
        assert {result.kind for result in results if isinstance(result, PeError)} == {Kind.CONFLICT}
        assert [p for p in current(state, line="empathy") if p.stage == place] == won
    assert [move.action for move in history(state, line="empathy", stage="production")] == ["rollback", "promote", "promote"]
    assert len(history(state, line="empathy", stage="crisis")) == 1
    state.registry.close()


def test_of_sixteen_who_move_a_role_or_roll_back_exactly_one_wins(tmp_path: Path) -> None:
    races(tmp_path, "")


@pytest.mark.slow
def test_of_sixteen_exactly_one_wins_on_postgres_too(tmp_path: Path, postgres: PostgresServer) -> None:
    races(tmp_path, postgres.new_database(tmp_path.name))
