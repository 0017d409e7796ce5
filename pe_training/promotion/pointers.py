"""Which checkpoint holds which stage: rows that move by compare-and-swap, and the log of every move.

A pointer's ``version`` counts its moves. A move names the version it was planned on, and is refused when another came first;
the log is ordered by sequence number, because clocks go backwards. The rules of who may move are in ``stages.py``.
Roles (``roles.py``) are pointers of the same kind: places of a line that consumers ask for. A pointer that was withdrawn keeps its
checkpoint and its version, so that the history has no gap and nobody can overtake it, and holds its place no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from pe_training.core.clock import now, stamp
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.promotion.policy import STAGES, Stage
from pe_training.storage.registry import PAGE_ROWS
from pe_training.storage.state import State
from pe_training.storage.tables import stage_moves, stages

Action = Literal["enter", "promote", "rollback", "assign", "withdraw"]
Role = Literal["primary", "fallback", "crisis"]
Place = Stage | Role
ROLES: tuple[Role, ...] = get_args(Role)
Judging = Literal["current", "pinned"]
PLACES: tuple[Place, ...] = (*STAGES, *ROLES)


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """What holds a stage or a role of a line now, or did until it was withdrawn for a reason."""

    line: str
    stage: str
    checkpoint_id: str
    decision_id: str | None
    version: int
    withdrawn: str | None = None

    @property
    def holds(self) -> bool:
        """Whether the checkpoint may be asked for at this place."""
        return self.withdrawn is None


@dataclass(frozen=True, kw_only=True)
class Move:
    """A change of one pointer, planned on ``expected_version`` (0: nothing holds the stage yet). Nothing has changed so far."""

    line: str
    stage: Place
    action: Action
    from_id: str | None
    to_id: str
    decision_id: str | None
    actor: str
    reason: str
    expected_version: int
    policy: Judging = "current"  # of a rollback: which policy the target must still pass


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


def known_role(text: str) -> Role:
    """``text`` as a role. Raises input with the roles there are."""
    for role in ROLES:
        if text == role:
            return role
    raise PeError(Kind.INPUT, f"no role {text!r}", hint=f"the roles are {', '.join(ROLES)}")


def known_place(text: str) -> Place:
    """``text`` as a stage or a role. Raises input with those there are."""
    for place in PLACES:
        if text == place:
            return place
    raise PeError(Kind.INPUT, f"no stage or role {text!r}", hint=f"there are {', '.join(PLACES)}")


def current(state: State, *, line: str | None = None, limit: int = PAGE_ROWS) -> tuple[Pointer, ...]:
    """What holds the stages of ``line`` (or of all lines, ordered by name, one page), lowest stage first, then the roles."""
    query = sa.select(stages).order_by(stages.c.line).limit(limit)
    query = query.where(stages.c.line == line) if line is not None else query
    with state.registry.reading() as connection:
        found = [Pointer(**row._mapping) for row in connection.execute(query)]
    return tuple(sorted(found, key=lambda pointer: (pointer.line, _position(pointer.stage))))


def history(
    state: State, *, line: str, stage: Place | None = None, before: int | None = None, limit: int = PAGE_ROWS
) -> tuple[PastMove, ...]:
    """Moves of a line, newest first, one page; ``before`` is the ``seq`` of the last row of the page above."""
    m = stage_moves.c
    query = sa.select(stage_moves).where(m.line == line, m.stage.in_((stage,) if stage else PLACES)).order_by(m.seq.desc()).limit(limit)
    query = query.where(m.seq < before) if before is not None else query
    with state.registry.reading() as connection:
        return tuple(PastMove(**row._mapping) for row in connection.execute(query))


def at(state: State, moment: datetime, *, line: str) -> tuple[PastMove, ...]:
    """For each place of ``line``, the move that made it what it was at ``moment`` (UTC, whole seconds), stages first, then roles."""
    with state.registry.reading() as connection:
        return tuple(_at_in(connection, stamp(moment), line))


def at_every_line(state: State, moment: datetime, *, after: str = "", limit: int = PAGE_ROWS) -> tuple[tuple[PastMove, ...], str | None]:
    """The same for all lines in order of their names, one page of lines; and the name to go on ``after``, if there are more.

    A step along the index for each line, however many moves a line has made.
    """
    m, found, line = stage_moves.c, list[PastMove](), after
    with state.registry.reading() as connection:
        for _ in range(limit):
            following = connection.execute(sa.select(sa.func.min(m.line)).where(m.line > line)).scalar()
            if following is None:
                return tuple(found), None
            line = str(following)
            found += _at_in(connection, stamp(moment), line)
        more = connection.execute(sa.select(sa.func.min(m.line)).where(m.line > line)).scalar()
    return tuple(found), line if more is not None else None


def _at_in(connection: sa.Connection, until: str, line: str) -> Iterator[PastMove]:
    m = stage_moves.c
    for place in PLACES:
        query = sa.select(stage_moves).where(m.line == line, m.stage == place, m.at <= until).order_by(m.seq.desc()).limit(1)
        yield from (PastMove(**row._mapping) for row in connection.execute(query))


def pointer_in(connection: sa.Connection, line: str, stage: Place) -> Pointer | None:
    """The pointer, locked until the transaction ends where the database can lock a row."""
    query = sa.select(stages).where(stages.c.line == line, stages.c.stage == stage).with_for_update()
    row = connection.execute(query).first()
    return Pointer(**row._mapping) if row else None


def last_arrival_in(connection: sa.Connection, line: str, stage: Place, checkpoint_id: str) -> PastMove | None:
    """The last move that really brought ``checkpoint_id`` into the stage by its own merit (not back by a rollback)."""
    m = stage_moves.c
    arrived = sa.or_(m.from_id.is_(None), m.from_id != m.to_id)
    query = sa.select(stage_moves).where(m.line == line, m.stage == stage, m.to_id == checkpoint_id, m.action != "rollback", arrived)
    row = connection.execute(query.order_by(m.seq.desc()).limit(1)).first()
    return PastMove(**row._mapping) if row else None


def arrivals_in(connection: sa.Connection, line: str, stage: Place, *, limit: int) -> Iterator[str]:
    """The checkpoints that came into a stage by their own merit, the last one first, looking at the last ``limit`` moves."""
    m = stage_moves.c
    query = sa.select(m.to_id).where(m.line == line, m.stage == stage, m.action.in_(("enter", "promote"))).order_by(m.seq.desc())
    yield from dict.fromkeys(str(identifier) for identifier in connection.execute(query.limit(limit)).scalars())


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
        withdrawn=move.reason if move.action == "withdraw" else None,
    )
    if not (_insert(connection, after) if move.expected_version == 0 else _update(connection, after, move.expected_version)):
        raise lost_race(move.line, move.stage, pointer_in(connection, move.line, move.stage), expected_version=move.expected_version)
    logged = {name: getattr(move, name) for name in ("line", "stage", "action", "from_id", "to_id", "decision_id", "actor", "reason")}
    connection.execute(sa.insert(stage_moves).values(**logged, at=stamp(now())))
    return after


def lost_race(line: str, stage: Place, winner: Pointer | None, *, expected_version: int) -> PeError:
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
    return PLACES.index(stage) if stage in PLACES else len(PLACES)
