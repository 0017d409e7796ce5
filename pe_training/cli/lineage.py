"""`pe trace`, `impact`, `diff`: where records come from, what contains a thing, and how two records differ."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pe_training.cli.output import Answer, AsJson, Verbs, answers
from pe_training.cli.state import open_state
from pe_training.core.errors import Kind, PeError

if TYPE_CHECKING:
    from pe_training.lineage.horizon import Horizon
    from pe_training.storage.state import State

PAGE_CHILDREN = 12  # of one record that a page draws; the others are counted
FORMATS = ("tree", "json", "mermaid")
At = Annotated[str | None, typer.Option("--at", metavar="TIME", help="As the registry was: a time (UTC), a day, or a record's `seq`.")]


@answers
def trace(
    identifier: Annotated[
        str, typer.Argument(metavar="ID[#ROW]", help="An id or its beginning, e.g. ck_3fa9c2; with the digest of a row, only that row.")
    ],
    down: Annotated[bool, typer.Option("--down/--up", help="What was made from it, or what it was made from.")] = False,
    how: Annotated[str, typer.Option("--format", metavar="FORMAT", help="tree, json or mermaid")] = "tree",
    at: At = None,
    page: Annotated[Path | None, typer.Option(metavar="FILE", help="Write both directions as one HTML page with a graph instead.")] = None,
    rows: Annotated[bool, typer.Option("--rows", help="Of a checkpoint: which rows of which shards it saw, counted.")] = False,
    rows_to: Annotated[Path | None, typer.Option(metavar="FILE", help="Write those rows too, one JSON object a line.")] = None,
    as_json: AsJson = False,
) -> Answer:
    """Walk the lineage of a record, down to the rows that a checkpoint saw."""
    import json

    from pe_training.core.config import suggest
    from pe_training.lineage.trace import trace_down, trace_up
    from pe_training.views.console import lineage_tree
    from pe_training.views.mermaid import mermaid

    if how not in FORMATS:
        raise PeError(Kind.INPUT, f"unknown format {how!r}", where="--format", hint=suggest(how, FORMATS))
    state = open_state()
    name, _, row = identifier.partition("#")
    whole, seen = state.registry.resolve(name), seen_at(state, at)
    if row:
        return _row(whole, row, state=state)
    if rows or rows_to:
        return _rows(whole, rows_to, state=state)
    if page is not None:
        return _page(whole, page, seen=seen, state=state)
    tree = (trace_down if down else trace_up)(state, whole, seen=seen)
    data = asdict(tree)
    if how == "json":
        return Answer(data=data, show=lambda: [json.dumps(data, indent=1)])
    if how == "mermaid":
        return Answer(data=data, show=lambda: [mermaid(tree, up=not down)])
    heading = "what was made from it" if down else "where it comes from"
    return Answer(data=data, show=lambda: [lineage_tree(tree, f"{heading}, as it was at {seen.at}" if seen else heading)])


def _page(identifier: str, path: Path, *, seen: Horizon | None, state: State) -> Answer:
    from pe_training.lineage.trace import trace_down, trace_up
    from pe_training.storage.durable import write_durably
    from pe_training.views.lineage_page import render_lineage_page

    up, down = trace_up(state, identifier, seen=seen), trace_down(state, identifier, limit=PAGE_CHILDREN, seen=seen)
    html = render_lineage_page(up, down, at=seen.at if seen else None).encode()
    write_durably(path, lambda file: file.write(html))
    return Answer(data={"id": identifier, "page": str(path)}, show=lambda: [str(path)])


def _rows(identifier: str, path: Path | None, *, state: State) -> Answer:
    import json

    from pe_training.lineage.rows import rows_seen
    from pe_training.storage.durable import write_durably
    from pe_training.views.rows_seen import seen_view

    found = rows_seen(_checkpoint(identifier), state=state)
    if path is not None:
        lines = "".join(json.dumps(asdict(row)) + "\n" for row in found.rows).encode()
        write_durably(path, lambda file: file.write(lines))
    data = {name: value for name, value in asdict(found).items() if name != "rows"}
    return Answer(data=data | {"seen": len(found.rows)}, show=lambda: [seen_view(found)])


def _row(identifier: str, text: str, *, state: State) -> Answer:
    from pe_training.core.ids import kind_of
    from pe_training.lineage.impact import impact_of
    from pe_training.lineage.rows import find_row, rows_seen
    from pe_training.views.rows_seen import row_view

    times = None
    if kind_of(identifier) == "ds":
        place = find_row(identifier, text, state=state)
    else:
        seen = rows_seen(_checkpoint(identifier), state=state)
        place = find_row(seen.dataset_id, text, state=state)
        times = next((row.times for row in seen.rows if row.row_digest == place.row_digest), 0)
    found = impact_of(state, place.row_digest)
    data = asdict(place) | {"times": times, "impact": asdict(found)}
    return Answer(data=data, show=lambda: [row_view(place, found, times=times)])


def _checkpoint(identifier: str) -> str:
    from pe_training.core.ids import KINDS, kind_of, short

    if kind_of(identifier) != "ck":
        message = f"{short(identifier)} is a {KINDS[kind_of(identifier)]}: only a checkpoint saw rows"
        raise PeError(Kind.INPUT, message, hint="`pe trace ID --down` finds its checkpoints; `ds_...#ROW` finds a row of a version")
    return identifier


@answers
def impact(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="Any id, NAME@VERSION, sha256:... (a row or content digest), source_key:..., family:... or licence:..."
        ),
    ],
    at: At = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Models a page.")] = 50,
    before: Annotated[int | None, typer.Option(help="The `seq` of the last model you saw: the page below it.")] = None,
    as_json: AsJson = False,
) -> Answer:
    """Which models contain this, and which stages they hold. Writes nothing; `pe recall` takes data back."""
    from pe_training.lineage.impact import impact_of
    from pe_training.views.impact import impact_view

    state = open_state()
    seen = seen_at(state, at)
    found = impact_of(state, what, seen=seen, before=before, limit=limit)
    return Answer(data=asdict(found), show=lambda: [impact_view(found, at=seen.at if seen else None)])


@answers
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="An id or its beginning.")],
    after: Annotated[str, typer.Argument(metavar="B", help="An id of the same kind.")],
    as_json: AsJson = False,
) -> Answer:
    """Compare two records field by field. Exit 1: they differ."""
    from pe_training.lineage.diff import compare_records
    from pe_training.views.record_diff import record_diff_view

    registry = (state := open_state()).registry
    found = compare_records(state, registry.resolve(before), registry.resolve(after))
    return Answer(data=found.model_dump(mode="json"), show=lambda: [record_diff_view(found)], yes=found.same)


def seen_at(state: State, text: str | None) -> Horizon | None:
    """The horizon of an ``--at``."""
    from pe_training.lineage.horizon import horizon

    return horizon(state, text) if text is not None else None


VERBS: Verbs = {"trace": trace, "impact": impact, "diff": diff}
