"""Records that hang together, as a graph read from the registry's links: up to what a record was made from, down to what was made of it.

A graph is read in one look and its facts (labels, taints, verdicts, stages) in one look each, whatever the registry holds. Where more hangs
below a record than anybody reads, the links are read a level at a time, so many a record, and what is left out is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import KINDS, kind_of, short
from pe_training.lineage.horizon import Horizon
from pe_training.storage import tables as t
from pe_training.storage.registry import PAGE_ROWS

MOST_LINKS = 500  # read in one look; where there are more, so many a record
MOST_COUNTED = 1_000  # children of one record; beyond it "1,000 and more" says enough
MAX_DEPTH = 8  # the chain has six links


@dataclass(frozen=True, kw_only=True)
class Link:
    """``child`` was made from ``parent``, which was its ``role``."""

    child: str
    role: str
    parent: str


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A record as the registry lists it."""

    label: str
    seq: int
    made_at: str


@dataclass(kw_only=True)
class Links:
    """Links between records, and of the records whose links were not all read how many there are of each kind."""

    found: list[Link] = field(default_factory=list)
    left_out: dict[str, Counter[str]] = field(default_factory=dict)
    uncounted: set[str] = field(default_factory=set)  # of which there are even more
    records: dict[str, Listed] = field(default_factory=dict)  # those of the linked that are there


def _up() -> sa.Select[Any]:
    e = t.edges.c
    first = sa.select(e.child, e.role, e.parent).where(e.child == sa.bindparam("id")).cte("up", recursive=True)
    up = first.union(sa.select(e.child, e.role, e.parent).where(e.child == first.c.parent))
    return sa.select(up.c.child, up.c.role, up.c.parent).limit(sa.bindparam("most", type_=sa.Integer))


def _down() -> sa.Select[Any]:
    e = t.edges.c
    first = sa.select(e.child, e.role, e.parent).where(e.parent == sa.bindparam("id")).cte("down", recursive=True)
    down = first.union(sa.select(e.child, e.role, e.parent).where(e.parent == first.c.child))
    return sa.select(down.c.child, down.c.role, down.c.parent).limit(sa.bindparam("most", type_=sa.Integer))


def _listed() -> sa.Select[Any]:
    r = t.records.c
    query = sa.select(r.id, r.label, r.seq, r.created_at.label("made_at"))
    return query.where(r.id.in_(sa.bindparam("ids", expanding=True)))


# Made once: to build a query takes longer than to answer it. A circle of links, which only damage makes, ends where it was entered.
UP, DOWN, LISTED = _up(), _down(), _listed()


def up_in(connection: sa.Connection, identifier: str, *, depth: int = MAX_DEPTH, seen: Horizon | None = None) -> Links:
    """Links to all that a record was made from. Raises not_found."""
    rows = connection.execute(UP, {"id": identifier, "most": MOST_LINKS + 1}).all()
    links = _unique(rows) if len(rows) <= MOST_LINKS else _up_by_level(connection, identifier, depth)
    return _with_records(connection, identifier, Links(found=links), seen, up=True)


def down_in(
    connection: sa.Connection, identifier: str, *, depth: int = MAX_DEPTH, limit: int = PAGE_ROWS, seen: Horizon | None = None
) -> Links:
    """Links from all that was made of a record, at most ``limit`` a record. Raises not_found."""
    rows = connection.execute(DOWN, {"id": identifier, "most": MOST_LINKS + 1}).all()
    if len(rows) <= MOST_LINKS:
        return _thinned(_with_records(connection, identifier, Links(found=_unique(rows)), seen, up=False), limit=limit)
    return _with_records(connection, identifier, _down_by_level(connection, identifier, depth, limit, seen), seen, up=False)


def parents_query(child: str) -> sa.Select[tuple[str, str]]:
    """Links to what a record was made from."""
    return sa.select(t.edges.c.role, t.edges.c.parent).where(t.edges.c.child == child).order_by(t.edges.c.role)


def children_query(parent: str, *, limit: int, seen: Horizon | None = None) -> sa.Select[tuple[str, str]]:
    """Links from what was made from a record."""
    query = sa.select(t.edges.c.role, t.edges.c.child).where(t.edges.c.parent == parent).order_by(t.edges.c.child).limit(limit)
    return query if seen is None else query.where(t.records.c.id == t.edges.c.child, t.records.c.seq <= seen.seq)


def _unique(rows: Sequence[sa.Row[Any]]) -> list[Link]:
    return [Link(child=child, role=role, parent=parent) for child, role, parent in sorted({tuple(row) for row in rows})]


def _with_records(connection: sa.Connection, identifier: str, links: Links, seen: Horizon | None, *, up: bool) -> Links:
    """The links with what is listed of their ends. What came after the horizon is left out, with all that hangs on it."""
    ids = {identifier, *(end for link in links.found for end in (link.child, link.parent))}
    rows = connection.execute(LISTED, {"ids": sorted(ids)})
    listed = {row.id: Listed(label=row.label, seq=row.seq, made_at=row.made_at) for row in rows}
    later = {one for one, found in listed.items() if seen is not None and found.seq > seen.seq}
    if identifier not in listed:
        raise PeError(Kind.NOT_FOUND, f"no record {short(identifier)}", hint="`pe ls` lists the kinds")
    if identifier in later:
        assert seen is not None
        message = f"{short(identifier)} was made at {listed[identifier].made_at}, after {seen.at}"
        raise PeError(Kind.NOT_FOUND, message, where=identifier, hint="give a later --at, or leave it out")
    above = [link.child if up else link.parent for link in links.found]  # nothing is told of what hangs on a record that is gone
    shown = zip(above, links.found, strict=True)
    links.found = [link for end, link in shown if link.child not in later and link.parent not in later and end in listed]
    links.records = {one: found for one, found in listed.items() if one not in later}
    return links


def _thinned(links: Links, *, limit: int) -> Links:
    """At most ``limit`` children a record: the newest of each kind in turn, so that no kind hides another."""
    below: dict[str, list[Link]] = {}
    for link in links.found:
        below.setdefault(link.parent, []).append(link)
    for parent, found in below.items():
        if len(found) > limit:
            newest = sorted(found, key=lambda link: (-_seq(links, link.child), link.role))
            kept = set(_in_turn(newest)[:limit])
            links.left_out[parent] = Counter(kind_of(link.child) for link in found if link not in kept)
            below[parent] = [link for link in found if link in kept]
    links.found = [link for found in below.values() for link in found]
    return links


def _seq(links: Links, identifier: str) -> int:
    return links.records[identifier].seq if identifier in links.records else 0


def _in_turn(found: Sequence[Link]) -> list[Link]:
    """Links to children of one kind after those of another, in turn."""
    place: Counter[str] = Counter()
    ranked: list[tuple[int, str, Link]] = []
    for link in found:
        kind = kind_of(link.child)
        ranked.append((place[kind], kind, link))
        place[kind] += 1
    return [link for _, _, link in sorted(ranked, key=lambda one: one[:2])]


def _up_by_level(connection: sa.Connection, identifier: str, depth: int) -> list[Link]:
    links: list[Link] = []
    level, known = [identifier], {identifier}
    for _ in range(depth + 1):
        found = [Link(child=child, role=row.role, parent=row.parent) for child in level for row in connection.execute(parents_query(child))]
        links += found
        level = sorted({link.parent for link in found} - known)
        known.update(level)
    return links


def _down_by_level(connection: sa.Connection, identifier: str, depth: int, limit: int, seen: Horizon | None) -> Links:
    """Level by level, at most ``limit`` children a record and :data:`MOST_LINKS` in all; what is left out is counted."""
    links = Links()
    level, known = [identifier], {identifier}
    for _ in range(depth + 1):
        found: list[Link] = []
        for parent in level:
            room = max(min(limit, MOST_LINKS - len(links.found) - len(found)), 0)
            children = _children(connection, parent, room + 1, seen)
            if len(children) > room:
                of_kinds = [_children(connection, parent, MOST_COUNTED, seen, kind=kind) for kind in KINDS]
                links.uncounted |= {parent} if MOST_COUNTED in map(len, of_kinds) else set()
                children = _in_turn([link for some in of_kinds for link in some])
                links.left_out[parent] = Counter(kind_of(link.child) for link in children[room:])
            found += children[:room]
        links.found += found
        level = sorted({link.child for link in found} - known)
        known.update(level)
    return links


def _children(connection: sa.Connection, parent: str, limit: int, seen: Horizon | None, *, kind: str | None = None) -> list[Link]:
    query = children_query(parent, limit=limit, seen=seen)
    if kind is not None:
        first, last = f"{kind}_", f"{kind}{chr(ord('_') + 1)}"
        query = query.where(t.edges.c.child >= first, t.edges.c.child < last)
    return [Link(child=row.child, role=row.role, parent=parent) for row in connection.execute(query)]


def in_order(left_out: Counter[str]) -> dict[str, int]:
    """Counts by kind, in the order of the chain."""
    return {kind: left_out[kind] for kind in KINDS if left_out[kind]}
