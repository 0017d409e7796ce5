"""Where a record came from, and what was made from it, as a tree read from the registry's links.

A trace costs one look at the links and one for each sort of fact (see ``graph.py``), whatever the registry holds. Damage does not stop
it; a link to a record that is gone shows as a missing node, and ``verify.py`` says more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from pe_training.core.ids import kind_of
from pe_training.lineage.graph import MAX_DEPTH, Links, children_query, down_in, in_order, parents_query, up_in
from pe_training.lineage.held import held_in
from pe_training.lineage.horizon import ALWAYS, Horizon
from pe_training.lineage.runs import Told, told_in
from pe_training.promotion.record import PromotionDecision
from pe_training.storage import tables as t
from pe_training.storage.registry import PAGE_ROWS
from pe_training.storage.state import State
from pe_training.storage.taints import tainted_in
from pe_training.training.record import Checkpoint, TrainingRun
from pe_training.training.reproduction import NOT_MEASURED

__all__ = ["MAX_DEPTH", "Facts", "Tree", "children_query", "node_query", "parents_query", "release_query", "trace_down", "trace_up"]
MISSING = "(not in the registry)"


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
    verdict: str | None = None  # of a decision
    stages: tuple[str, ...] = ()  # of a checkpoint: those that it holds
    made_at: str | None = None
    hidden: dict[str, int] = field(default_factory=dict)  # kind -> how many of those right below it are not shown
    uncounted: bool = False  # and even more


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is told of nodes beside their links."""

    recalls: dict[str, tuple[int, ...]]
    runs: dict[str, Told]
    verdicts: dict[str, str]
    stages: dict[str, tuple[str, ...]]
    releases: dict[str, list[sa.Row[Any]]]  # of dataset versions, first one first


def trace_up(state: State, identifier: str, *, depth: int = MAX_DEPTH, seen: Horizon | None = None) -> Tree:
    """What a record was made from, back to the release of its dataset; with ``seen``, as the registry was. Raises not_found."""
    with state.registry.reading() as connection:
        links = up_in(connection, identifier, depth=depth, seen=seen)
        return _Grown(links, facts_in(connection, links, up=True, seen=seen), up=True).tree(identifier, depth=depth)


def trace_down(state: State, identifier: str, *, depth: int = MAX_DEPTH, limit: int = PAGE_ROWS, seen: Horizon | None = None) -> Tree:
    """What was made from a record, at most ``limit`` children a node. Raises not_found."""
    with state.registry.reading() as connection:
        links = down_in(connection, identifier, depth=depth, limit=limit, seen=seen)
        return _Grown(links, facts_in(connection, links, up=False, seen=seen), up=False).tree(identifier, depth=depth)


def facts_in(connection: sa.Connection, links: Links, *, up: bool, seen: Horizon | None) -> Facts:
    """The facts of all linked records, one look for each sort."""
    of: dict[str, list[str]] = {}
    for identifier in links.records:
        of.setdefault(kind_of(identifier), []).append(identifier)
    at = seen.at if seen else None
    releases = _releases(connection, of.get("ds", ()), links, at) if up else {}
    previous = [row.previous_id for rows in releases.values() for row in rows if row.previous_id]
    models = {identifier: links.records[identifier].label for identifier in of.get(Checkpoint.kind, ())}
    stages: dict[str, tuple[str, ...]] = {}
    for one in held_in(connection, models, seen=seen):
        stages[one.checkpoint_id] = (*stages.get(one.checkpoint_id, ()), one.stage)
    return Facts(
        recalls=tainted_in(connection, [*links.records, *previous], at=at),
        runs=told_in(connection, of.get(TrainingRun.kind, ()), at=at),
        verdicts=_verdicts(connection, of.get(PromotionDecision.kind, ())),
        stages=stages,
        releases=releases,
    )


def node_query(identifier: str) -> sa.Select[Any]:
    """The label of one record."""
    return sa.select(t.records.c.label).where(t.records.c.id == identifier)


def release_query(name: str, dataset_id: str) -> sa.Select[tuple[str, str, str, str, str, str]]:
    """The releases of a dataset's name that were sealed as this version, first one first."""
    r = t.releases.c
    return (
        sa.select(r.digest, r.name, r.version, r.outcome, r.report_digest, r.previous_id)
        .where(r.name == name, r.dataset_id == dataset_id)
        .order_by(r.seq)
    )


def _of_versions() -> sa.Select[Any]:
    r = t.releases.c
    query = sa.select(r.dataset_id, r.digest, r.name, r.version, r.outcome, r.previous_id)
    return query.where(r.dataset_id.in_(sa.bindparam("ids", expanding=True)), r.at <= sa.bindparam("at")).order_by(r.dataset_id, r.seq)


def _bodies() -> sa.Select[Any]:
    return sa.select(t.records.c.id, t.records.c.body).where(t.records.c.id.in_(sa.bindparam("ids", expanding=True)))


RELEASES, BODIES = _of_versions(), _bodies()  # made once: to build a query takes longer than to answer it


def _releases(connection: sa.Connection, dataset_ids: Iterable[str], links: Links, at: str | None) -> dict[str, list[sa.Row[Any]]]:
    found: dict[str, list[sa.Row[Any]]] = {}
    wanted = list(dataset_ids)
    for row in connection.execute(RELEASES, {"ids": wanted, "at": at or ALWAYS}) if wanted else ():
        if row.name == links.records[row.dataset_id].label:
            found.setdefault(row.dataset_id, []).append(row)
    return found


def _verdicts(connection: sa.Connection, decision_ids: Iterable[str]) -> dict[str, str]:
    """What each decision says; nothing of one whose text is damaged, which is for ``verify.py`` to tell."""
    wanted, found = list(decision_ids), dict[str, str]()
    for row in connection.execute(BODIES, {"ids": wanted}) if wanted else ():
        try:
            said = json.loads(row.body)
        except ValueError:
            continue
        if isinstance(said, dict) and isinstance(said.get("verdict"), str):
            found[row.id] = said["verdict"]
    return found


class _Grown:
    """Trees over links: what hangs below two nodes is told below both."""

    def __init__(self, links: Links, facts: Facts, *, up: bool) -> None:
        self._links, self._facts, self._up = links, facts, up
        self._below: dict[str, list[tuple[str, str]]] = {}
        for link in links.found:
            above, below = (link.child, link.parent) if up else (link.parent, link.child)
            self._below.setdefault(above, []).append((link.role, below))
        for found in self._below.values():
            found.sort(key=lambda one: one if up else (one[1], one[0]))

    def tree(self, identifier: str, *, depth: int, role: str = "") -> Tree:
        kind, listed, facts = kind_of(identifier), self._links.records.get(identifier), self._facts
        if listed is None:
            return Tree(id=identifier, kind=kind, label=MISSING, role=role, missing=True)
        found = self._below.get(identifier, [])
        children = [self.tree(other, depth=depth - 1, role=name) for name, other in found] if depth > 0 else []
        left_out = self._links.left_out.get(identifier)
        told = facts.runs.get(identifier, Told())
        return Tree(
            id=identifier, kind=kind, label=listed.label, role=role,
            children=(*children, *self._origins(identifier, listed.label)),
            truncated=bool(left_out) or len(children) < len(found),
            recalls=facts.recalls.get(identifier, ()),
            determinism=told.determinism or NOT_MEASURED if kind == TrainingRun.kind else None, recoveries=told.recoveries,
            made_at=listed.made_at, verdict=facts.verdicts.get(identifier), stages=facts.stages.get(identifier, ()),
            hidden=in_order(left_out) if left_out else {}, uncounted=identifier in self._links.uncounted,
        )  # fmt: skip

    def _origins(self, identifier: str, name: str) -> list[Tree]:
        """The releases that became a version, each once, and the version that was the newest before it, without its own past."""
        rows = {row.digest: row for row in self._facts.releases.get(identifier, ())}
        found = [
            Tree(id=row.digest, kind="release", label=f"{row.name} {row.version} ({row.outcome})", role="release") for row in rows.values()
        ]
        for previous in sorted({row.previous_id for row in rows.values() if row.previous_id}):
            label, recalls = f"{name} (the version before)", self._facts.recalls.get(previous, ())
            found.append(Tree(id=previous, kind="ds", label=label, role="previous", recalls=recalls))
        return found
