"""What contains this: from a record, a version, a source key, a family or a licence to every model made from it, and who holds which stage.

The answer to "may we still use this" is asked before anything is recalled, so nothing is written. Records are streamed past and counted;
models are told a page at a time, and all stages that one of them holds are told whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import KINDS, is_id, kind_of, short
from pe_training.datasets.recall import Selector, holders, parse_selector
from pe_training.lineage.graph import LISTED
from pe_training.lineage.held import Held, held_in
from pe_training.lineage.horizon import Horizon
from pe_training.storage import tables as t
from pe_training.storage.registry import PAGE_ROWS
from pe_training.storage.state import State
from pe_training.storage.taints import tainted_in
from pe_training.training.record import Checkpoint

STREAMED_ROWS = 1_000


@dataclass(frozen=True, kw_only=True)
class Model:
    """A checkpoint that contains it."""

    id: str
    line: str
    seq: int
    stages: tuple[str, ...]  # that it holds
    recalls: tuple[int, ...]  # that taint it


@dataclass(frozen=True, kw_only=True)
class Impact:
    """``holders``: the records that hold it themselves; ``counts``: kind -> records, they and all that was made from them."""

    what: str
    holders: tuple[str, ...]
    counts: dict[str, int]
    models: tuple[Model, ...]  # one page, newest first
    next_before: int | None  # the ``seq`` to ask the next page with
    stages: tuple[Held, ...]  # all that a model holds which contains it


def impact_of(state: State, text: str, *, seen: Horizon | None = None, before: int | None = None, limit: int = PAGE_ROWS) -> Impact:
    """What contains what a person typed: any id, or a selector as ``pe recall`` reads it. Raises not_found, input, corrupt."""
    what, found = _asked(state, text)
    with state.registry.reading() as connection:
        then = {row.id for row in connection.execute(LISTED, {"ids": list(found)}) if seen is None or row.seq <= seen.seq}
        if not then:
            assert seen is not None
            raise PeError(Kind.NOT_FOUND, f"nothing held {what} at {seen.at}", hint="give a later --at, or leave it out")
        return _impact_in(connection, what, sorted(then), seen=seen, before=before, limit=limit)


def _asked(state: State, text: str) -> tuple[str, tuple[str, ...]]:
    """How it is called, and the records that hold it themselves."""
    prefix, underscore, _ = text.partition("_")
    if underscore and prefix in KINDS and ":" not in text:
        whole = state.registry.resolve(text)
        return f"{KINDS[kind_of(whole)]} {short(whole)}", (whole,)
    selector: Selector = parse_selector(text, state=state)
    found = holders(selector, state=state)
    return f"dataset version {short(found[0])}" if is_id(selector.value) else str(selector), found


def _impact_in(
    connection: sa.Connection, what: str, seeds: Iterable[str], *, seen: Horizon | None, before: int | None, limit: int
) -> Impact:
    counts: Counter[str] = Counter()
    page: list[tuple[int, str, str]] = []
    holding: list[Held] = []
    models: dict[str, str] = {}  # of the rows streamed last: looked up together, then forgotten
    rows = connection.execute(BELOW, {"ids": list(seeds)}, execution_options={"yield_per": STREAMED_ROWS})
    for part in rows.partitions(STREAMED_ROWS):
        some = [row for row in part if seen is None or row.seq <= seen.seq]
        counts.update(row.kind for row in some)
        models = {row.id: row.label for row in some if row.kind == Checkpoint.kind}
        holding += held_in(connection, models, seen=seen)
        page += [(row.seq, row.id, row.label) for row in some if row.id in models and (before is None or row.seq < before)]
        page = sorted(page, reverse=True)[: limit + 1]
    shown = page[:limit]
    tainted = tainted_in(connection, [identifier for _, identifier, _ in shown], at=seen.at if seen else None)
    stages = {one: tuple(held.stage for held in holding if held.checkpoint_id == one) for _, one, _ in shown}
    return Impact(
        what=what,
        holders=tuple(seeds),
        counts={kind: counts[kind] for kind in KINDS if counts[kind]},
        models=tuple(
            Model(id=one, line=line, seq=seq, stages=stages[one], recalls=tainted.get(one, ())) for seq, one, line in shown
        ),
        next_before=shown[-1][0] if len(page) > limit else None,
        stages=tuple(sorted(holding, key=lambda held: (held.line, held.stage))),
    )  # fmt: skip


def _below() -> sa.Select[Any]:
    """Records and all that was made from them. No order and no limit by ``seq``: with either SQLite would walk along all records."""
    r = t.records.c
    down = sa.select(r.id).where(r.id.in_(sa.bindparam("ids", expanding=True))).cte("down", recursive=True)
    down = down.union(sa.select(t.edges.c.child).where(t.edges.c.parent == down.c.id))
    return sa.select(r.seq, r.id, r.kind, r.label).where(r.id == down.c.id)


BELOW = _below()  # made once: to build a query takes longer than to answer it
