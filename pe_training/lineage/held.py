"""Which stages models hold, now or at a moment. Looked up by line: what other lines did costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pe_training.lineage.horizon import Horizon
from pe_training.storage import tables as t


@dataclass(frozen=True, kw_only=True)
class Held:
    """A stage of a line, what holds it, and by which decision."""

    line: str
    stage: str
    checkpoint_id: str
    decision_id: str | None


def _now() -> sa.Select[Any]:
    s = t.stages.c
    query = sa.select(s.line, s.stage, s.checkpoint_id, s.decision_id)
    return query.where(s.line.in_(sa.bindparam("lines", expanding=True)), s.withdrawn.is_(None))


def _then() -> sa.Select[Any]:
    """The last move of each stage until a moment, by number, because clocks go backwards."""
    m = t.stage_moves.c
    last = sa.select(sa.func.max(m.seq)).where(m.line.in_(sa.bindparam("lines", expanding=True)), m.at <= sa.bindparam("at"))
    query = sa.select(m.line, m.stage, m.to_id.label("checkpoint_id"), m.decision_id)
    return query.where(m.seq.in_(last.group_by(m.line, m.stage).scalar_subquery()), m.action != "withdraw")


HELD_NOW, HELD_THEN = _now(), _then()  # made once: to build a query takes longer than to answer it


def held_in(connection: sa.Connection, models: Mapping[str, str], *, seen: Horizon | None = None) -> tuple[Held, ...]:
    """The stages that these models (id -> line) hold, by line and stage; with ``seen``, that they held then."""
    if not models:
        return ()
    lines = {"lines": sorted(set(models.values()))}
    rows = connection.execute(HELD_NOW, lines) if seen is None else connection.execute(HELD_THEN, lines | {"at": seen.at})
    found = [Held(**row._mapping) for row in rows]
    return tuple(sorted((one for one in found if one.checkpoint_id in models), key=lambda one: (one.line, one.stage)))
