"""What is served, for the terminal: a resolved place, an export, a drill, and what held every stage at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from pe_training.core.ids import short
from pe_training.promotion.pointers import PastMove
from pe_training.promotion.rollback import Drill
from pe_training.promotion.serving import Served
from pe_training.views import numbers
from pe_training.views.layout import BLANK, MARKS, STYLES, facts, plain, table


def served_view(served: Served, *, file: str) -> RenderableType:
    """What a consumer loads, and the file that says the same."""
    files = table("file", ">size", "digest")
    for one in served.checkpoint.files():
        files.add_row(plain(one.path), numbers.bytes_(one.size_bytes), plain(one.digest))
    named = {
        "holds": f"{served.place} of {served.line}, version {served.version}", "checkpoint": served.checkpoint.id,
        "decision": served.decision_id or "-", "weights": served.checkpoint.weights, "base model": served.checkpoint.base.ref, "file": file,
    }  # fmt: skip
    return Group(facts(named), BLANK, files)


def export_view(data: Mapping[str, Any]) -> RenderableType:
    """Where an export lies, or would."""
    tense = "wrote" if data["applied"] else "would write"
    return plain(f"{tense} {short(data['checkpoint'])} ({data['form'].replace('_', ' ')}) to {data['folder']}: {', '.join(data['files'])}")


def drill_view(drill: Drill) -> RenderableType:
    """How long each step of a rollback took, or why it would be refused."""
    steps = table("step", ">time")
    for step in drill.steps:
        steps.add_row(plain(step.name), f"{1000 * step.duration_s:,.0f} ms")
    steps.add_row("all", f"{1000 * drill.duration_s:,.0f} ms", style="bold")
    if drill.problem is not None:
        return Group(plain(f"{MARKS['fail']} {drill.stage} of {drill.line} has no way back: {drill.problem}", STYLES["fail"]), steps)
    way = f"from {short(drill.from_id or '-')} to {short(drill.to_id or '-')}"
    return Group(plain(f"{MARKS['pass']} {drill.stage} of {drill.line} would go {way}; nothing was moved", STYLES["pass"]), steps)


def stages_at_view(moves: Sequence[PastMove], *, at: str, following: str | None) -> RenderableType:
    """What held each place at a time, and by which move."""
    if not moves:
        return Text(f"no model line held a stage at {at}")
    made = table("line", "stage", "checkpoint", "since (UTC)", "by")
    for move in moves:
        holder = f"nothing: {short(move.to_id)} was withdrawn" if move.action == "withdraw" else short(move.to_id)
        made.add_row(*map(plain, (move.line, move.stage, holder, move.at[:16].replace("T", " "), f"{move.action} by {move.actor}")))
    more = (plain(f"more lines: --after {following}", "dim"),) if following else ()
    return Group(made, *more)
