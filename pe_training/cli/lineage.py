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

FORMATS = ("tree", "json", "mermaid")
At = Annotated[str | None, typer.Option("--at", metavar="TIME", help="As the registry was: a time (UTC), a day, or a record's `seq`.")]


@answers
def trace(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="An id or its beginning, e.g. ck_3fa9c2.")],
    down: Annotated[bool, typer.Option("--down/--up", help="What was made from it, or what it was made from.")] = False,
    how: Annotated[str, typer.Option("--format", metavar="FORMAT", help="tree, json or mermaid")] = "tree",
    at: At = None,
    page: Annotated[Path | None, typer.Option(metavar="FILE", help="Write both directions as one HTML page with a graph instead.")] = None,
    as_json: AsJson = False,
) -> Answer:
    """Walk the lineage of a record."""
    import json

    from pe_training.core.config import suggest
    from pe_training.lineage.trace import trace_down, trace_up
    from pe_training.views.console import lineage_tree
    from pe_training.views.mermaid import mermaid

    if how not in FORMATS:
        raise PeError(Kind.INPUT, f"unknown format {how!r}", where="--format", hint=suggest(how, FORMATS))
    state = open_state()
    whole, seen = state.registry.resolve(identifier), seen_at(state, at)
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


PAGE_CHILDREN = 12  # of one record that a page draws; the others are counted


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
