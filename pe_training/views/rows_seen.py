"""Rows at the end of a trace, for the terminal: what a checkpoint saw, shard by shard, and where one row lies and went."""

from __future__ import annotations

from rich.console import Group, RenderableType

from pe_training.core.ids import short
from pe_training.lineage.impact import Impact
from pe_training.lineage.rows import RowPlace, Seen
from pe_training.views import numbers
from pe_training.views.impact import impact_view
from pe_training.views.layout import BLANK, STYLES, facts, plain, table


def seen_view(seen: Seen) -> RenderableType:
    """Counts, and what they do not tell."""
    made = table("shard", ">rows", ">seen", ">times", "digest")
    for shard in seen.shards:
        made.add_row(plain(shard.path), f"{shard.rows:,}", f"{shard.seen:,}", f"{shard.times:,}", plain(short(shard.digest)))
    total = sum(shard.times for shard in seen.shards)
    said = f"{short(seen.checkpoint_id)} saw {numbers.count(len(seen.rows), 'row')} {total:,} times in {numbers.count(seen.steps, 'step')}"
    notes = [f"{numbers.count(seen.left_out, 'row')} of the training split could not be learnt from and were left out"] * bool(
        seen.left_out
    )
    notes += (
        [f"its weights started from {seen.parent}, which saw rows of its own: pe trace {short(seen.parent)} --rows"] if seen.parent else []
    )
    code = "the run was trained with other code than today's, which may take rows in another order: the counts are today's"
    warnings = [] if seen.same_code else [plain(code, STYLES["inconclusive"])]
    return Group(facts({"checkpoint": seen.checkpoint_id, "dataset version": seen.dataset_id}), BLANK, made, BLANK,
                 *(plain(note, "dim") for note in notes), *warnings, plain(said, "bold"))  # fmt: skip


def row_view(place: RowPlace, found: Impact, *, times: int | None) -> RenderableType:
    """One row. ``times``: how often a checkpoint saw it, where one was asked about."""
    told = {name.replace("_", " "): value for name, value in place.told.items()}
    lies = {"row": place.row_digest, "dataset version": place.dataset_id, "lies in": f"{place.shard}, row {place.number:,}", **told}
    seen = {} if times is None else {"seen": "never" if times == 0 else "once" if times == 1 else f"{times:,} times"}
    return Group(facts(lies | seen), BLANK, impact_view(found))
