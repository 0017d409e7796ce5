"""What was tried and found at a stage without moving it: canaries that were answered, drills, and what the watch saw."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from pe_training.core.clock import now, stamp
from pe_training.promotion.pointers import Place
from pe_training.storage.registry import PAGE_ROWS
from pe_training.storage.state import State
from pe_training.storage.tables import owed_alerts, stage_events

EventKind = Literal["canary", "drill", "watch"]


@dataclass(frozen=True, kw_only=True)
class StageEvent:
    """One line of the log. ``version``: of the pointer when it happened."""

    seq: int
    line: str
    stage: str
    version: int
    kind: str
    body: dict[str, Any]
    actor: str
    at: str


def note_in(
    connection: sa.Connection, line: str, place: Place, *, version: int, kind: EventKind, body: Mapping[str, Any], actor: str
) -> None:
    """Append one. ``body`` never holds what somebody said."""
    values = {"line": line, "stage": place, "version": version, "kind": kind, "body": json.dumps(body, sort_keys=True), "actor": actor}
    connection.execute(sa.insert(stage_events).values(**values, at=stamp(now())))


def owe_in(connection: sa.Connection, kind: str, *, severity: Literal["critical", "warning"], body: Mapping[str, Any]) -> None:
    """An alert that somebody has to get, written in the transaction of what it is about."""
    values = {"kind": kind, "severity": severity, "body": json.dumps(body, sort_keys=True), "at": stamp(now())}
    connection.execute(sa.insert(owed_alerts).values(**values))


def newest_in(connection: sa.Connection, line: str, place: Place, *, kind: EventKind) -> StageEvent | None:
    """The last event of a kind at a stage."""
    e = stage_events.c
    query = sa.select(stage_events).where(e.line == line, e.stage == place, e.kind == kind).order_by(e.seq.desc()).limit(1)
    row = connection.execute(query).first()
    return _event(row) if row else None


def events(
    state: State, *, line: str, place: Place, kind: EventKind, before: int | None = None, limit: int = PAGE_ROWS
) -> tuple[StageEvent, ...]:
    """Events of a kind, newest first, one page; ``before`` is the ``seq`` of the last row of the page above."""
    e = stage_events.c
    query = sa.select(stage_events).where(e.line == line, e.stage == place, e.kind == kind).order_by(e.seq.desc()).limit(limit)
    query = query.where(e.seq < before) if before is not None else query
    with state.registry.reading() as connection:
        return tuple(_event(row) for row in connection.execute(query))


def _event(row: sa.Row[Any]) -> StageEvent:
    return StageEvent(**dict(row._mapping) | {"body": json.loads(row.body)})
