"""Where a record came from, and what was made from it, as a tree read from the registry's links.

Nothing here reads a record's body: a trace costs a few indexed looks per node, whatever the registry holds. Damage does not stop
it; a link to a record that is gone shows as a missing node, and ``verify.py`` says more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import kind_of, short
from pe_training.storage import tables as t
from pe_training.storage.registry import PAGE_ROWS
from pe_training.storage.state import State
from pe_training.storage.taints import taints_in
from pe_training.training.events import recoveries_in
from pe_training.training.record import TrainingRun
from pe_training.training.reproduction import NOT_MEASURED, determinism_in

MAX_DEPTH = 8  # the chain has six links
Links = list[tuple[str, str]]  # role, id


@dataclass(frozen=True, kw_only=True)
class Tree:
    """One node. ``role``: what it is to the node above it (up), or the node above to it (down). A release's id is its digest."""

    id: str
    kind: str  # as in core.ids.KINDS, or release
    label: str
    role: str
    children: tuple[Tree, ...] = ()
    missing: bool = False  # linked to, but not in the registry
    truncated: bool = False  # has more below it than is shown
    recalls: tuple[int, ...] = ()  # the recalls that taint it
    determinism: str | None = None  # of a run: how exactly it can be repeated, as was measured
    recoveries: tuple[str, ...] = ()  # of a run: what it went on from, in order: rollback, out_of_memory


def trace_up(state: State, identifier: str, *, depth: int = MAX_DEPTH) -> Tree:
    """What a record was made from, back to the release of its dataset. Raises not_found."""
    with state.registry.reading() as connection:
        return _walk(connection, _parents, identifier, role="", depth=depth)


def trace_down(state: State, identifier: str, *, depth: int = MAX_DEPTH, limit: int = PAGE_ROWS) -> Tree:
    """What was made from a record, at most ``limit`` children a node. Raises not_found."""

    def children(connection: sa.Connection, parent: str) -> Links:
        return [(row.role, row.child) for row in connection.execute(children_query(parent, limit=limit + 1))]

    with state.registry.reading() as connection:
        return _walk(connection, children, identifier, role="", depth=depth, limit=limit)


def node_query(identifier: str) -> sa.Select[Any]:
    """The label of one record."""
    return sa.select(t.records.c.label).where(t.records.c.id == identifier)


def parents_query(child: str) -> sa.Select[tuple[str, str]]:
    """Links to what a record was made from."""
    return sa.select(t.edges.c.role, t.edges.c.parent).where(t.edges.c.child == child).order_by(t.edges.c.role)


def children_query(parent: str, *, limit: int) -> sa.Select[tuple[str, str]]:
    """Links from what was made from a record."""
    return sa.select(t.edges.c.role, t.edges.c.child).where(t.edges.c.parent == parent).order_by(t.edges.c.child).limit(limit)


def release_query(name: str, dataset_id: str) -> sa.Select[tuple[str, str, str, str, str, str]]:
    """The releases of a dataset's name that were sealed as this version, first one first."""
    r = t.releases.c
    return (
        sa.select(r.digest, r.name, r.version, r.outcome, r.report_digest, r.previous_id)
        .where(r.name == name, r.dataset_id == dataset_id)
        .order_by(r.seq)
    )


def _walk(
    connection: sa.Connection,
    links: Callable[[sa.Connection, str], Links],
    identifier: str,
    *,
    role: str,
    depth: int,
    limit: int | None = None,
) -> Tree:
    label: str | None = connection.execute(node_query(identifier)).scalar()
    kind = kind_of(identifier)
    if label is None:
        if not role:
            raise PeError(Kind.NOT_FOUND, f"no record {short(identifier)}", hint="`pe ls` lists the kinds")
        return Tree(id=identifier, kind=kind, label="(not in the registry)", role=role, missing=True)
    found = links(connection, identifier)
    shown = found[:limit] if depth > 0 else []
    children = [_walk(connection, links, other, role=name, depth=depth - 1, limit=limit) for name, other in shown]
    if kind == "ds" and links is _parents:
        children += _origins(connection, label, identifier)
    recalls = tuple(recall.seq for recall in taints_in(connection, identifier))
    return Tree(
        id=identifier, kind=kind, label=label, role=role, children=tuple(children), truncated=len(shown) < len(found), recalls=recalls,
        determinism=determinism_in(connection, identifier) or NOT_MEASURED if kind == TrainingRun.kind else None,
        recoveries=recoveries_in(connection, identifier) if kind == TrainingRun.kind else (),
    )  # fmt: skip


def _parents(connection: sa.Connection, child: str) -> Links:
    return [(row.role, row.parent) for row in connection.execute(parents_query(child))]


def _origins(connection: sa.Connection, name: str, dataset_id: str) -> list[Tree]:
    """The releases that became a version, each once, and the version that was the newest before it, without its own past."""
    rows = {row.digest: row for row in connection.execute(release_query(name, dataset_id))}
    found = [
        Tree(id=row.digest, kind="release", label=f"{row.name} {row.version} ({row.outcome})", role="release") for row in rows.values()
    ]
    for previous in sorted({row.previous_id for row in rows.values() if row.previous_id}):
        recalls = tuple(recall.seq for recall in taints_in(connection, previous))
        found.append(Tree(id=previous, kind="ds", label=f"{name} (the version before)", role="previous", recalls=recalls))
    return found
