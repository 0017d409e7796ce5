"""What contains something, for the terminal: who holds which stage first, because that is what must be acted on."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from pe_training.core.ids import KINDS, short
from pe_training.lineage.impact import Impact
from pe_training.views import numbers
from pe_training.views.layout import BLANK, plain, table, taint, under


def impact_view(found: Impact, *, at: str | None = None) -> RenderableType:
    """The answer. ``at``: the moment it is about, where that is not now."""
    when = f" (as it was at {at})" if at else ""
    counted = ", ".join(numbers.count(count, KINDS[kind]) for kind, count in found.counts.items())
    first = plain(f"{found.what}: in {counted}{when}", "bold")
    return Group(first, BLANK, under("stages that hold a model which contains it", _stages(found)), under("models", *_models(found)))


def _stages(found: Impact) -> RenderableType:
    if not found.stages:
        return Text("none")
    made = table("line", "stage", "checkpoint", "by decision")
    for held in found.stages:
        decision = short(held.decision_id) if held.decision_id else "-"
        made.add_row(*map(plain, (held.line, held.stage, short(held.checkpoint_id), decision)))
    return made


def _models(found: Impact) -> list[RenderableType]:
    if not found.models:
        return [Text("none")]
    made = table("checkpoint", "line", "holds", ">seq")
    for model in found.models:
        named = plain(model.id).append_text(taint(model.recalls))
        made.add_row(named, plain(model.line), plain(", ".join(model.stages) or "-"), str(model.seq))
    more = [plain(f"there are more: --before {found.next_before} shows the next page", "dim")] if found.next_before else []
    return [made, *more]
