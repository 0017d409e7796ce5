"""Short Markdown for Dagster: the answer first, a few rounded numbers, under the 1,000 characters that it shows inline.

Text from data is cut, put on one line and stripped of what Markdown or HTML would act on, because Dagster renders it.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from pe_training.core.ids import short
from pe_training.costs.ledger import Charge
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.report import Check, ValidationReport
from pe_training.evaluation.record import Estimate, EvaluationReport, JudgeCalibration, Metric
from pe_training.manifests.plan import Plan
from pe_training.promotion.pointers import Pointer
from pe_training.promotion.record import Outcome, PromotionDecision
from pe_training.promotion.standing import Standing, waiver_words
from pe_training.promotion.watch import Watched
from pe_training.training.record import Checkpoint
from pe_training.views import numbers, words

LIMIT = 990
MAX_ROWS = 7
MAX_CELL = 60
MORE_ROOM = 30  # for "and 1,234 more"
HEADLINE = (
    "loss",
    "accuracy",
    "macro_f1",
    "crisis_recall",
    "false_positive_rate",
    "safety_score",
    "harmful_rate",
    "largest_gap",
    "therapeutic_score",
)
_ACTIVE = str.maketrans({"|": "/", "<": "(", ">": ")", "`": "'", "[": "(", "]": ")", "*": "-", "\\": "/", "!": ".", "&": "+"})


def decision_markdown(decision: PromotionDecision) -> str:
    """Verdict, then rules that did not pass before those that did."""
    head = f"**{numbers.VERDICT_WORDS[decision.verdict]}** {cell(words.permission(decision))}. {cell(words.summary(decision), 120)}"
    rows = [_rule(outcome) for outcome in words.worst_first(decision.outcomes)]
    return lines_table(head, ("verdict", "rule", "found (95 %)", "needed"), rows)


def approvals_markdown(standing: Standing) -> str:
    """Who has approved, who must still, and what is waived."""
    if not standing.needs and not standing.waived:
        return "**nobody** is asked: the verdict alone decides"
    head = f"**{len(standing.needs) - len(standing.waits_for)} of {numbers.count(len(standing.needs), 'approval')}** given"
    head += "".join(f". {cell(text, 150)}" for text in waiver_words(standing))
    rows = [
        [cell(need.role), cell(need.given.said.statement.person), str(need.given.until)]
        if need.given
        else [cell(need.role), "-", cell(f"waits for {' or '.join(need.may) or 'somebody to be named'}")]
        for need in standing.needs
    ]
    return lines_table(head, ("role", "by", "until"), rows)


def report_markdown(report: EvaluationReport) -> str:
    """Headline measures, tuned beside base."""
    found = [m for m in report.metrics if m.slice == "all" and m.name in HEADLINE and m.suite != "judge"]
    used = ", ".join(words.examples_used(name, use) for name, use in report.suites.items())
    head = f"**{cell(report.line)}**: tuned beside base, examples used: {cell(used, 150)}"
    return lines_table(head, ("measure", "tuned (95 %)", "base", "change", "n"), [_measure(m) for m in found])


def calibration_markdown(found: Sequence[JudgeCalibration]) -> str:
    """Agreement by label, labels that may not be relied on before those that may, the least agreement first."""
    every = [(calibration, agreement) for calibration in found for agreement in calibration.agreements]
    every.sort(key=lambda pair: (pair[1].lapse is None, pair[1].kappa.value if pair[1].kappa else 0.0))
    lapsed = sum(agreement.lapse is not None for _, agreement in every)
    who = ", ".join(f"{cell(calibration.judge)} on {calibration.replies:,} replies" for calibration in found)
    head = f"**{len(every) - lapsed} of {len(every)} labels** may be relied on: {who}"
    rows = [
        [
            cell(agreement.label),
            _agreed(agreement.kappa),
            f"{agreement.min_kappa:.2f}",
            _agreed(agreement.recall),
            cell(agreement.lapse or (f"yes ({agreement.elsewhere})" if agreement.elsewhere else "yes")),
        ]
        for _, agreement in every
    ]
    return lines_table(head, ("label", "kappa (95 %)", "needed", "recall (95 %)", "relied on"), rows)


def further_judges_markdown(found: Sequence[JudgeCalibration]) -> str:
    """Judges that speak in the place of word lists, those with a lapse before the others."""
    if not found:
        return "**no further judge** has spoken yet"
    every = [(calibration, agreement) for calibration in found for agreement in calibration.agreements]
    every.sort(key=lambda pair: pair[1].lapse is None)
    lapsed = sum(agreement.lapse is not None for _, agreement in every)
    rows = [
        [
            cell(calibration.judge),
            cell(short(calibration.id)),
            cell(agreement.label),
            _agreed(agreement.kappa),
            f"{agreement.min_kappa:.2f}",
            cell(agreement.lapse or "yes"),
        ]
        for calibration, agreement in every
    ]
    head = f"**{len(every) - lapsed} of {numbers.count(len(every), 'label')}** of further judges may be relied on"
    return lines_table(head, ("judge", "calibration", "label", "kappa (95 %)", "needed", "relied on"), rows)


def _agreed(found: Estimate | None) -> str:
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})" if found else "-"


def checkpoint_markdown(checkpoint: Checkpoint) -> str:
    """What was trained and how held-out loss moved."""
    moved = "fell" if checkpoint.val_loss < checkpoint.val_loss_before else "did not fall"
    return (
        f"**{cell(checkpoint.line)}**, step {checkpoint.step:,}, {cell(checkpoint.format)} on {cell(checkpoint.base.ref)}\n\n"
        f"held-out loss {moved}: {checkpoint.val_loss_before:.3f} to **{checkpoint.val_loss:.3f}** nats per target"
    )


def dataset_markdown(dataset: DatasetVersion) -> str:
    """Rows by split and family, the largest first."""
    splits = ", ".join(f"{cell(name, 10)} {split.rows:,}" for name, split in dataset.splits.items())
    families = sorted(dataset.families.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    rows = [[cell(family), *(f"{counts.get(split, 0):,}" for split in dataset.splits)] for family, counts in families]
    head = f"**accepted** {cell(dataset.name)}: {numbers.count(dataset.rows, 'row')} ({splits})"
    return lines_table(head, ("family", *(cell(split, 10) for split in dataset.splits)), rows)


def validation_markdown(report: ValidationReport) -> str:
    """Whether a release was accepted, and the checks that failed with the first place of each."""
    head = f"**{'accepted' if report.accepted else 'refused'}** {cell(report.name)} {cell(report.version)}: "
    head += f"{report.passed} of {len(report.checks)} checks passed on {numbers.count(report.rows, 'row')}"
    if report.conversion:
        head += f"; converted from {cell(report.conversion.format)}: {cell(report.conversion.counts.summary, 200)}"
    faults = [*report.failed, *report.warnings, *(check for check in report.checks if check.passed and check.note)]
    return lines_table(head, ("not passed", "failing", "first place or reason"), [_fault(check) for check in faults])


def plan_markdown(plan: Plan) -> str:
    """Work, time and money with their ranges."""
    head = f"**{cell(plan.name)}**: {numbers.count(plan.steps, 'step')} on {cell(plan.base)}, {words.plan_fits(plan)}"
    if plan.environment:
        names = ", ".join(change.key for change in plan.environment)
        head += f". The environment is not that of the line's last run: {cell(names, 200)}"
    tokens = f"{plan.tokens.low:,.0f} to {plan.tokens.high:,.0f}"
    row = [tokens, words.plan_time(plan), words.plan_cost(plan), f"{plan.max_cost_usd:,.2f} USD", cell(plan.policy)]
    return lines_table(head, ("tokens", "time", "cost", "budget", "policy"), [row])


def stages_markdown(pointers: Sequence[Pointer]) -> str:
    """What holds which stage."""
    head = f"**{numbers.count(len(pointers), 'stage')} held**" if pointers else "**no stage is held yet**"
    return lines_table(
        head,
        ("line", "stage", "checkpoint"),
        [[cell(p.line), cell(p.stage), cell(short(p.checkpoint_id)) + ("" if p.holds else " (withdrawn)")] for p in pointers],
    )


def watch_markdown(line: str, seen: Sequence[Watched]) -> str:
    """What is served of a line, what was found against it, and what was done."""
    doubted = sum(bool(found.findings) for found in seen)
    head = f"**{cell(line)}: {numbers.count(len(seen), 'place')} served, {doubted} in doubt**"
    rows = [
        [found.place, cell(short(found.checkpoint_id)), cell("; ".join(f.message for f in found.findings) or "sound"), found.action.value]
        for found in seen
    ]
    return lines_table(head, ("place", "checkpoint", "found", "done"), rows)


def costs_markdown(rows: Sequence[Charge]) -> str:
    """The newest charges and their sum."""
    head = f"**{numbers.usd(sum((row.cost_usd for row in rows), Decimal(0)))}** in {numbers.count(len(rows), 'charge')}"
    return lines_table(head, ("at", "step", "for", "instance", "time", "cost"), [_charge(row) for row in rows])


def lines_table(head: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Head and as many rows as are read at a glance and fit, and how many were left out. No rows, no table."""
    if not rows:
        return head
    text = f"{head}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    kept = 0
    for row in rows[:MAX_ROWS]:
        line = f"\n| {' | '.join(row)} |"
        if len(text) + len(line) > LIMIT - MORE_ROOM:
            break
        text += line
        kept += 1
    left = len(rows) - kept
    return text + (f"\n\nand {left:,} more" if left else "")


def _rule(o: Outcome) -> list[str]:
    return [numbers.VERDICT_WORDS[o.verdict], cell(o.title), numbers.found(o), numbers.needed(o)]


def _measure(m: Metric) -> list[str]:
    found = numbers.estimate(m.tuned, m.unit) if m.tuned else "insufficient"
    base = numbers.value(m.base.value, m.unit) if m.base else "-"
    return [
        f"{cell(m.suite)} {words.measure(m.name).lower()}",
        found,
        base,
        words.effect(m) or "-",
        numbers.units(m.tuned) if m.tuned else "-",
    ]


def _fault(check: Check) -> list[str]:
    name = check.name if check.refuses or check.passed else f"{check.name} (warns)"
    reason = check.note or (check.where[0] if check.where else "-")
    return [cell(name), "-" if check.passed else numbers.count(check.failing, check.unit), cell(reason)]


def _charge(row: Charge) -> list[str]:
    named = [cell(text) for text in (row.at, row.step, short(row.subject), row.instance)]
    return [*named, numbers.duration(row.duration_ms / 1000), numbers.usd(row.cost_usd)]


def cell(text: str, most: int = MAX_CELL) -> str:
    """Text from data: one line, nothing that Markdown or HTML acts on, at most ``most`` characters."""
    shown = words.clean(text[: most + 1]).translate(_ACTIVE)
    return shown if len(shown) <= most else shown[: most - 3] + "..."
