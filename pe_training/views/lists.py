"""Lists and single facts for the terminal: records, charges, stages, plans, checks of this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from rich.console import Group, RenderableType
from rich.pretty import Pretty
from rich.table import Table
from rich.text import Text

from pe_training.core.ids import short
from pe_training.costs.ledger import Charge
from pe_training.lineage.check import Verification
from pe_training.lineage.substitutes import TaintedStage
from pe_training.manifests.plan import Change, Plan
from pe_training.storage.registry import Row
from pe_training.views import numbers, words
from pe_training.views.layout import BLANK, MARKS, STYLES, facts, mark, plain, table, taint
from pe_training.views.recalls import ways_view

SHOWN_CHANGES = 12


def records_table(
    rows: Sequence[Row], tainted: Mapping[str, Sequence[int]], waits: Mapping[str, str] = MappingProxyType({})
) -> RenderableType:
    """Records as a list. ``tainted``: id -> the recalls that taint it. ``waits``: id -> what it waits for."""
    if not rows:
        return Text("none yet")
    made = table("id", "name", "made (UTC)", ">seq")
    for row in rows:
        label = plain(row.label).append_text(taint(tainted.get(row.id, ())))
        if row.id in waits:
            label.append_text(plain(f"  {MARKS['inconclusive']} {waits[row.id]}", STYLES["inconclusive"]))
        made.add_row(plain(row.id), label, _moment(row.created_at), str(row.seq))
    return made


def record_view(data: Mapping[str, Any]) -> RenderableType:
    """One record: facts, parents, content, files. ``data``: id, content, parents by role, files."""
    parents = {f"from {role}": identifier for role, identifier in data["parents"].items()}
    files = table("file", ">size", "digest")
    for file in data["files"]:
        files.add_row(plain(file["path"]), numbers.bytes_(file["size_bytes"]), plain(file["digest"]))
    content = Pretty(data["content"], max_string=120, max_length=40)
    return Group(facts({"id": data["id"], **parents}), BLANK, content, *((BLANK, files) if data["files"] else ()))


def verification_view(result: Verification) -> RenderableType:
    """What was compared, and every damage by name."""
    if not result.compared:
        return Text("nothing to verify: the registry is empty", style="yellow")
    counts = f"{numbers.count(result.compared, 'comparison')} over {numbers.count(result.records, result.unit)}"
    if result.ok:
        return Text(f"{MARKS['pass']} everything holds: {counts}", STYLES["pass"])
    damage = [plain(f"{MARKS['fail']} {finding}", STYLES["fail"]) for finding in result.findings]
    return Group(*damage, Text(f"{numbers.count(len(damage), 'problem')} found in {counts}", f"bold {STYLES['fail']}"))


def cost_table(rows: Sequence[Charge]) -> RenderableType:
    """Charges and their sum."""
    made = table("at (UTC)", "for", "step", "instance", ">time", ">cost")
    for row in rows:
        named = [plain(text) for text in (short(row.subject), row.step, row.instance)]
        made.add_row(_moment(row.at), *named, numbers.duration(row.duration_ms / 1000), numbers.usd(row.cost_usd))
    made.add_row("", "", "", "", "sum", numbers.usd(sum((row.cost_usd for row in rows), Decimal(0))), style="bold")
    return made


def stages_view(
    pointers: Sequence[Mapping[str, Any]], moves: Sequence[Mapping[str, Any]], ways: Sequence[TaintedStage] = ()
) -> RenderableType:
    """What holds which stage, how it came to, and the way out where that is tainted."""
    if not pointers:
        return Text("no model line holds a stage yet: `pe run MANIFEST`")
    made = table("line", "stage", "checkpoint", "by decision")
    for p in pointers:
        decision = short(p["decision_id"]) if p["decision_id"] else "-"
        holder = plain(short(p["checkpoint_id"])).append_text(taint(p.get("recalls", ())))
        if p.get("withdrawn") is not None:
            holder = plain(f"nothing: {short(p['checkpoint_id'])} was withdrawn ({p['withdrawn']})", STYLES["fail"])
        made.add_row(plain(p["line"]), plain(p["stage"]), holder, plain(decision))
    return Group(made, *((BLANK, *map(_move, moves)) if moves else ()), *(ways_view(ways) if ways else ()))


def move_view(move: Mapping[str, Any]) -> RenderableType:
    """A stage move that was made, or would be."""
    tense = "moved" if move["applied"] else "would move"
    source = f" from {short(move['from_id'])}" if move["from_id"] else ""
    why = f"{move['action']} by {move['actor']}: {move['reason']}"
    if move["action"] == "withdraw":
        tense = "withdrew" if move["applied"] else "would withdraw"
        return plain(f"{tense} {short(move['to_id'])} from {move['stage']} of {move['line']} (by {move['actor']}: {move['reason']})")
    return plain(f"{tense} {move['stage']} of {move['line']}{source} to {short(move['to_id'])} ({why})")


def plan_view(plan: Plan) -> RenderableType:
    """Work, time, money, gates and what changed."""
    rows = ", ".join(f"{name} {count:,}" for name, count in plan.rows.items())
    suites = ", ".join(f"{name} ({'all' if most is None else f'at most {most:,}'})" for name, most in plan.suites.items())
    budget = f"{numbers.usd(plan.max_cost_usd)} ({numbers.usd(plan.spent_usd)} spent already)"
    made = facts({
        "manifest": f"{plan.name}  {plan.manifest_id}", "dataset": f"{plan.dataset_id}  ({rows})",
        "base model": f"{plan.base}  ({words.plan_size(plan)})",
        "training": f"{plan.steps:,} steps, {plan.tokens.low:,.0f} to {plan.tokens.high:,.0f} tokens", "time": words.plan_time(plan),
        "cost": f"{words.plan_cost(plan)} of {budget}: {words.plan_fits(plan)}", "evaluation": suites, "judged by": f"policy {plan.policy}",
    })  # fmt: skip
    surroundings = changed(plan.environment, "warning: the environment is not that of the line's last run:")
    if not plan.previous:
        return Group(made, *surroundings)
    heading = f"changed since {short(plan.previous)}:" if plan.changes else f"no change since {short(plan.previous)}"
    return Group(made, BLANK, plain(heading), *map(_change, plan.changes), *surroundings)


def changed(changes: Sequence[Change], heading: str) -> list[Text]:
    """What is different around a run, under a heading that warns; nothing where nothing is."""
    if not changes:
        return []
    left = len(changes) - SHOWN_CHANGES
    more = [plain(f"  and {left:,} more (--json lists them)")] if left > 0 else []
    return [BLANK, plain(heading, STYLES["inconclusive"]), *map(_change, changes[:SHOWN_CHANGES]), *more]


def _change(change: Change) -> Text:
    return plain(f"  {change.key}: {change.before} -> {change.after}")


def doctor_view(checks: Sequence[Mapping[str, Any]]) -> RenderableType:
    """One line a check, with what to do where it failed."""
    made = Table.grid(padding=(0, 2, 0, 0))
    for check in checks:
        found = check["found"] if check["ok"] else f"{check['found']} - {check['hint']}"
        made.add_row(mark(holds=check["ok"]), plain(check["what"]), plain(found))
    return made


def _move(move: Mapping[str, Any]) -> Text:
    source = short(move["from_id"]) if move["from_id"] else "nothing"
    return plain(
        f"{move['at']}  {move['stage']}: {source} -> {short(move['to_id'])}  {move['action']} by {move['actor']}: {move['reason']}"
    )


def _moment(stamp: str) -> Text:
    """An RFC 3339 time to the minute."""
    return plain(stamp[:16].replace("T", " "))
