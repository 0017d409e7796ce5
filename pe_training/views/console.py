"""Records as rich renderables for the terminal. Meaning never rests on colour alone; text from data is made plain first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree as RichTree

from pe_training.core.ids import KINDS, short
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.report import Check, ValidationReport
from pe_training.evaluation.record import EvaluationReport, JudgeCalibration, Metric
from pe_training.lineage.trace import Tree
from pe_training.promotion.record import Outcome, PromotionDecision
from pe_training.views import numbers, words
from pe_training.views.layout import BLANK, MARKS, STYLES, ByWidth, facts, mark, plain, table, taint, under
from pe_training.views.markdown import HEADLINE

SHOWN_PROBLEMS = 3
WIDE_COLUMNS = 110


def run_view(
    decision: PromotionDecision, report: EvaluationReport, tree: Tree, *, cost_usd: Decimal, page: Path, reused: bool, manifest_path: Path
) -> list[RenderableType]:
    """The answer of ``pe run``, most important last, where the eye is when a command ends."""
    first = [Text("Nothing changed: everything below exists already and nothing was done again.", "bold"), BLANK]
    return [
        *(first if reused else ()),
        comparison_table(report),
        lineage_tree(tree),
        rules_table(decision),
        verdict_panel(decision),
        facts({"cost": numbers.usd(cost_usd), "evidence page": page}),
        BLANK,
        Text("Next:", style="bold"),
        _next(decision, manifest_path),
    ]


def decision_view(decision: PromotionDecision) -> RenderableType:
    """A decision: every reason, then the verdict."""
    return Group(rules_table(decision), verdict_panel(decision))


def verdict_panel(decision: PromotionDecision) -> Panel:
    """Verdict in words, what it allows, how the rules fell out, and what it was about."""
    about = f"model line {decision.line}, policy {decision.policy_name}, {short(decision.checkpoint_id)}, {short(decision.id)}"
    return Panel(
        Group(plain(f"{words.permission(decision)}. {words.summary(decision)}"), plain(about, "dim")),
        title=Text(f"{MARKS[decision.verdict]} {numbers.VERDICT_WORDS[decision.verdict]}", style=f"bold {STYLES[decision.verdict]}"),
        title_align="left",
        border_style=STYLES[decision.verdict],
        padding=(0, 1),
    )


def rules_table(decision: PromotionDecision) -> RenderableType:
    """Every rule of the policy with its reason, worst first."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    for outcome in words.worst_first(decision.outcomes):
        grid.add_row(Text(f"{MARKS[outcome.verdict]} {_word(outcome)}", style=STYLES[outcome.verdict]), plain(outcome.reason))
    return under(f"what policy {decision.policy_name} asks", grid)


def comparison_table(report: EvaluationReport) -> RenderableType:
    """Headline measures, tuned against base on the same examples."""
    headline = [m for m in report.metrics if m.slice == "all" and m.name in HEADLINE and m.suite != "judge"]
    asked = ", ".join(words.examples_used(name, use) for name, use in report.suites.items())
    shapes = ByWidth(wide=_wide(headline), narrow=_narrow(headline), columns=WIDE_COLUMNS)
    return under("what the model showed (95 % intervals)", shapes, plain(f"examples used: {asked}", "dim"))


def calibration_view(found: JudgeCalibration) -> RenderableType:
    """How far a judge agrees with people, label by label; what may not be relied on first, then the least agreement."""
    graded = any(one.grades > 1 for one in found.agreements)
    made = table(
        "relied on",
        "label",
        ">kappa (95 %)",
        ">needed",
        ">recall (95 %)",
        *([">macro-F1 (95 %)"] if graded else []),
        "why not, and what else is known",
    )
    for one in sorted(found.agreements, key=lambda one: (one.lapse is None, one.kappa.value if one.kappa else 0.0)):
        shown = (one.kappa, one.recall, *([one.macro_f1] if graded else []))
        kappa, *others = [f"{e.value:.2f} ({e.low:.2f} to {e.high:.2f})" if e else "-" for e in shown]
        why = one.lapse or (f"also: {one.elsewhere}" if one.elsewhere else "")
        made.add_row(mark(holds=one.lapse is None), plain(one.label), kappa, f"{one.min_kappa:.2f}", *others, plain(why))
    about = {"judge": found.judge, "compared on": f"{found.replies:,} replies of the label set {found.label_set}", "record": found.id}
    same = f"{found.consistency.value:.0%} of them are judged alike when only blanks and apostrophes differ"
    return Group(made, BLANK, facts(about | {"consistency": same}))


def lineage_tree(tree: Tree, heading: str = "where it comes from") -> RenderableType:
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

    return under(heading, grow(tree, RichTree(_node(tree), guide_style="dim")))


def validation_table(report: ValidationReport) -> RenderableType:
    """Every check of a release, those that failed first; where and how often, never the text."""
    made = table("passed", "check", ">found", "allowed", "where")
    for check in sorted(report.checks, key=lambda c: (c.passed, not c.refuses)):
        problems = [plain(f"{p.where}  {p.field}: {p.message}" if p.field else f"{p.where}  {p.message}") for p in check.examples]
        left = check.failing - SHOWN_PROBLEMS
        more = [plain(f"and {left:,} more", "dim")] if left > 0 and problems else []
        allowed = f"{check.bound.replace('_', ' ')} {check.threshold:g}"
        notes = [plain(check.note, "dim")] if check.note else [plain("warns only", "dim")] if not check.passed and not check.refuses else []
        where = Group(*notes, *(problems[:SHOWN_PROBLEMS] if not check.passed else ()), *more) if notes or not check.passed else BLANK
        made.add_row(mark(holds=check.passed) if check.judged else plain("-", "dim"), plain(check.name), _observed(check), allowed, where)
    return Group(made, BLANK, plain(report.summary, "bold"))


def acceptance_view(dataset: DatasetVersion, report: ValidationReport) -> RenderableType:
    """An accepted release and the version made from it."""
    return Group(validation_table(report), BLANK, dataset_view(dataset))


def dataset_view(dataset: DatasetVersion) -> RenderableType:
    """Rows by family and split."""
    made = table("family", *(f">{split}" for split in dataset.splits))
    for family, counts in sorted(dataset.families.items()):
        made.add_row(plain(family), *(f"{counts.get(split, 0):,}" for split in dataset.splits))
    made.add_row("all", *(f"{split.rows:,}" for split in dataset.splits.values()), style="bold")
    licences = ", ".join(f"{tag} {count:,}" for tag, count in sorted(dataset.licenses.items()))
    return Group(facts({"dataset version": dataset.id, "name": dataset.name, "licences": licences}), BLANK, made)


def _wide(metrics: Sequence[Metric]) -> Table:
    made = table("measure", ">tuned", ">base", ">tuned minus base", "tuning was", ">n")
    for m in metrics:
        tuned = numbers.estimate(m.tuned, m.unit) if m.tuned else "insufficient"
        made.add_row(_name(m), tuned, _base(m), numbers.difference(m.difference, m.unit), words.effect(m), _n(m))
    return made


def _narrow(metrics: Sequence[Metric]) -> Table:
    made = table("measure", ">tuned", ">base", ">tuned minus base", ">n")
    for m in metrics:
        tuned, change = "insufficient", "-"
        if m.tuned:
            tuned = f"{numbers.value(m.tuned.value, m.unit)}\n{numbers.interval(m.tuned.low, m.tuned.high, m.unit)}"
        if m.difference:
            interval = numbers.interval(m.difference.low, m.difference.high, m.unit)
            change = f"{numbers.change(m.difference, m.unit)}\n{interval}\n{words.effect(m)}"
        made.add_row(_name(m), tuned, _base(m), change, _n(m))
    return made


def _name(metric: Metric) -> Text:
    return plain(f"{metric.suite}: {words.measure(metric.name)}")


def _base(metric: Metric) -> str:
    return numbers.value(metric.base.value, metric.unit) if metric.base else "-"


def _n(metric: Metric) -> str:
    return numbers.units(metric.tuned) if metric.tuned else "-"


def _observed(check: Check) -> str:
    return f"{check.observed:,.0f}" if check.observed == int(check.observed) else f"{check.observed:.4g}"


def _next(decision: PromotionDecision, manifest_path: Path) -> Table:
    steps = {f"pe verify {short(decision.id)}": "prove that nothing behind this verdict changed"}
    if decision.verdict == "pass" and decision.stage == "staging":
        steps[f"pe promote {short(decision.checkpoint_id)} --to production"] = "ask for the next stage"
    else:
        steps[f"pe run {manifest_path} --full"] = "every example of every suite, no second training"
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column(overflow="fold")
    grid.add_column(style="dim")
    for command, why in steps.items():
        grid.add_row(plain(f"  {command}"), why)
    return grid


def _node(tree: Tree) -> Text:
    node = plain(f"{KINDS.get(tree.kind, tree.kind)}  {short(tree.id)}  {tree.label}")
    if tree.determinism:
        node.append(f"  (determinism: {tree.determinism})", "dim")
    if tree.recoveries:
        counted = Counter(kind.replace("_", " ") for kind in tree.recoveries)
        node.append(f"  (went on after {', '.join(f'{kind} x {count}' for kind, count in counted.items())}: see pe show)", "bold")
    if tree.verdict:
        node.append(f"  {MARKS.get(tree.verdict, '?')} {tree.verdict}", STYLES.get(tree.verdict, ""))
    if tree.stages:
        node.append_text(plain(f"  (holds {', '.join(tree.stages)})", "bold"))
    node.append_text(taint(tree.recalls))
    if tree.hidden:
        return node.append(f"  (not shown: {words.left_out(tree.hidden, uncounted=tree.uncounted)})", "dim")
    return node.append("  (there is more)", "dim") if tree.truncated else node


def _word(outcome: Outcome) -> str:
    word = outcome.verdict.replace("_", " ")
    return f"{word} (warns)" if outcome.severity == "warn" and outcome.verdict in ("fail", "inconclusive") else word
