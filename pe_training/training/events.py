"""What happened to a run, appended to the registry: started, resumed, rolled back, stopped, failed, finished."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from pe_training.core.clock import now, stamp
from pe_training.storage import tables as t
from pe_training.storage.state import State


def record_event(state: State, run_id: str, kind: str, body: dict[str, Any] | None = None) -> None:
    """Append one event."""
    with state.registry.writing() as connection:
        connection.execute(sa.insert(t.run_events).values(run_id=run_id, kind=kind, body=json.dumps(body or {}), at=stamp(now())))


def events(state: State, run_id: str) -> list[tuple[str, str, dict[str, Any]]]:
    """``(time, kind, body)`` of everything that happened to a run, in order."""
    with state.registry.reading() as connection:
        return events_in(connection, run_id)


def events_in(connection: sa.Connection, run_id: str, *, kinds: Sequence[str] = ()) -> list[tuple[str, str, dict[str, Any]]]:
    """As :func:`events`, inside a transaction; only of these kinds, if any are named."""
    e = t.run_events.c
    query = sa.select(e.at, e.kind, e.body).where(e.run_id == run_id).order_by(e.seq)
    rows = connection.execute(query.where(e.kind.in_(kinds)) if kinds else query)
    return [(str(row.at), str(row.kind), json.loads(row.body)) for row in rows]


def attempts(state: State, run_id: str) -> list[dict[str, Any]]:
    """Bodies of the run's attempts, in order: which manifest asked for it, and what it was trained in."""
    return [body for _, kind, body in events(state, run_id) if kind in {"started", "resumed"}]


def rollbacks(state: State, run_id: str) -> list[dict[str, Any]]:
    """Bodies of the run's rollbacks, in order: they are part of its trajectory."""
    return [body for _, kind, body in events(state, run_id) if kind == "rollback"]


def recoveries_in(connection: sa.Connection, run_id: str) -> tuple[str, ...]:
    """What the run went on from, in order: ``rollback``, ``out_of_memory``."""
    return tuple(kind for _, kind, _ in events_in(connection, run_id, kinds=("rollback", "out_of_memory")))
