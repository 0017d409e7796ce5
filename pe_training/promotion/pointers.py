"""Which checkpoint holds which stage: rows that move by compare-and-swap, and the log of every move.

A pointer's ``version`` counts its moves. A move names the version it was planned on, and is refused when another came first;
the log is ordered by sequence number, because clocks go backwards. The rules of who may move are in ``stages.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from pe_training.core.clock import now, stamp
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.promotion.policy import STAGES, Stage
from pe_training.storage.registry import PAGE_ROWS
from pe_training.storage.state import State
from pe_training.storage.tables import stage_moves, stages

Action = Literal["enter", "promote", "rollback"]


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """What holds a stage of a line now."""

    line: str
    stage: str
    checkpoint_id: str
    decision_id: str | None
    version: int


@dataclass(frozen=True, kw_only=True)
class Move:
    """A change of one pointer, planned on ``expected_version`` (0: nothing holds the stage yet). Nothing has changed so far."""

    line: str
    stage: Stage
    action: Action
    from_id: str | None
    to_id: str
    decision_id: str | None
    actor: str
    reason: str
    expected_version: int


@dataclass(frozen=True, kw_only=True)
class PastMove:
    """One line of the log."""

    seq: int
    line: str
    stage: str
    action: str
    from_id: str | None
    to_id: str
    decision_id: str | None
    actor: str
    reason: str
    at: str


def current(state: State, *, line: str | None = None, limit: int = PAGE_ROWS) -> tuple[Pointer, ...]:
    """What holds the stages of ``line`` (or of all lines, ordered by name, one page), lowest stage first."""
    query = sa.select(stages).order_by(stages.c.line).limit(limit)
    query = query.where(stages.c.line == line) if line is not None else query
    with state.registry.reading() as connection:
        found = [Pointer(**row._mapping) for row in connection.execute(query)]
    return tuple(sorted(found, key=lambda pointer: (pointer.line, _position(pointer.stage))))


def history(
    state: State, *, line: str, stage: Stage | None = None, before: int | None = None, limit: int = PAGE_ROWS
) -> tuple[PastMove, ...]:
    """Moves of a line, newest first, one page; ``before`` is the ``seq`` of the last row of the page above."""
    m = stage_moves.c
    query = sa.select(stage_moves).where(m.line == line, m.stage.in_((stage,) if stage else STAGES)).order_by(m.seq.desc()).limit(limit)
    query = query.where(m.seq < before) if before is not None else query
    with state.registry.reading() as connection:
        return tuple(PastMove(**row._mapping) for row in connection.execute(query))


def at(state: State, moment: datetime, *, line: str) -> tuple[PastMove, ...]:
    """For each stage of ``line``, the move that put there what held it at ``moment`` (UTC, whole seconds), lowest stage first."""
    m = stage_moves.c
    found = []
    with state.registry.reading() as connection:
        for stage in STAGES:
            query = sa.select(stage_moves).where(m.line == line, m.stage == stage, m.at <= stamp(moment)).order_by(m.seq.desc()).limit(1)
            found += [PastMove(**row._mapping) for row in connection.execute(query)]
    return tuple(found)


def pointer_in(connection: sa.Connection, line: str, stage: Stage) -> Pointer | None:
    """The pointer, locked until the transaction ends where the database can lock a row."""
    query = sa.select(stages).where(stages.c.line == line, stages.c.stage == stage).with_for_update()
    row = connection.execute(query).first()
    return Pointer(**row._mapping) if row else None


def last_arrival_in(connection: sa.Connection, line: str, stage: Stage, checkpoint_id: str) -> PastMove | None:
    """The last move that really brought ``checkpoint_id`` into the stage by its own merit (not back by a rollback)."""
    m = stage_moves.c
    arrived = sa.or_(m.from_id.is_(None), m.from_id != m.to_id)
    query = sa.select(stage_moves).where(m.line == line, m.stage == stage, m.to_id == checkpoint_id, m.action != "rollback", arrived)
    row = connection.execute(query.order_by(m.seq.desc()).limit(1)).first()
    return PastMove(**row._mapping) if row else None


def was_applied_in(connection: sa.Connection, line: str, stage: Stage, decision_id: str) -> bool:
    """Whether this decision has moved this stage before."""
    m = stage_moves.c
    query = sa.select(m.seq).where(m.line == line, m.stage == stage, m.decision_id == decision_id, m.action != "rollback").limit(1)
    return connection.execute(query).first() is not None


def set_in(connection: sa.Connection, move: Move) -> Pointer:
    """Swap one pointer and log it. Raises conflict, naming what came first, unless the version is the expected one."""
    after = Pointer(
        line=move.line,
        stage=move.stage,
        checkpoint_id=move.to_id,
        decision_id=move.decision_id,
        version=move.expected_version + 1,
    )
    if not (_insert(connection, after) if move.expected_version == 0 else _update(connection, after, move.expected_version)):
        raise lost_race(move.line, move.stage, pointer_in(connection, move.line, move.stage), expected_version=move.expected_version)
    logged = {name: getattr(move, name) for name in ("line", "stage", "action", "from_id", "to_id", "decision_id", "actor", "reason")}
    connection.execute(sa.insert(stage_moves).values(**logged, at=stamp(now())))
    return after


def lost_race(line: str, stage: Stage, winner: Pointer | None, *, expected_version: int) -> PeError:
    """The conflict that tells the loser who won."""
    held = f"{short(winner.checkpoint_id)} holds it at version {winner.version}" if winner else "nothing holds it"
    message = f"{stage} of {line} moved in the meantime: {held}, and version {expected_version} was expected"
    where = winner.checkpoint_id if winner else line
    return PeError(Kind.CONFLICT, message, where=where, hint="look at `pe stages`, then decide again")


def _insert(connection: sa.Connection, pointer: Pointer) -> bool:
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(stages).values(**vars(pointer)))
    except IntegrityError:
        return False
    return True


def _update(connection: sa.Connection, pointer: Pointer, expected_version: int) -> bool:
    s = stages.c
    query = sa.update(stages).where(s.line == pointer.line, s.stage == pointer.stage, s.version == expected_version)
    return connection.execute(query.values(**vars(pointer))).rowcount == 1


def _position(stage: str) -> int:
    return STAGES.index(stage) if stage in STAGES else len(STAGES)
