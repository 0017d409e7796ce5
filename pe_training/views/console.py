"""Records as rich renderables for the terminal. Meaning never rests on colour alone; text from data is made plain first."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text
from rich.tree import Tree as RichTree

from pe_training.core.ids import KINDS, short
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.report import ValidationReport
from pe_training.evaluation.record import EvaluationReport
from pe_training.lineage.trace import Tree
from pe_training.promotion.record import Outcome, PromotionDecision
from pe_training.promotion.verdict import headline
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
        facts_table({"cost": numbers.usd(cost_usd), "evidence page": page}),
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
    return Group(facts_table({"dataset version": dataset.id, "name": dataset.name, "licences": licences}), Text(""), table)


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


def _node(tree: Tree) -> Text:
    return plain(f"{KINDS.get(tree.kind, tree.kind)}  {short(tree.id)}  {tree.label}")


def _word(outcome: Outcome) -> str:
    word = outcome.verdict.replace("_", " ")
    return f"{word} (warns)" if outcome.severity == "warn" and outcome.verdict in ("fail", "inconclusive") else word


def facts_table(facts: Mapping[str, object]) -> Table:
    """Names and values, one line each."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in facts.items():
        table.add_row(name, plain(text))
    return table
