"""Recalls for the terminal: what became tainted, which stages to give back and how, and the list of recalls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from pe_training.core.ids import KINDS, is_id, short
from pe_training.datasets.gate import Attempt
from pe_training.lineage.recall import LiftOutcome, RecallOutcome
from pe_training.lineage.substitutes import TaintedStage
from pe_training.storage.taints import Recall
from pe_training.views import numbers
from pe_training.views.layout import BLANK, MARKS, STYLES, plain, table

SHOWN_PER_KIND = 10


def recall_view(outcome: RecallOutcome) -> RenderableType:
    """What a recall tainted, or would, and the way out of every stage."""
    head = f"recall {outcome.seq}" if outcome.seq is not None else "nothing is written: this would recall"
    first = plain(f"{head}: {outcome.kind.replace('_', ' ')} {_value(outcome.value)} ({outcome.reason})", "bold")
    tense = "tainted" if outcome.seq is not None else "would taint"
    taints = plain(f"{tense} {numbers.count(outcome.records, 'record')}: the data and all that was made from it")
    undo = plain(f"if it was wrong: `pe recall --lift {outcome.seq} --reason WHY`", "dim")
    ways = ways_view(outcome.stages) if outcome.stages else (BLANK, Text("no stage holds a model that it taints"))
    return Group(first, taints, BLANK, _records(outcome.tainted), *ways, *((BLANK, undo) if outcome.seq is not None else ()))


def ways_view(stages: Sequence[TaintedStage]) -> tuple[RenderableType, ...]:
    """Stages that hold a tainted model, the newest untainted one for each, and the command that puts it there."""
    lines: list[RenderableType] = [BLANK, Text("stages that hold a tainted model, in the order in which to give them back:", style="bold")]
    for stage in stages:
        holds = f"{stage.stage} of {stage.line} holds {short(stage.checkpoint_id)}"
        if stage.replacement is None:
            lines.append(plain(f"{holds}; no untainted model has passed for it: train one on other data"))
        else:
            lines.append(plain(f"{holds}; the newest untainted model for it is {short(stage.replacement)}:"))
            lines.append(plain(f"  {stage.command}"))
    return tuple(lines)


def lift_view(outcome: LiftOutcome, *, applied: bool) -> RenderableType:
    """What a lifted recall set free, or would, and what stays tainted."""
    free, kept = (sum(map(len, found.values())) for found in (outcome.restored, outcome.still_tainted))
    tense = "lifted" if applied else "would lift"
    first = plain(f"{tense} recall {outcome.seq} ({outcome.reason}): {numbers.count(free, 'record')} usable again", "bold")
    left = (plain(f"{numbers.count(kept, 'record')} still tainted by other recalls"), _records(outcome.still_tainted)) if kept else ()
    return Group(first, BLANK, _records(outcome.restored), *left)


def recalls_table(rows: Sequence[Recall]) -> RenderableType:
    """All recalls as a list."""
    if not rows:
        return Text("nothing is recalled")
    made = table(">seq", "at (UTC)", "what", "why", "by", "lifted")
    for row in rows:
        what = f"{row.kind.replace('_', ' ')} {_value(row.value)}"
        lifted = f"{row.lifted_at} by {row.lifted_by}: {row.lift_reason}" if row.lifted_at else "no, it holds"
        made.add_row(str(row.seq), *map(plain, (row.at[:16].replace("T", " "), what, row.reason, row.actor, lifted)))
    return made


def attempts_table(rows: Sequence[Attempt]) -> RenderableType:
    """Who was refused what."""
    if not rows:
        return Text("nobody was refused")
    made = table(">seq", "at (UTC)", "by", "route", "wanted", "why not")
    for row in rows:
        told = (row.at[:16].replace("T", " "), row.actor, row.route, short(row.subject) if is_id(row.subject) else row.subject, row.message)
        made.add_row(str(row.seq), *map(plain, told))
    return made


def banner(recalls: Sequence[Recall]) -> tuple[RenderableType, ...]:
    """What stands above a tainted record; nothing above another."""
    return tuple(plain(f"{MARKS['fail']} TAINTED by {recall}", f"bold {STYLES['fail']}") for recall in recalls)


def _records(found: Mapping[str, Sequence[str]]) -> RenderableType:
    made = table("kind", "id")
    for kind, identifiers in found.items():
        for identifier in identifiers[:SHOWN_PER_KIND]:
            made.add_row(KINDS[kind], plain(identifier))
        left = len(identifiers) - SHOWN_PER_KIND
        if left > 0:
            made.add_row(KINDS[kind], plain(f"and {left:,} more (--json lists all)", "dim"))
    return made


def _value(value: str) -> str:
    return short(value) if value.startswith(("ds_", "sha256:")) else value
