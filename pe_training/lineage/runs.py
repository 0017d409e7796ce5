"""What is told of runs in a trace: how exactly each can be repeated, and what it went on from. One look for all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from pe_training.lineage.horizon import ALWAYS
from pe_training.storage import tables as t
from pe_training.training.reproduction import CLASSES, REPRODUCED

RECOVERIES = ("rollback", "out_of_memory")


@dataclass(frozen=True, kw_only=True)
class Told:
    """Of one run. ``determinism``: the worst that was measured; ``recoveries``: in order."""

    determinism: str | None = None
    recoveries: tuple[str, ...] = ()


def _events() -> sa.Select[Any]:
    e = t.run_events.c
    query = sa.select(e.run_id, e.kind, e.body).where(e.run_id.in_(sa.bindparam("ids", expanding=True)), e.at <= sa.bindparam("at"))
    return query.where(e.kind.in_((REPRODUCED, *RECOVERIES))).order_by(e.run_id, e.seq)


EVENTS = _events()  # made once: to build a query takes longer than to answer it


def told_in(connection: sa.Connection, run_ids: Iterable[str], *, at: str | None = None) -> dict[str, Told]:
    """Those of these runs of which something is told, now or until a moment."""
    found: dict[str, Told] = {}
    wanted = list(run_ids)
    for row in connection.execute(EVENTS, {"ids": wanted, "at": at or ALWAYS}) if wanted else ():
        told = found.get(row.run_id, Told())
        if row.kind in RECOVERIES:
            told = replace(told, recoveries=(*told.recoveries, row.kind))
        elif "determinism" in (body := json.loads(row.body)):
            known = [told.determinism] if told.determinism else []
            told = replace(told, determinism=max([*known, body["determinism"]], key=CLASSES.index))
        found[row.run_id] = told
    return found
