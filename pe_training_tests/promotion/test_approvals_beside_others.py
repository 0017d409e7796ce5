"""Speaking and promoting at once: whoever commits first is seen by the other, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.promotion.approvals import draft_approval, draft_revocation, give
from pe_training.promotion.people import read_register
from pe_training.promotion.pointers import Pointer, current
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.seals import sign, speaker_of_key
from pe_training.promotion.stages import apply_decision, promote
from pe_training.promotion.standing import standing_of
from pe_training.promotion.statements import Seal, Statement
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training_tests.postgres_server import PostgresServer, beside
from pe_training_tests.promotion import factory
from pe_training_tests.promotion.people import WHY, World, asking, make_world

WHO = {"actor": "the operator", "reason": "a test"}


def passed(world: World) -> PromotionDecision:
    decision = factory.judged(world.state, factory.make_chain(world.state, text=asking()))
    apply_decision(decision, state=world.state)
    return decision


def ready(world: World, statement: Statement) -> tuple[Statement, Seal]:
    """Sealed, and not handed in."""
    _, private = speaker_of_key(world.key(statement.person), register=read_register(world.folder / "people.yaml"))
    return statement, sign(statement, private)


def moved(decision: PromotionDecision, state: State) -> Pointer:
    return promote(decision.checkpoint_id, stage="staging", decision_id=decision.id, state=state, **WHO)


def test_of_a_revocation_and_many_promoters_the_order_decides(tmp_path: Path) -> None:
    """Sixteen promoters and the revocation start together: either one promoter was first, or nobody was."""
    world = make_world(tmp_path)
    decision = passed(world)
    seq = world.approve(decision.id, "ada")
    no = ready(world, draft_revocation(seq, person="ada", reason="a reply was overlooked", state=world.state))
    start, results = threading.Barrier(17), list[object]()

    def go(act: Callable[[State], object]) -> None:
        own = State(Settings(home=world.state.settings.home, people=world.state.settings.people))
        start.wait()
        try:
            results.append(act(own))
        except PeError as error:
            results.append(error)

    acts: list[Callable[[State], object]] = [lambda own: give(*no, state=own), *([lambda own: moved(decision, own)] * 16)]
    threads = [threading.Thread(target=go, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [result for result in results if isinstance(result, Pointer)]
    held = [pointer for pointer in current(world.state) if pointer.stage == "staging"]
    assert len(results) == 17
    assert (len(winners), winners) == (len(held), held)
    assert len(winners) <= 1
    assert {error.kind for error in results if isinstance(error, PeError)} <= {Kind.REFUSED, Kind.CONFLICT}
    assert not standing_of(decision, state=world.state).opens
    with pytest.raises(PeError):
        moved(decision, world.state)


@pytest.fixture
def shared(postgres: PostgresServer, tmp_path: Path) -> World:
    return make_world(tmp_path, database_url=postgres.new_database(tmp_path.name))


@pytest.mark.slow
def test_on_postgres_a_promotion_waits_for_the_revocation_before_it_and_is_refused(postgres: PostgresServer, shared: World) -> None:
    decision = passed(shared)
    seq = shared.approve(decision.id, "ada")
    no = ready(shared, draft_revocation(seq, person="ada", reason="a reply was overlooked", state=shared.state))
    _, error = beside(postgres, lambda: give(*no, state=shared.state), lambda: moved(decision, shared.state))
    assert isinstance(error, PeError)
    assert "waits for the approval of clinical_safety" in error.message
    assert [pointer.stage for pointer in current(shared.state)] == ["training"]


@pytest.mark.slow
def test_on_postgres_a_revocation_waits_for_the_promotion_before_it(postgres: PostgresServer, shared: World) -> None:
    decision = passed(shared)
    seq = shared.approve(decision.id, "ada")
    no = ready(shared, draft_revocation(seq, person="ada", reason="a reply was overlooked", state=shared.state))
    pointer, said = beside(postgres, lambda: moved(decision, shared.state), lambda: give(*no, state=shared.state))
    assert (pointer.stage, said) == ("staging", 2)
    assert not standing_of(decision, state=shared.state).opens


@pytest.mark.slow
def test_on_postgres_one_person_cannot_take_two_roles_at_once(postgres: PostgresServer, shared: World) -> None:
    text = asking("approvals:\n  - {role: clinical_safety, valid_days: 9}\n  - {role: privacy, valid_days: 9}\n")
    decision = factory.judged(shared.state, factory.make_chain(shared.state, text=text))
    one, other = (
        ready(shared, draft_approval(decision.id, person="ada", role=role, reason=WHY, state=shared.state))
        for role in ("clinical_safety", "privacy")
    )
    seq, error = beside(postgres, lambda: give(*one, state=shared.state), lambda: give(*other, state=shared.state))
    assert isinstance(error, PeError)
    assert (seq, error.message) == (1, "ada has approved as clinical_safety already: privacy must be somebody else")
