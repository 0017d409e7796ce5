"""Which records a recall has tainted: rows beside the records, which themselves never change.

A record is tainted while a recall that names it has not been lifted. A taint travels down the links: a recall writes it for
everything that exists, and a record that is made later takes it over from its parents in the transaction that stores it.
On a database that lets several transactions write at once, the recall first locks the links, and the releases too: who
stored one before is waited for and seen, who stores one afterwards waits and then sees the taint. That is why a writer stores
first and looks after.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pe_training.core.ids import is_id, short
from pe_training.storage import tables as t


@dataclass(frozen=True, kw_only=True)
class Recall:
    """One recall, holding until ``lifted_at`` is set."""

    seq: int
    kind: str  # record | source_key | family | licence | version
    value: str
    reason: str
    actor: str
    at: str
    lifted_at: str | None = None
    lifted_by: str | None = None
    lift_reason: str | None = None

    def __str__(self) -> str:
        value = short(self.value) if is_id(self.value) or self.kind == "record" else self.value
        return f"recall {self.seq} of {self.kind.replace('_', ' ')} {value} ({self.reason})"


def lock_lineage_in(connection: sa.Connection) -> None:
    """Let nobody else write a link, a release or a stage pointer until this transaction ends. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE edges, releases, stages IN SHARE ROW EXCLUSIVE MODE")


def inherit_in(connection: sa.Connection, child: str) -> None:
    """Give a record that was just stored the taints of its parents, as its links name them."""
    _taint(connection, inherit_query(child))


def inherit_query(child: str) -> sa.Select[Any]:
    """Taints of the parents of ``child``, for ``child``; one that several parents have is there several times."""
    joined = t.edges.join(t.taints, t.taints.c.record_id == t.edges.c.parent).join(t.recalls, t.recalls.c.seq == t.taints.c.recall_seq)
    found = sa.select(sa.literal(child).label("record_id"), t.taints.c.recall_seq).select_from(joined)
    return found.where(t.edges.c.child == child, t.recalls.c.lifted_at.is_(None))


def taints_query(identifiers: Iterable[str]) -> sa.Select[Any]:
    """The recalls that hold and name any of these records, first one first."""
    named = sa.select(t.taints.c.recall_seq).where(t.taints.c.record_id.in_(list(identifiers)))
    return sa.select(t.recalls).where(t.recalls.c.seq.in_(named), t.recalls.c.lifted_at.is_(None)).order_by(t.recalls.c.seq)


def taints_in(connection: sa.Connection, *identifiers: str) -> tuple[Recall, ...]:
    """The recalls that hold and name any of these records."""
    return tuple(Recall(**row._mapping) for row in connection.execute(taints_query(identifiers)))


def _tainted(*, lifted: Any) -> sa.Select[Any]:
    named, held = t.taints.c, t.recalls.c
    query = sa.select(named.record_id, named.recall_seq).where(named.record_id.in_(sa.bindparam("ids", expanding=True)))
    return query.where(held.seq == named.recall_seq, lifted).order_by(named.recall_seq)


def _held_then() -> sa.ColumnElement[bool]:
    held, at = t.recalls.c, sa.bindparam("at", type_=sa.String)
    return sa.and_(held.at <= at, sa.or_(held.lifted_at.is_(None), held.lifted_at > at))


# Made once: to build a query takes longer than to answer it.
TAINTED_NOW, TAINTED_THEN = _tainted(lifted=t.recalls.c.lifted_at.is_(None)), _tainted(lifted=_held_then())


def tainted_in(connection: sa.Connection, identifiers: Iterable[str], *, at: str | None = None) -> dict[str, tuple[int, ...]]:
    """Of these records those that a recall taints that holds, or held at a moment, with the ``seq`` of the recalls."""
    asked = {"ids": list(identifiers)}
    found: dict[str, tuple[int, ...]] = {}
    for row in connection.execute(TAINTED_NOW, asked) if at is None else connection.execute(TAINTED_THEN, asked | {"at": at}):
        found[row.record_id] = (*found.get(row.record_id, ()), row.recall_seq)
    return found


def holding_in(connection: sa.Connection) -> tuple[Recall, ...]:
    """All recalls that hold."""
    query = sa.select(t.recalls).where(t.recalls.c.lifted_at.is_(None)).order_by(t.recalls.c.seq)
    return tuple(Recall(**row._mapping) for row in connection.execute(query))


def downstream_query(seeds: Iterable[str]) -> sa.Select[Any]:
    """``(seq, id, kind, label)`` of these records and of all that was made from them, oldest first."""
    r, down = t.records.c, _downstream(seeds)
    return sa.select(r.seq, r.id, r.kind, r.label).where(r.id == down.c.id).order_by(r.seq)


def spread_in(connection: sa.Connection, seq: int, seeds: Iterable[str]) -> None:
    """Taint these records and all that was made from them by recall ``seq``. What it has tainted already stays so."""
    down = _downstream(seeds)
    known = sa.exists().where(t.taints.c.record_id == down.c.id, t.taints.c.recall_seq == seq)
    _taint(connection, sa.select(down.c.id.label("record_id"), sa.literal(seq).label("recall_seq")).where(~known))


def _taint(connection: sa.Connection, found: sa.Select[Any]) -> None:
    """Write taints row by row, since each is chained (see ledger.py)."""
    if rows := dict.fromkeys((str(row.record_id), int(row.recall_seq)) for row in connection.execute(found)):
        connection.execute(sa.insert(t.taints), [{"record_id": identifier, "recall_seq": seq} for identifier, seq in rows])


def _downstream(seeds: Iterable[str]) -> sa.CTE:
    down = sa.select(t.records.c.id).where(t.records.c.id.in_(list(seeds))).cte("down", recursive=True)
    return down.union(sa.select(t.edges.c.child).where(t.edges.c.parent == down.c.id))
