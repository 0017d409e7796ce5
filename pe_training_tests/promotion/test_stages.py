"""Stages: one winner, no skipping, nothing moves on damaged evidence, and the way back is known."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.promotion.pointers import Pointer, at, current, history
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.rollback import plan_rollback, rollback
from pe_training.promotion.stages import (
    apply,
    apply_decision,
    enter_training,
    plan_promotion,
    promote,
)
from pe_training.settings import SAMPLES
from pe_training.storage.state import State
from pe_training.storage.tables import stage_moves
from pe_training_tests.promotion import factory

WHO = {"actor": "ada", "reason": "a test"}


@pytest.fixture
def state(tmp_path: Path) -> State:
    return factory.new_state(tmp_path)


def staged(state: State, seed: int, *, line: str = "empathy") -> tuple[factory.Chain, PromotionDecision]:
    """A candidate with a pass for staging, applied."""
    chain = factory.make_chain(state, seed=seed, line=line)
    decision = factory.judged(state, chain)
    assert decision.verdict == "pass"
    apply_decision(decision, state=state)
    return chain, decision


def holder(state: State, stage: str, line: str = "empathy") -> str | None:
    return next((p.checkpoint_id for p in current(state, line=line) if p.stage == stage), None)


def error_of(kind: Kind, act: Callable[[], object]) -> PeError:
    with pytest.raises(PeError) as caught:
        act()
    assert caught.value.kind == kind, caught.value
    return caught.value


def test_a_pass_enters_training_and_staging_in_one_go(state: State) -> None:
    chain, decision = staged(state, 1)
    assert current(state) == (
        Pointer(line="empathy", stage="training", checkpoint_id=chain.checkpoint.id, decision_id=decision.id, version=1),
        Pointer(line="empathy", stage="staging", checkpoint_id=chain.checkpoint.id, decision_id=decision.id, version=1),
    )
    assert [(m.stage, m.action, m.actor) for m in history(state, line="empathy")] == [
        ("staging", "promote", "policy staging"),
        ("training", "enter", "policy staging"),
    ]


def test_applying_a_decision_again_changes_nothing_even_after_a_rollback(state: State) -> None:
    first, _ = staged(state, 1)
    _, decision = staged(state, 2)
    assert apply_decision(decision, state=state) == ()
    rollback("empathy", stage="staging", state=state, **WHO)
    assert apply_decision(decision, state=state) == ()
    assert holder(state, "staging") == first.checkpoint.id


def test_a_failed_candidate_enters_training_only(state: State) -> None:
    chain = factory.make_chain(state, metrics=())
    decision = factory.judged(state, chain)
    moves = apply_decision(decision, state=state)
    assert [move.stage for move in moves] == ["training"]
    assert holder(state, "staging") is None
    error = error_of(Kind.REFUSED, lambda: promote(chain.checkpoint.id, stage="staging", decision_id=decision.id, state=state, **WHO))
    assert str(error) == (
        f"{decision.id}: {short(chain.checkpoint.id)} may not enter staging: inconclusive: of 11 blocking rules of staging, 11 undecided "
        f"(`pe show {short(decision.id)}` lists the reasons)"
    )


def test_production_waits_for_staging_and_is_reached_by_applying_again(state: State) -> None:
    chain = factory.make_chain(state)
    production = factory.judged(state, factory.again_under(state, chain, "production"))
    assert [move.stage for move in apply_decision(production, state=state)] == ["training"]
    error = error_of(Kind.REFUSED, lambda: promote(chain.checkpoint.id, stage="production", decision_id=production.id, state=state, **WHO))
    assert str(error) == (
        f"{chain.checkpoint.id}: {short(chain.checkpoint.id)} may not enter production of empathy: it does not hold staging, nothing does "
        "(stages are not skipped: let it enter staging first)"
    )
    apply_decision(factory.judged(state, chain), state=state)
    assert [move.stage for move in apply_decision(production, state=state)] == ["production"]
    assert {p.stage: p.checkpoint_id for p in current(state)} == dict.fromkeys(("training", "staging", "production"), chain.checkpoint.id)


def test_a_verdict_for_one_stage_does_not_open_another(state: State) -> None:
    chain, decision = staged(state, 1)
    error = error_of(Kind.REFUSED, lambda: promote(chain.checkpoint.id, stage="production", decision_id=decision.id, state=state, **WHO))
    assert error.message == f"decision {short(decision.id)} is for staging, not for production"


def test_a_verdict_for_one_checkpoint_does_not_open_for_another(state: State) -> None:
    _, decision = staged(state, 1)
    other = factory.make_chain(state, seed=2)
    error = error_of(Kind.REFUSED, lambda: promote(other.checkpoint.id, stage="staging", decision_id=decision.id, state=state, **WHO))
    assert error.message.endswith(f"not about {short(other.checkpoint.id)}")


def test_a_decision_that_nobody_stored_does_not_exist(state: State) -> None:
    chain = factory.make_chain(state)
    made_up = factory.judged(factory.new_state(Path(state.settings.root) / "elsewhere"), factory.make_chain(
        factory.new_state(Path(state.settings.root) / "elsewhere")))  # fmt: skip
    error_of(Kind.NOT_FOUND, lambda: promote(chain.checkpoint.id, stage="staging", decision_id=made_up.id, state=state, **WHO))


def test_a_forged_pass_in_the_registry_is_found_out(state: State) -> None:
    chain = factory.make_chain(state, metrics=())
    honest = factory.judged(factory.new_state(Path(state.settings.root)), chain)
    forged = honest.model_copy(update={"verdict": "pass", "evidence": "sha256:" + "f" * 64})
    state.registry.put(forged)
    enter_training(chain.checkpoint.id, state=state, **WHO)
    error = error_of(Kind.CORRUPT, lambda: promote(chain.checkpoint.id, stage="staging", decision_id=forged.id, state=state, **WHO))
    assert error.message == (f"{short(forged.id)} says pass, which does not follow from its report and policy (they say inconclusive)")
    error_of(Kind.CORRUPT, lambda: apply_decision(forged, state=state))
    assert holder(state, "staging") is None


@pytest.mark.parametrize("which", ["adapter_model.safetensors", "config.json", "predictions/safety.parquet"])
def test_nothing_moves_while_one_bit_of_checkpoint_or_report_is_wrong(state: State, which: str) -> None:
    chain = factory.make_chain(state)
    decision = factory.judged(state, chain)
    files = (*chain.checkpoint.files(), *chain.report.files())
    place = factory.damage(state, next(file for file in files if file.path == which))
    error = error_of(Kind.CORRUPT, lambda: apply_decision(decision, state=state))
    assert error.message.startswith(f"{which} of ")
    assert error.where is not None
    assert error.where.endswith(str(place))
    assert current(state) == ()


def test_a_plan_changes_nothing_and_can_be_applied(state: State) -> None:
    chain = factory.make_chain(state)
    decision = factory.judged(state, chain)
    enter_training(chain.checkpoint.id, state=state, **WHO)
    move = plan_promotion(chain.checkpoint.id, stage="staging", decision_id=decision.id, state=state, **WHO)
    assert (move.from_id, move.to_id, move.expected_version) == (None, chain.checkpoint.id, 0)
    assert holder(state, "staging") is None
    assert apply(move, state).version == 1
    assert holder(state, "staging") == chain.checkpoint.id


def test_a_plan_that_somebody_overtook_is_refused_naming_the_winner(state: State) -> None:
    staged(state, 1)
    second, decision = staged(state, 2)
    rollback("empathy", stage="staging", state=state, **WHO)
    move = plan_promotion(second.checkpoint.id, stage="staging", decision_id=decision.id, state=state, **WHO)
    third, _ = staged(state, 3)
    error = error_of(Kind.CONFLICT, lambda: apply(move, state))
    assert str(error) == (
        f"{third.checkpoint.id}: staging of empathy moved in the meantime: {short(third.checkpoint.id)} holds it at version 4, "
        "and version 3 was expected (look at `pe stages`, then decide again)"
    )


def test_promoting_what_already_holds_the_stage_is_a_conflict_that_says_so(state: State) -> None:
    chain, decision = staged(state, 1)
    error = error_of(Kind.CONFLICT, lambda: promote(chain.checkpoint.id, stage="staging", decision_id=decision.id, state=state, **WHO))
    assert error.message == f"{short(chain.checkpoint.id)} already holds staging of empathy"


def test_an_unknown_stage_is_refused(state: State) -> None:
    chain, decision = staged(state, 1)
    error_of(Kind.INPUT, lambda: promote(chain.checkpoint.id, stage="prod", decision_id=decision.id, state=state, **WHO))


# --- rollback ---------------------------------------------------------------------------------------------------------


def test_rollback_goes_to_the_one_replaced_and_then_further_back(state: State) -> None:
    chains = [staged(state, seed) for seed in (1, 2, 3)]
    ids = [chain.checkpoint.id for chain, _ in chains]
    back = rollback("empathy", stage="staging", state=state, **WHO)
    assert (back.checkpoint_id, back.decision_id, back.version) == (ids[1], chains[1][1].id, 4)
    assert rollback("empathy", stage="staging", state=state, **WHO).checkpoint_id == ids[0]
    error = error_of(Kind.REFUSED, lambda: rollback("empathy", stage="staging", state=state, **WHO))
    assert error.message == f"no checkpoint held staging of empathy before {short(ids[0])}"
    assert rollback("empathy", stage="staging", to=ids[2], state=state, **WHO).checkpoint_id == ids[2]
    assert [move.action for move in history(state, line="empathy", stage="staging")] == ["rollback"] * 3 + ["promote"] * 3


def test_rollback_to_what_never_held_the_stage_is_refused(state: State) -> None:
    staged(state, 1)
    stranger = factory.make_chain(state, seed=2, metrics=())
    error = error_of(Kind.REFUSED, lambda: rollback("empathy", stage="staging", to=stranger.checkpoint.id, state=state, **WHO))
    assert error.message == f"{short(stranger.checkpoint.id)} never held staging of empathy"


def test_rollback_of_an_empty_stage_is_not_found(state: State) -> None:
    error = error_of(Kind.NOT_FOUND, lambda: rollback("empathy", stage="staging", state=state, **WHO))
    assert error.message == "nothing holds staging of empathy"


def test_rollback_to_a_damaged_checkpoint_is_refused_and_the_stage_stays(state: State) -> None:
    first, _ = staged(state, 1)
    second, _ = staged(state, 2)
    factory.damage(state, first.checkpoint.content_files[0])
    error = error_of(Kind.CORRUPT, lambda: plan_rollback("empathy", stage="staging", state=state, **WHO))
    assert error.message.startswith(f"adapter_model.safetensors of {short(first.checkpoint.id)}")
    assert holder(state, "staging") == second.checkpoint.id


def test_lines_do_not_touch_each_other(state: State) -> None:
    one, _ = staged(state, 1, line="empathy")
    two, _ = staged(state, 1, line="crisis")
    assert holder(state, "staging", "empathy") == one.checkpoint.id
    assert holder(state, "staging", "crisis") == two.checkpoint.id
    assert [(p.line, p.stage) for p in current(state)] == [
        ("crisis", "training"), ("crisis", "staging"), ("empathy", "training"), ("empathy", "staging"),
    ]  # fmt: skip


def test_what_held_a_stage_at_a_time_can_be_asked_later(state: State) -> None:
    chains = [staged(state, seed) for seed in (1, 2)]
    began = datetime(2026, 1, 1, tzinfo=UTC)
    with state.registry.writing() as connection:
        for seq in range(1, 5):
            stamp = (began + timedelta(hours=seq)).strftime("%Y-%m-%dT%H:%M:%SZ")
            connection.execute(sa.update(stage_moves).where(stage_moves.c.seq == seq).values(at=stamp))
    assert at(state, began, line="empathy") == ()
    held = {move.stage: move.to_id for move in at(state, began + timedelta(hours=3), line="empathy")}
    assert held == {"training": chains[1][0].checkpoint.id, "staging": chains[0][0].checkpoint.id}


def test_history_is_paged(state: State) -> None:
    for seed in (1, 2, 3):
        staged(state, seed)
    page = history(state, line="empathy", limit=4)
    assert [move.seq for move in page] == [6, 5, 4, 3]
    assert [move.seq for move in history(state, line="empathy", before=page[-1].seq)] == [2, 1]


# --- races ------------------------------------------------------------------------------------------------------------


def _ready(state: State) -> tuple[str, str]:
    chain = factory.make_chain(state)
    decision = factory.judged(state, chain)
    enter_training(chain.checkpoint.id, state=state, **WHO)
    return chain.checkpoint.id, decision.id


def test_of_sixteen_promoters_in_threads_exactly_one_wins(state: State, tmp_path: Path) -> None:
    checkpoint_id, decision_id = _ready(state)
    start, results = threading.Barrier(16), list[Pointer | PeError]()

    def go() -> None:
        own = factory.new_state(tmp_path)
        start.wait()
        try:
            results.append(promote(checkpoint_id, stage="staging", decision_id=decision_id, expected_version=0, state=own, **WHO))
        except PeError as error:
            results.append(error)

    threads = [threading.Thread(target=go) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _one_winner(state, results, checkpoint_id, 16)


def test_of_promoters_in_processes_exactly_one_wins(state: State, tmp_path: Path) -> None:
    checkpoint_id, decision_id = _ready(state)
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        answers = pool.starmap(_promote_elsewhere, [(str(tmp_path), checkpoint_id, decision_id)] * 16, chunksize=1)
    results = [PeError.from_json(answer) if answer else current(state)[1] for answer in answers]
    _one_winner(state, results, checkpoint_id, 16)


def test_rollback_and_promotion_planned_on_one_version_cannot_both_win(state: State, tmp_path: Path) -> None:
    staged(state, 1)
    staged(state, 2)
    third = factory.make_chain(state, seed=3)
    decision = factory.judged(state, third)
    enter_training(third.checkpoint.id, state=state, **WHO)
    start, results = threading.Barrier(2), list[Pointer | PeError]()

    def go(act: Callable[[State], Pointer]) -> None:
        own = factory.new_state(tmp_path)
        start.wait()
        try:
            results.append(act(own))
        except PeError as error:
            results.append(error)

    acts: list[Callable[[State], Pointer]] = [
        lambda own: rollback("empathy", stage="staging", expected_version=2, state=own, **WHO),
        lambda own: promote(third.checkpoint.id, stage="staging", decision_id=decision.id, expected_version=2, state=own, **WHO),
    ]
    threads = [threading.Thread(target=go, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(result).__name__ for result in results) == ["PeError", "Pointer"]
    assert [p.version for p in current(state) if p.stage == "staging"] == [3]


def test_decisions_applied_at_once_all_end_whole(state: State, tmp_path: Path) -> None:
    chains = [factory.make_chain(state, seed=seed) for seed in range(8)]
    decisions = [factory.judged(state, chain) for chain in chains]
    threads = [
        threading.Thread(target=apply_decision, args=(decision,), kwargs={"state": factory.new_state(tmp_path)})
        for decision in decisions for _ in range(2)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    moves = history(state, line="empathy")
    assert sorted((m.stage, m.to_id) for m in moves) == sorted((s, c.checkpoint.id) for c in chains for s in ("training", "staging"))
    newest = moves[0]
    assert {p.checkpoint_id for p in current(state)} == {newest.to_id}


def _promote_elsewhere(folder: str, checkpoint_id: str, decision_id: str) -> dict[str, Any] | None:
    try:
        promote(checkpoint_id, stage="staging", decision_id=decision_id, expected_version=0, state=factory.new_state(Path(folder)), **WHO)
    except PeError as error:
        return error.to_json()
    return None


def _one_winner(state: State, results: list[Pointer | PeError], checkpoint_id: str, racers: int) -> None:
    errors = [result for result in results if isinstance(result, PeError)]
    assert len(results) == racers
    assert len(errors) == racers - 1
    assert {error.kind for error in errors} == {Kind.CONFLICT}
    assert {error.where for error in errors} == {checkpoint_id}
    assert {error.message for error in errors} == {
        f"staging of empathy moved in the meantime: {short(checkpoint_id)} holds it at version 1, and version 0 was expected"
    }
    assert len(history(state, line="empathy", stage="staging")) == 1


def test_the_shipped_policies_lead_through_all_stages(state: State) -> None:
    chain = factory.make_chain(state, policy="dev")
    assert [p.name for p in sorted((SAMPLES / "policies").iterdir())] == [
        "clinical.yaml", "dev.yaml", "judge.yaml", "production.yaml", "staging.yaml",
    ]  # fmt: skip
    for policy in ("dev", "staging", "production"):
        decision = factory.judged(state, factory.again_under(state, chain, policy))
        apply_decision(decision, state=state)
    assert [p.stage for p in current(state)] == ["training", "staging", "production"]
