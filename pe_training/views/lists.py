"""Lists and single facts for the terminal: records, charges, stages, plans, checks of this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pe_training.core.ids import short
from pe_training.costs.ledger import Charge
from pe_training.lineage.verify import Verification
from pe_training.manifests.plan import Plan, Range
from pe_training.storage.registry import Row
from pe_training.views import numbers
from pe_training.views.console import facts_table, plain

_FITS = {True: "fits the budget", False: "may exceed the budget: training would save and stop", None: "budget cannot be checked"}


def records_table(rows: Sequence[Row]) -> RenderableType:
    """Records as a list."""
    if not rows:
        return Text("none yet")
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("id", "name", "made", "seq"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(row.id, plain(row.label), row.created_at, str(row.seq))
    return table


def record_view(data: Mapping[str, Any]) -> RenderableType:
    """One record: facts, parents, files."""
    from rich.pretty import Pretty

    parents = {f"from {role}": identifier for role, identifier in data["parents"].items()}
    files = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("file", "size", "digest"):
        files.add_column(name)
    for file in data["files"]:
        files.add_row(plain(file["path"]), numbers.bytes_(file["size_bytes"]), file["digest"])
    return Group(
        facts_table({"id": data["id"], **parents}), Text(""), Pretty(data["content"], max_string=120, max_length=40), Text(""), files
    )


def verification_view(result: Verification) -> RenderableType:
    """What was compared, and every damage by name."""
    lines: list[RenderableType] = [Text(f"\N{BALLOT X} {found}", style="red") for found in map(str, result.findings)]
    counts = f"{result.compared:,} comparisons over {result.records:,} records"
    if not result.compared:
        return Text("nothing to verify: the registry is empty", style="yellow")
    verdict = (
        Text(f"\N{CHECK MARK} everything holds: {counts}", "green")
        if result.ok
        else Text(f"{len(result.findings)} found in {counts}", "bold red")
    )
    return Group(*lines, verdict)


def cost_table(rows: Sequence[Charge]) -> RenderableType:
    """Charges and their sum."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("at", "for", "step", "instance", "time", "cost"):
        table.add_column(name, justify="right" if name in ("time", "cost") else "left", no_wrap=True)
    for row in rows:
        table.add_row(
            row.at, short(row.subject), row.step, plain(row.instance), numbers.duration(row.duration_ms / 1000), numbers.usd(row.cost_usd)
        )
    table.add_row("", "", "", "", "sum", numbers.usd(sum((row.cost_usd for row in rows), Decimal(0))), style="bold")
    return table


def stages_view(pointers: Sequence[Mapping[str, Any]], moves: Sequence[Mapping[str, Any]]) -> RenderableType:
    """What holds which stage, and how it came to."""
    if not pointers:
        return Text("no model line holds a stage yet: `pe run MANIFEST`")
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("line", "stage", "checkpoint", "by decision"):
        table.add_column(name, no_wrap=True)
    for p in pointers:
        table.add_row(plain(p["line"]), p["stage"], short(p["checkpoint_id"]), short(p["decision_id"]) if p["decision_id"] else "-")
    return Group(table, *([Text(""), *(_move(m) for m in moves)] if moves else []))


def move_view(move: Mapping[str, Any]) -> RenderableType:
    """A stage move that was made, or would be."""
    tense = "moved" if move["applied"] else "would move"
    source = f" from {short(move['from_id'])}" if move["from_id"] else ""
    why = f"{move['action']} by {move['actor']}: {move['reason']}"
    return plain(f"{tense} {move['stage']} of {move['line']}{source} to {short(move['to_id'])} ({why})")


def plan_view(plan: Plan) -> RenderableType:
    """Work, time, money, gates and what changed."""
    rows = ", ".join(f"{name} {count:,}" for name, count in plan.rows.items())
    time = "unknown: the model's size is not known" if plan.duration_s is None else _span(plan.duration_s, numbers.duration)
    cost = "unknown" if plan.cost_usd is None else _span(plan.cost_usd, numbers.usd)
    budget = f"{plan.max_cost_usd:.2f} USD ({numbers.usd(plan.spent_usd)} spent already)"
    suites = ", ".join(f"{name} ({'all' if most is None else f'at most {most}'})" for name, most in plan.suites.items())
    facts = {
        "manifest": f"{plan.name}  {plan.manifest_id}",
        "dataset": f"{plan.dataset_id}  ({rows})",
        "base model": f"{plan.base}  ({_size(plan.parameters_m)})",
        "training": f"{plan.steps:,} steps, {plan.tokens.low:,.0f} to {plan.tokens.high:,.0f} tokens",
        "time": time,
        "cost": f"{cost} of {budget}: {_FITS[plan.fits_budget]}",
        "evaluation": suites,
        "judged by": f"policy {plan.policy}",
    }
    changes = [plain(f"  {c.key}: {c.before} -> {c.after}") for c in plan.changes]
    before = short(plan.previous or "")
    since = f"changed since {before}:" if changes else f"no change since {before}"
    heading = [Text(""), Text(since)] if plan.previous else []
    return Group(facts_table(facts), *heading, *changes)


def _span(found: Range, shown: Callable[[float], str]) -> str:
    return f"{shown(found.low)} to {shown(found.high)}"


def _size(parameters_m: float | None) -> str:
    if parameters_m is None:
        return "size unknown here"
    return f"{parameters_m:,.0f} million parameters" if parameters_m >= 1 else "tiny"


def doctor_view(checks: Sequence[Mapping[str, Any]]) -> RenderableType:
    """One line a check, with what to do where it failed."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for check in checks:
        mark = Text("\N{CHECK MARK}", "green") if check["ok"] else Text("\N{BALLOT X} no", "red")
        table.add_row(mark, check["what"], plain(check["found"] if check["ok"] else f"{check['found']} - {check['hint']}"))
    return table


def _move(move: Mapping[str, Any]) -> Text:
    source = short(move["from_id"]) if move["from_id"] else "nothing"
    return plain(
        f"{move['at']}  {move['stage']}: {source} -> {short(move['to_id'])}  {move['action']} by {move['actor']}: {move['reason']}"
    )
