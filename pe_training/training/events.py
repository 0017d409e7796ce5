"""What happened to a run, appended to the registry: started, resumed, rolled back, stopped, failed, finished."""

from __future__ import annotations

import json
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
    e = t.run_events.c
    with state.registry.reading() as connection:
        rows = connection.execute(sa.select(e.at, e.kind, e.body).where(e.run_id == run_id).order_by(e.seq))
        return [(str(row.at), str(row.kind), json.loads(row.body)) for row in rows]


def rollbacks(state: State, run_id: str) -> list[dict[str, Any]]:
    """Bodies of the run's rollbacks, in order: they are part of its trajectory."""
    return [body for _, kind, body in events(state, run_id) if kind == "rollback"]
