"""Two dataset versions side by side for the terminal: what moved between splits loudest, then rows, licences, labels and lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from pe_training.datasets.diff import Cell, DatasetDiff, Move, Shift
from pe_training.views import numbers
from pe_training.views.layout import BLANK, MARKS, STYLES, facts, plain, table, under

KINDS = ("same", "added", "removed", "changed", "reworded")
MAX_SHIFTS = 12


def diff_view(found: DatasetDiff) -> RenderableType:
    """The comparison, with its answer last, where the eye is when a command ends."""
    parts = () if found.same else _parts(found)
    return Group(facts({"before": found.before, "after": found.after}), BLANK, *parts, plain(summary(found), "bold"))


def summary(found: DatasetDiff) -> str:
    """The difference in one line."""
    if found.same:
        return f"the same {numbers.count(found.total('same'), 'row')} in the same splits"
    said = ", ".join(f"{found.total(kind):,} {kind}" for kind in KINDS[1:])
    moved = sum(move.rows for move in found.moved)
    return f"they differ: {said}, {found.total('same'):,} the same; {moved:,} moved to another split"


def _parts(found: DatasetDiff) -> Iterator[RenderableType]:
    yield under("rows by split and family, where they differ", _cells(found.cells))
    if found.relicensed:
        yield under(
            "licences of rows that are in both", *(plain(f"{m.rows:,} were {m.before} and are {m.after}") for m in found.relicensed)
        )
    if found.labels:
        left = len(found.labels) - MAX_SHIFTS
        more = [plain(f"and {left:,} smaller shifts; --json has all", "dim")] if left > 0 else []
        yield under("labels (percent of the rows that have the label)", _shifts(found.labels[:MAX_SHIFTS]), *more)
    yield under("lengths", _shifts(found.lengths))
    if found.moved:
        title = Text(f"{MARKS['fail']} ROWS MOVED BETWEEN SPLITS", style=f"bold {STYLES['fail']}")
        yield Panel(
            Group(*map(plain, map(_leak, found.moved))), title=title, title_align="left", border_style=STYLES["fail"], padding=(0, 1)
        )


def _leak(move: Move) -> str:
    went = f"{numbers.count(move.rows, 'row')} went from {move.before} to {move.after}"
    if move.before == "train":
        return f"{went}: a model trained on the version before has seen them, so {move.after} of this version flatters it."
    if move.after == "train":
        return f"{went}: a model trained on this version must not be measured on {move.before} of the version before."
    return f"{went}."


def _cells(cells: Sequence[Cell]) -> RenderableType:
    made = table("split", "family", *(f">{kind}" for kind in KINDS))
    for cell in (cell for cell in cells if cell.added or cell.removed or cell.changed or cell.reworded):
        made.add_row(plain(cell.split), plain(cell.family), *(f"{getattr(cell, kind):,}" for kind in KINDS))
    return made


def _shifts(shifts: Iterable[Shift]) -> RenderableType:
    made = table("what", ">before", ">after")
    for shift in shifts:
        made.add_row(plain(shift.name), *("-" if number is None else f"{number:,.1f}" for number in (shift.before, shift.after)))
    return made
