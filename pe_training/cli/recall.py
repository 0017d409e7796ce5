"""`pe recall` and `pe recalls`: data that must not be used any more, and everything that was made from it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pe_training.cli.output import Answer, AsJson, DryRun, Verbs, answers, note
from pe_training.cli.state import open_state
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pe_training.datasets.gate import Attempt
    from pe_training.storage.state import State
    from pe_training.storage.taints import Recall


@answers
def recall(
    reason: Annotated[str, typer.Option(help="Why; kept, and shown with every refusal.")],
    selector: Annotated[
        str | None,
        typer.Argument(
            metavar="SELECTOR",
            help="ds_..., NAME@VERSION, sha256:... (a row or content digest), source_key:..., family:... or licence:...",
        ),
    ] = None,
    seq: Annotated[int | None, typer.Option("--lift", metavar="N", help="End recall N instead.")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Answer:
    """Taint data and all that was made from it, and say what may take its place; or end a recall that was wrong."""
    if (selector is None) == (seq is None):
        raise PeError(Kind.INPUT, "give either a SELECTOR or --lift N", hint="`pe recall --help` shows the forms")
    state = open_state()
    if seq is not None:
        return _lifted(seq, reason=reason, dry_run=dry_run, state=state)
    assert selector is not None
    return _recalled(selector, reason=reason, dry_run=dry_run, state=state)


def _recalled(text: str, *, reason: str, dry_run: bool, state: State) -> Answer:
    from pe_training.datasets.recall import parse_selector
    from pe_training.lineage import recall as room
    from pe_training.views.recalls import recall_view

    act = room.impact if dry_run else room.recall
    outcome = act(state, parse_selector(text, state=state), reason=reason, actor=state.settings.who)
    if not dry_run:
        _republish(outcome.tainted.get("ds", ()), state=state)
    return Answer(data=asdict(outcome) | {"applied": not dry_run}, show=lambda: [recall_view(outcome)])


def _lifted(seq: int, *, reason: str, dry_run: bool, state: State) -> Answer:
    from pe_training.lineage import recall as room
    from pe_training.views.recalls import lift_view

    act = room.lift_impact if dry_run else room.lift
    outcome = act(state, seq, reason=reason, actor=state.settings.who)
    if not dry_run:
        _republish(outcome.restored.get("ds", ()), state=state)
    return Answer(data=asdict(outcome) | {"applied": not dry_run}, show=lambda: [lift_view(outcome, applied=not dry_run)])


@answers
def recalls(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Rows a page.")] = 50,
    before: Annotated[int | None, typer.Option(help="The `seq` of the last row you saw: the page below it.")] = None,
    refused: Annotated[bool, typer.Option("--attempts", help="List who was refused data, by which way and why, instead.")] = False,
    as_json: AsJson = False,
) -> Answer:
    """List recalls, newest first, with those that were lifted; or the attempts that were refused."""
    from pe_training.datasets.gate import attempts
    from pe_training.lineage.recall import recalls as found
    from pe_training.views.recalls import attempts_table, recalls_table

    state = open_state()
    if refused:
        tried = attempts(state, before=before, limit=limit)
        return Answer(data={"attempts": [asdict(row) for row in tried], **_next(tried, limit)}, show=lambda: [attempts_table(tried)])
    rows = found(state, before=before, limit=limit)
    return Answer(data={"recalls": [asdict(row) for row in rows], **_next(rows, limit)}, show=lambda: [recalls_table(rows)])


def _republish(dataset_ids: Sequence[str], *, state: State) -> None:
    """Lay the pages of these versions again. A page that cannot be made changes nothing of the recall, which holds."""
    from pe_training.datasets.accept import origins
    from pe_training.views.publish import publish_release

    for identifier in dataset_ids:
        try:
            if release := origins(state, identifier).get("release"):
                publish_release(release, state=state)
        except PeError as error:
            note(f"the page of {short(identifier)} could not be laid again: {error}")


def _next(rows: Sequence[Recall] | Sequence[Attempt], limit: int) -> dict[str, int | None]:
    return {"next_before": rows[-1].seq if len(rows) == limit else None}


VERBS: Verbs = {"recall": recall, "recalls": recalls}
