"""Who may hold a stage: entering, promotion and rollback, each planned, proved and then swapped in one transaction.

Whoever asks, and by whichever door, a promotion reads the verdict for this exact checkpoint again, derives it again from the
report under the pinned policy, and reads every byte of checkpoint and report before the pointer moves. A caller cannot bring
its own numbers. The ``plan_*`` functions do all of that and stop before the swap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.core.records import Record
from pe_training.datasets.gate import GateError, remember, remembering, require_untainted, require_untainted_in
from pe_training.evaluation.record import EvaluationReport
from pe_training.promotion.admission import require_current
from pe_training.promotion.pointers import (
    Action,
    Move,
    Pointer,
    last_arrival_in,
    lost_race,
    pointer_in,
    set_in,
    was_applied_in,
)
from pe_training.promotion.policy import Stage, known_stage, stage_below
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.standing import hearing, not_open, require_open, waiver_words
from pe_training.promotion.statements import lock_decision_in
from pe_training.promotion.verdict import headline, require_follows
from pe_training.storage.signatures import require_signed
from pe_training.storage.state import State
from pe_training.training.record import Checkpoint


def enter_training(checkpoint_id: str, *, actor: str, reason: str, expected_version: int | None = None, state: State) -> Pointer:
    """Let a checkpoint hold the training stage of its line: the candidate looked at now. Needs no verdict. Idempotent."""
    checkpoint = state.registry.get(checkpoint_id, Checkpoint)
    require_untainted(checkpoint_id, state=state, route="enter")
    _require_intact(state, [checkpoint])
    with _moving(state, "enter", checkpoint_id) as connection:
        held = pointer_in(connection, checkpoint.line, "training")
        if held and held.checkpoint_id == checkpoint_id:
            return held
        _require_version(checkpoint.line, "training", held, expected_version)
        return set_in(connection, _move(held, checkpoint, "training", "enter", actor=actor, reason=reason))


def plan_promotion(
    checkpoint_id: str, *, stage: str, decision_id: str, actor: str, reason: str, expected_version: int | None = None, state: State
) -> Move:
    """The move that :func:`promote` would make, with everything proved and nothing changed.

    ``expected_version``: of the stage's pointer, 0 where nothing holds it; ``None`` takes the version it has now.
    Raises refused, conflict, corrupt or not_found.
    """
    target = known_stage(stage)
    checkpoint = state.registry.get(checkpoint_id, Checkpoint)
    require_untainted(checkpoint_id, decision_id, state=state, route="promotion")
    decision = _proved(decision_id, state)
    asked = hearing(decision, state=state)
    with remembering(state, route="promotion", subject=checkpoint_id), state.registry.reading() as connection:
        _require_pass(checkpoint, target, decision)
        require_open(asked.standing_in(connection))
        held = pointer_in(connection, checkpoint.line, target)
        _require_version(checkpoint.line, target, held, expected_version)
        if held and held.checkpoint_id == checkpoint_id:
            message = f"{short(checkpoint_id)} already holds {target} of {checkpoint.line}"
            raise PeError(Kind.CONFLICT, message, where=checkpoint_id, hint="nothing needs doing")
        _require_below(connection, checkpoint.line, target, checkpoint_id)
    require_current(decision, state=state)
    return _move(held, checkpoint, target, "promote", actor=actor, reason=reason, decision_id=decision_id)


def promote(
    checkpoint_id: str, *, stage: str, decision_id: str, actor: str, reason: str, expected_version: int | None = None, state: State
) -> Pointer:
    """Let a checkpoint with a passing verdict hold the next stage. Exactly one of several promoters wins; the others get conflict."""
    move = plan_promotion(
        checkpoint_id,
        stage=stage,
        decision_id=decision_id,
        actor=actor,
        reason=reason,
        expected_version=expected_version,
        state=state,
    )
    return _commit(move, state)


def plan_rollback(
    line: str, *, stage: str, actor: str, reason: str, to: str | None = None, expected_version: int | None = None, state: State
) -> Move:
    """The move that :func:`rollback` would make; the target has been read and is whole."""
    target = known_stage(stage)
    with state.registry.reading() as connection:
        held = pointer_in(connection, line, target)
        if held is None:
            raise PeError(Kind.NOT_FOUND, f"nothing holds {target} of {line}", where=line, hint="`pe stages` lists what holds which stage")
        _require_version(line, target, held, expected_version)
        to_id = to or _previous(connection, held, target)
        if to_id == held.checkpoint_id:
            raise PeError(Kind.CONFLICT, f"{short(to_id)} already holds {target} of {line}", where=to_id, hint="nothing needs doing")
        arrival = last_arrival_in(connection, line, target, to_id)
    if arrival is None:
        message = f"{short(to_id)} never held {target} of {line}"
        raise PeError(Kind.REFUSED, message, where=to_id, hint="roll back to a checkpoint of the stage's history, or promote this one")
    checkpoint = state.registry.get(to_id, Checkpoint)
    require_untainted(to_id, state=state, route="rollback")
    _require_intact(state, [checkpoint])
    return _move(held, checkpoint, target, "rollback", actor=actor, reason=reason, decision_id=arrival.decision_id)


def rollback(
    line: str, *, stage: str, actor: str, reason: str, to: str | None = None, expected_version: int | None = None, state: State
) -> Pointer:
    """Give a stage back to the checkpoint that the present one replaced, or to ``to``, which must have held it before."""
    return _commit(
        plan_rollback(line, stage=stage, actor=actor, reason=reason, to=to, expected_version=expected_version, state=state), state
    )


def apply(move: Move, state: State) -> Pointer:
    """Make a planned move, proving it once more: a plan is a value that anybody can write."""
    if move.action == "promote":
        assert move.decision_id is not None
        return promote(
            move.to_id,
            stage=move.stage,
            decision_id=move.decision_id,
            actor=move.actor,
            reason=move.reason,
            expected_version=move.expected_version,
            state=state,
        )
    if move.action == "rollback":
        return rollback(
            move.line,
            stage=move.stage,
            actor=move.actor,
            reason=move.reason,
            to=move.to_id,
            expected_version=move.expected_version,
            state=state,
        )
    return enter_training(move.to_id, actor=move.actor, reason=move.reason, expected_version=move.expected_version, state=state)


def apply_decision(decision: PromotionDecision, *, state: State) -> tuple[Move, ...]:
    """What follows from a decision by itself: its checkpoint enters training, and on a pass the decision's stage where it may.

    Both moves are one transaction. A decision moves each stage once: applied again, also after a rollback, it changes nothing.
    A pass whose stage cannot be entered yet (production, while another checkpoint holds staging) waits: apply it again later. So does
    one that lacks the approval of people, which is remembered as a refusal.
    Returns the moves made. Raises corrupt where evidence is damaged, refused where it has aged or the incumbent is another by now.
    """
    require_untainted(decision.checkpoint_id, decision.id, state=state, route="promotion")
    proved = _proved(decision.id, state)
    checkpoint = state.registry.get(proved.checkpoint_id, Checkpoint)
    target = known_stage(proved.stage)
    asked = hearing(proved, state=state)
    made: list[Move] = []
    lacking: PeError | None = None
    with _moving(state, "promotion", checkpoint.id) as connection:
        lock_decision_in(connection, proved.id)
        standing = asked.standing_in(connection)
        actor, reason = f"policy {proved.policy_name}", "; ".join((headline(proved), *waiver_words(standing)))
        wanted: list[tuple[Stage, Action]] = [("training", "enter")]
        if standing.passes and target != "training":
            wanted.append((target, "promote"))
        for stage, action in wanted:
            held = pointer_in(connection, checkpoint.line, stage)
            done = was_applied_in(connection, checkpoint.line, stage, proved.id)
            if done or not _holds_below(connection, checkpoint.line, stage, checkpoint.id):
                continue
            if action == "promote" and not standing.opens:
                lacking = not_open(standing)
                continue
            if action == "promote":
                require_current(proved, state=state)
            move = _move(held, checkpoint, stage, action, actor=actor, reason=reason, decision_id=proved.id)
            set_in(connection, move)
            made.append(move)
    if lacking:
        remember(lacking, state=state, route="promotion", subject=checkpoint.id)
    return tuple(made)


def _commit(move: Move, state: State) -> Pointer:
    asked = (
        hearing(state.registry.get(move.decision_id, PromotionDecision), state=state)
        if move.action == "promote" and move.decision_id
        else None
    )
    with _moving(state, "promotion" if move.action == "promote" else "rollback", move.to_id) as connection:
        if asked is not None:
            _require_below(connection, move.line, move.stage, move.to_id)
            lock_decision_in(connection, asked.decision.id)
            require_open(asked.standing_in(connection))
        return set_in(connection, move)


@contextmanager
def _moving(state: State, route: str, checkpoint_id: str) -> Iterator[sa.Connection]:
    """A transaction that moves pointers to a checkpoint, and fails at its end if that was recalled meanwhile (see taints.py)."""
    with remembering(state, route=route, subject=checkpoint_id), state.registry.writing() as connection:
        yield connection
        require_untainted_in(connection, checkpoint_id)


def _proved(decision_id: str, state: State) -> PromotionDecision:
    """The decision from the registry, all bytes behind it read, and derived a second time."""
    decision = state.registry.get(decision_id, PromotionDecision)
    _require_intact(
        state,
        [state.registry.get(decision.checkpoint_id, Checkpoint), state.registry.get(decision.report_id, EvaluationReport)],
    )
    require_follows(decision, state=state)
    return decision


def _require_pass(checkpoint: Checkpoint, stage: Stage, decision: PromotionDecision) -> None:
    if decision.checkpoint_id != checkpoint.id:
        message = f"decision {short(decision.id)} is about {short(decision.checkpoint_id)}, not about {short(checkpoint.id)}"
        raise GateError(Kind.REFUSED, message, where=decision.id, hint="give the decision made for this checkpoint")
    if decision.stage != stage:
        message = f"decision {short(decision.id)} is for {decision.stage}, not for {stage}"
        raise GateError(Kind.REFUSED, message, where=decision.id, hint=f"run the manifest with a policy for {stage}")


def _require_below(connection: sa.Connection, line: str, stage: Stage, checkpoint_id: str) -> None:
    if not _holds_below(connection, line, stage, checkpoint_id):
        below = stage_below(stage)
        assert below is not None
        held = pointer_in(connection, line, below)
        holder = f"{short(held.checkpoint_id)} does" if held else "nothing does"
        message = f"{short(checkpoint_id)} may not enter {stage} of {line}: it does not hold {below}, {holder}"
        raise PeError(Kind.REFUSED, message, where=checkpoint_id, hint=f"stages are not skipped: let it enter {below} first")


def _holds_below(connection: sa.Connection, line: str, stage: Stage, checkpoint_id: str) -> bool:
    below = stage_below(stage)
    if below is None:
        return True
    held = pointer_in(connection, line, below)
    return held is not None and held.checkpoint_id == checkpoint_id


def _require_version(line: str, stage: Stage, held: Pointer | None, expected_version: int | None) -> None:
    if expected_version is not None and expected_version != (held.version if held else 0):
        raise lost_race(line, stage, held, expected_version=expected_version)


def _require_intact(state: State, records: Iterable[Record]) -> None:
    """Read every file of these records, and ask for the signature of a model. Raises corrupt, naming record and file, or refused."""
    for record in records:
        if isinstance(record, Checkpoint):
            require_signed(record.id, record.files(), state=state)
        for file in record.files():
            try:
                state.artifacts.verify(file.digest)
            except PeError as error:
                raise PeError(
                    error.kind, f"{file.path} of {short(record.id)}: {error.message}", where=error.where, hint=error.hint
                ) from None


def _previous(connection: sa.Connection, held: Pointer, stage: Stage) -> str:
    arrival = last_arrival_in(connection, held.line, stage, held.checkpoint_id)
    if arrival is None or arrival.from_id is None:
        message = f"no checkpoint held {stage} of {held.line} before {short(held.checkpoint_id)}"
        raise PeError(Kind.REFUSED, message, where=held.checkpoint_id, hint="promote another checkpoint instead")
    return arrival.from_id


def _move(
    held: Pointer | None, checkpoint: Checkpoint, stage: Stage, action: Action, *, actor: str, reason: str, decision_id: str | None = None
) -> Move:
    return Move(
        line=checkpoint.line,
        stage=stage,
        action=action,
        from_id=held.checkpoint_id if held else None,
        to_id=checkpoint.id,
        decision_id=decision_id,
        actor=actor,
        reason=reason,
        expected_version=held.version if held else 0,
    )
