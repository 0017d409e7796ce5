"""Records as rich renderables for the terminal. Meaning never rests on colour alone; text from data is made plain first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text
from rich.tree import Tree as RichTree

from pe_training.core.ids import KINDS, short
from pe_training.costs.ledger import Charge
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.report import ValidationReport
from pe_training.evaluation.record import EvaluationReport
from pe_training.lineage.trace import Tree
from pe_training.lineage.verify import Verification
from pe_training.promotion.record import Outcome, PromotionDecision
from pe_training.promotion.verdict import headline
from pe_training.storage.registry import Row
from pe_training.views import numbers
from pe_training.views.markdown import HEADLINE

_STYLE = {"pass": "green", "fail": "red", "inconclusive": "yellow", "not_applicable": "dim"}
_MARK = {"pass": "\N{CHECK MARK}", "fail": "\N{BALLOT X}", "inconclusive": "?", "not_applicable": "-"}


def plain(text: object, style: str = "") -> Text:
    """Text from data: control characters shown as a replacement mark, markup not interpreted."""
    shown = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    return Text(shown, style=style)


def run_view(
    decision: PromotionDecision, report: EvaluationReport, tree: Tree, *, cost_usd: Decimal, page: Path, reused: bool, manifest_path: Path
) -> list[RenderableType]:
    """The answer of ``pe run``, most important first and last."""
    first: list[RenderableType] = (
        [plain("Nothing changed: everything below exists already and nothing was done again.", "bold")] if reused else []
    )
    return [
        *first,
        comparison_table(report),
        lineage_tree(tree),
        rules_table(decision),
        verdict_panel(decision),
        _facts({"cost": numbers.usd(cost_usd), "evidence page": page}),
        Text(""),
        Text("Next:", style="bold"),
        *_next(decision, manifest_path),
    ]


def decision_view(decision: PromotionDecision) -> RenderableType:
    """A decision: every reason, then the verdict."""
    return Group(rules_table(decision), verdict_panel(decision))


def verdict_panel(decision: PromotionDecision) -> Panel:
    """Verdict in words, what it means, and what it was about."""
    body = Group(
        plain(headline(decision)),
        plain(f"model line {decision.line}, checkpoint {short(decision.checkpoint_id)}, decision {short(decision.id)}", "dim"),
    )
    title = f"{_MARK[decision.verdict]} {numbers.VERDICT_WORDS[decision.verdict]} - {decision.stage}"
    return Panel(body, title=title, title_align="left", border_style=_STYLE[decision.verdict], padding=(0, 1))


def rules_table(decision: PromotionDecision) -> RenderableType:
    """Every rule of the policy with its reason, worst first."""
    order = ("fail", "inconclusive", "pass", "not_applicable")
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for outcome in sorted(decision.outcomes, key=lambda o: order.index(o.verdict)):
        table.add_row(Text(f"{_MARK[outcome.verdict]} {_word(outcome)}", style=_STYLE[outcome.verdict]), plain(outcome.reason))
    return Group(Rule(f"what policy {decision.policy_name} asks", align="left", style="dim"), Padding(table, (0, 0, 1, 1)))


def comparison_table(report: EvaluationReport) -> RenderableType:
    """Headline measures, tuned against base on the same examples."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name, justify in (("measure", "left"), ("tuned", "right"), ("base", "right"), ("difference", "right"), ("n", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for m in report.metrics:
        if m.slice == "all" and m.name in HEADLINE and m.suite != "judge":
            found = numbers.estimate(m.tuned, m.unit) if m.tuned else "insufficient"
            n = str(m.tuned.n) if m.tuned else "-"
            table.add_row(
                plain(f"{m.suite}: {m.name.replace('_', ' ')}"),
                found,
                numbers.estimate(m.base, m.unit),
                numbers.difference(m.difference, m.unit),
                n,
            )
    asked = ", ".join(f"{name} {use.used} of {use.available}" for name, use in report.suites.items())
    head = Rule("what the model showed (95 % intervals)", align="left", style="dim")
    return Group(head, Padding(table, (0, 0, 0, 1)), Padding(plain(f"examples used: {asked}", "dim"), (0, 0, 1, 1)))


def lineage_tree(tree: Tree) -> RenderableType:
    """A lineage tree with short ids; what was shown already is named but not unfolded again."""
    shown: set[str] = set()

    def grow(node: Tree, branch: RichTree) -> RichTree:
        for child in node.children:
            again = child.id in shown and bool(child.children)
            twig = branch.add(_node(child).append("  (as above)", "dim") if again else _node(child))
            if not again:
                shown.add(child.id)
                grow(child, twig)
        return branch

    return Group(
        Rule("where it comes from", align="left", style="dim"), Padding(grow(tree, RichTree(_node(tree), guide_style="dim")), (0, 0, 1, 1))
    )


def validation_table(report: ValidationReport) -> RenderableType:
    """Every check of a release; where it failed and how often, never the text."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("", "check", "found", "allowed", "where"):
        table.add_column(name, overflow="fold")
    for check in sorted(report.checks, key=lambda c: c.passed):
        mark = Text("\N{CHECK MARK}", "green") if check.passed else Text("\N{BALLOT X} no", "red")
        sign = "at most" if check.bound == "at_most" else "at least"
        where = ", ".join(check.where[:3]) + (f" and {len(check.where) - 3} more" if len(check.where) > 3 else "")
        table.add_row(mark, plain(check.name), f"{check.observed:g}", f"{sign} {check.threshold:g}", plain(where))
        for problem in () if check.passed else check.examples[:3]:
            table.add_row("", "", "", "", plain(f"{problem.field}: {problem.message}" if problem.field else problem.message, "dim"))
    return Group(table, Text(""), plain(report.summary, "bold"))


def acceptance_view(dataset: DatasetVersion, report: ValidationReport) -> RenderableType:
    """An accepted release and the version made from it."""
    return Group(validation_table(report), Text(""), dataset_view(dataset))


def dataset_view(dataset: DatasetVersion) -> RenderableType:
    """Rows by family and split."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("family")
    for split in dataset.splits:
        table.add_column(split, justify="right")
    for family, counts in sorted(dataset.families.items()):
        table.add_row(plain(family), *(f"{counts.get(split, 0):,}" for split in dataset.splits))
    table.add_row("all", *(f"{split.rows:,}" for split in dataset.splits.values()), style="bold")
    licences = ", ".join(f"{tag} {count:,}" for tag, count in sorted(dataset.licenses.items()))
    return Group(_facts({"dataset version": dataset.id, "name": dataset.name, "licences": licences}), Text(""), table)


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
    return Group(_facts({"id": data["id"], **parents}), Text(""), Pretty(data["content"], max_string=120, max_length=40), Text(""), files)


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


def plan_view(plan: Any) -> RenderableType:
    """Work, time, money, gates and what changed."""
    rows = ", ".join(f"{name} {count:,}" for name, count in plan.rows.items())
    size = (
        f"{plan.parameters_m:,.0f} million parameters"
        if plan.parameters_m and plan.parameters_m >= 1
        else "tiny"
        if plan.parameters_m
        else "size unknown here"
    )
    time = (
        "unknown: the model's size is not known"
        if plan.duration_s is None
        else f"{numbers.duration(plan.duration_s.low)} to {numbers.duration(plan.duration_s.high)}"
    )
    cost = "unknown" if plan.cost_usd is None else f"{numbers.usd(plan.cost_usd.low)} to {numbers.usd(plan.cost_usd.high)}"
    fits = {True: "fits the budget", False: "may exceed the budget: training would save and stop", None: "budget cannot be checked"}[
        plan.fits_budget
    ]
    suites = ", ".join(f"{name} ({'all' if most is None else f'at most {most}'})" for name, most in plan.suites.items())
    facts = {
        "manifest": f"{plan.name}  {plan.manifest_id}", "dataset": f"{plan.dataset_id}  ({rows})", "base model": f"{plan.base}  ({size})",
        "training": f"{plan.steps:,} steps, {plan.tokens.low:,.0f} to {plan.tokens.high:,.0f} tokens", "time": time,
        "cost": f"{cost} of {plan.max_cost_usd:.2f} USD: {fits}", "evaluation": suites, "judged by": f"policy {plan.policy}",
    }  # fmt: skip
    changes = [plain(f"  {c.key}: {c.before} -> {c.after}") for c in plan.changes]
    heading = (
        [Text(""), Text(f"changed since {short(plan.previous)}:" if changes else f"no change since {short(plan.previous)}")]
        if plan.previous
        else []
    )
    return Group(_facts(facts), *heading, *changes)


def doctor_view(checks: Sequence[Mapping[str, Any]]) -> RenderableType:
    """One line a check, with what to do where it failed."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for check in checks:
        mark = Text("\N{CHECK MARK}", "green") if check["ok"] else Text("\N{BALLOT X} no", "red")
        table.add_row(mark, check["what"], plain(check["found"] if check["ok"] else f"{check['found']} - {check['hint']}"))
    return table


def _next(decision: PromotionDecision, manifest_path: Path) -> list[RenderableType]:
    checkpoint = short(decision.checkpoint_id)
    second = (
        f"pe promote {checkpoint} --to production"
        if decision.verdict == "pass" and decision.stage == "staging"
        else f"pe run {manifest_path} --full"
    )
    why = "ask for the next stage" if "promote" in second else "every example of every suite, no second training"
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(style="dim")
    table.add_row(f"  pe verify {short(decision.id)}", "prove that nothing behind this verdict changed")
    table.add_row(plain(f"  {second}"), why)
    return [table]


def _move(move: Mapping[str, Any]) -> Text:
    source = short(move["from_id"]) if move["from_id"] else "nothing"
    return plain(
        f"{move['at']}  {move['stage']}: {source} -> {short(move['to_id'])}  {move['action']} by {move['actor']}: {move['reason']}"
    )


def _node(tree: Tree) -> Text:
    return plain(f"{KINDS.get(tree.kind, tree.kind)}  {short(tree.id)}  {tree.label}")


def _word(outcome: Outcome) -> str:
    word = outcome.verdict.replace("_", " ")
    return f"{word} (warns)" if outcome.severity == "warn" and outcome.verdict in ("fail", "inconclusive") else word


def _facts(facts: Mapping[str, object]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in facts.items():
        table.add_row(name, plain(text))
    return table
