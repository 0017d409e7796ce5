"""The way back: to the checkpoint that the present one replaced, or to a named one of the stage's history.

The target is proved as if it came for the first time (``targets.py``) and answers the canaries, all before the transaction, which only
swaps. A drill does the same, timed, swaps inside a savepoint that it gives up, and leaves an event behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.promotion.canary import require_canary
from pe_training.promotion.events import note_in
from pe_training.promotion.moving import move_of, moving, require_version
from pe_training.promotion.pointers import Judging, Move, PastMove, Pointer, last_arrival_in, pointer_in, set_in
from pe_training.promotion.policy import Stage, known_stage
from pe_training.promotion.serving import announced
from pe_training.promotion.targets import problem_of, require_fit
from pe_training.storage.state import State

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class DrillStep:
    """One step of a drill and how long it took."""

    name: str
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class Drill:
    """A rollback without its commit. ``problem``: why the real one would be refused. No ``to_id``: there is no way back."""

    line: str
    stage: Stage
    from_id: str | None
    to_id: str | None
    steps: tuple[DrillStep, ...]
    problem: str | None

    @property
    def duration_s(self) -> float:
        """All steps together."""
        return sum(step.duration_s for step in self.steps)


def plan_rollback(
    line: str,
    *,
    stage: str,
    actor: str,
    reason: str,
    to: str | None = None,
    policy: Judging = "current",
    expected_version: int | None = None,
    state: State,
) -> Move:
    """The move that :func:`rollback` would make; the target is whole and passes today. Raises refused, corrupt, not_found."""
    target = known_stage(stage)
    held, arrival = _target(line, target, to, expected_version=expected_version, state=state)
    checkpoint = require_fit(arrival.to_id, arrival.decision_id, policy=policy, state=state, route="rollback")
    move = move_of(held, checkpoint, target, "rollback", actor=actor, reason=reason, decision_id=arrival.decision_id)
    return replace(move, policy=policy)


def rollback(
    line: str,
    *,
    stage: str,
    actor: str,
    reason: str,
    to: str | None = None,
    policy: Judging = "current",
    expected_version: int | None = None,
    state: State,
) -> Pointer:
    """Give a stage back to the checkpoint that the present one replaced, or to ``to``, which must have held it before."""
    move = plan_rollback(
        line, stage=stage, actor=actor, reason=reason, to=to, policy=policy, expected_version=expected_version, state=state
    )
    require_canary(move, state=state)
    with moving(state, "rollback", move.to_id) as connection:
        moved = set_in(connection, _logged(move))
    return announced(moved, state=state)


def drill(line: str, *, stage: str, actor: str, reason: str, to: str | None = None, policy: Judging = "current", state: State) -> Drill:
    """Everything that :func:`rollback` does but the swap, each step timed, kept as an event of the stage. Raises not_found, input."""
    target, steps = known_stage(stage), list[DrillStep]()

    def timed(name: str, act: Callable[[], Result]) -> Result:
        began = time.perf_counter()
        try:
            return act()
        finally:
            steps.append(DrillStep(name=name, duration_s=round(time.perf_counter() - began, 4)))

    with state.registry.reading() as connection:
        held = pointer_in(connection, line, target)
    if held is None:
        raise _nothing_holds(line, target)
    to_id, problem = None, None
    try:
        _, arrival = timed("find", lambda: _target(line, target, to, expected_version=None, state=state))
        to_id = arrival.to_id
        checkpoint = timed("prove", lambda: require_fit(arrival.to_id, arrival.decision_id, policy=policy, state=state, route="drill"))
        move = move_of(held, checkpoint, target, "rollback", actor=actor, reason=reason, decision_id=arrival.decision_id)
        timed("canary", lambda: require_canary(move, state=state))
        timed("swap", lambda: _rehearse(move, state=state))
    except PeError as error:
        problem = problem_of(error)
    made = Drill(line=line, stage=target, from_id=held.checkpoint_id, to_id=to_id, steps=tuple(steps), problem=problem)
    body = {"from": made.from_id, "to": to_id, "reason": reason, "problem": problem, "steps": {s.name: s.duration_s for s in steps}}
    with state.registry.writing() as connection:
        note_in(connection, line, target, version=held.version, kind="drill", body=body, actor=actor)
    return made


def _rehearse(move: Move, *, state: State) -> None:
    with moving(state, "drill", move.to_id) as connection:
        point = connection.begin_nested()
        set_in(connection, _logged(move))
        point.rollback()


def _logged(move: Move) -> Move:
    """What the history is told: a target that today's policy was not asked about is no secret."""
    return replace(move, reason=f"{move.reason} (judged by its pinned policy only)") if move.policy == "pinned" else move


def _target(line: str, stage: Stage, to: str | None, *, expected_version: int | None, state: State) -> tuple[Pointer, PastMove]:
    """What holds the stage, and the move by which the target came into it by its own merit."""
    with state.registry.reading() as connection:
        held = pointer_in(connection, line, stage)
        if held is None:
            raise _nothing_holds(line, stage)
        require_version(line, stage, held, expected_version)
        to_id = to or _previous(connection, held, stage)
        if to_id == held.checkpoint_id and held.holds:
            raise PeError(Kind.CONFLICT, f"{short(to_id)} already holds {stage} of {line}", where=to_id, hint="nothing needs doing")
        arrival = last_arrival_in(connection, line, stage, to_id)
    if arrival is None:
        message = f"{short(to_id)} never held {stage} of {line}"
        raise PeError(Kind.REFUSED, message, where=to_id, hint="roll back to a checkpoint of the stage's history, or promote this one")
    return held, arrival


def _previous(connection: sa.Connection, held: Pointer, stage: Stage) -> str:
    arrival = last_arrival_in(connection, held.line, stage, held.checkpoint_id)
    if arrival is None or arrival.from_id is None:
        message = f"no checkpoint held {stage} of {held.line} before {short(held.checkpoint_id)}"
        hint = f"promote another checkpoint instead, or take this one out of service: `pe withdraw {stage} --line {held.line}`"
        raise PeError(Kind.REFUSED, message, where=held.checkpoint_id, hint=hint)
    return arrival.from_id


def _nothing_holds(line: str, stage: Stage) -> PeError:
    return PeError(Kind.NOT_FOUND, f"nothing holds {stage} of {line}", where=line, hint="`pe stages` lists what holds which stage")
