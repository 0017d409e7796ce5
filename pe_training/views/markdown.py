"""Short Markdown for Dagster: the answer first, a few rounded numbers, under the 1,000 characters that it shows inline."""

from __future__ import annotations

from collections.abc import Sequence

from pe_training.core.ids import short
from pe_training.costs.ledger import Charge
from pe_training.datasets.record import DatasetVersion
from pe_training.evaluation.record import EvaluationReport
from pe_training.manifests.plan import Plan
from pe_training.promotion.pointers import Pointer
from pe_training.promotion.record import Outcome, PromotionDecision
from pe_training.training.record import Checkpoint
from pe_training.views import numbers

LIMIT = 990
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


def decision_markdown(decision: PromotionDecision) -> str:
    """Verdict, then rules that did not pass before those that did."""
    order = {"fail": 0, "inconclusive": 1, "pass": 2, "not_applicable": 3}
    rows = [_rule(outcome) for outcome in sorted(decision.outcomes, key=lambda o: order[o.verdict])]
    head = f"**{numbers.VERDICT_WORDS[decision.verdict]}** for {decision.stage} by policy `{decision.policy_name}`\n\n"
    return _fit(head + "| | measure | found (95 %) | needed |\n|---|---|---|---|\n", rows)


def report_markdown(report: EvaluationReport) -> str:
    """Headline measures, tuned beside base."""
    rows = [
        f"| {m.suite} {m.name} | {numbers.estimate(m.tuned, m.unit)} | {numbers.estimate(m.base, m.unit)} | {m.tuned.n if m.tuned else 0} |"
        for m in report.metrics
        if m.slice == "all" and m.name in HEADLINE and m.suite != "judge"
    ]
    return _fit("| measure | tuned (95 %) | base | n |\n|---|---|---|---|\n", rows)


def checkpoint_markdown(checkpoint: Checkpoint) -> str:
    """What was trained and how held-out loss moved."""
    return (
        f"**{checkpoint.line}**, step {checkpoint.step}, {checkpoint.format} on `{checkpoint.base.ref}`\n\n"
        f"held-out loss {checkpoint.val_loss_before:.3f} -> **{checkpoint.val_loss:.3f}** nats per target"
    )


def dataset_markdown(dataset: DatasetVersion) -> str:
    """Rows by split and family."""
    splits = ", ".join(f"{name} {split.rows:,}" for name, split in dataset.splits.items())
    rows = [
        f"| {_cell(family)} | {' | '.join(f'{counts.get(split, 0):,}' for split in dataset.splits)} |"
        for family, counts in sorted(dataset.families.items(), key=lambda item: -sum(item[1].values()))
    ]
    columns = " | ".join(dataset.splits)
    return _fit(
        f"**{dataset.name}** {dataset.rows:,} rows ({splits})\n\n| family | {columns} |\n|---|{'---|' * len(dataset.splits)}\n", rows
    )


def plan_markdown(plan: Plan) -> str:
    """Work, time and money with their ranges."""
    time = "unknown" if plan.duration_s is None else f"{numbers.duration(plan.duration_s.low)} to {numbers.duration(plan.duration_s.high)}"
    cost = "unknown" if plan.cost_usd is None else f"{numbers.usd(plan.cost_usd.low)} to {numbers.usd(plan.cost_usd.high)}"
    return (
        f"**{plan.name}**: {plan.steps} steps on `{plan.base}`\n\n| tokens | time | cost | budget | policy |\n|---|---|---|---|---|\n"
        f"| {plan.tokens.low:,.0f} to {plan.tokens.high:,.0f} | {time} | {cost} | {plan.max_cost_usd:.2f} USD | {plan.policy} |"
    )


def stages_markdown(pointers: Sequence[Pointer]) -> str:
    """What holds which stage."""
    rows = [f"| {_cell(p.line)} | {p.stage} | `{short(p.checkpoint_id)}` |" for p in pointers]
    return _fit("| line | stage | checkpoint |\n|---|---|---|\n", rows)


def costs_markdown(rows: Sequence[Charge]) -> str:
    """The newest charges."""
    return _fit("| at | step | for | instance | time | cost |\n|---|---|---|---|---|---|\n", [_charge(row) for row in rows])


def _fit(head: str, rows: Sequence[str]) -> str:
    """As many rows as fit, and how many were left out."""
    kept, size = [], len(head)
    for row in rows:
        if size + len(row) + 1 > LIMIT - 24:
            break
        kept.append(row)
        size += len(row) + 1
    left = len(rows) - len(kept)
    return head + "\n".join(kept) + (f"\n\nand {left} more" if left else "")


def _rule(o: Outcome) -> str:
    found = _found(o.value, o.low, o.high, o.unit)
    return f"| {numbers.VERDICT_WORDS[o.verdict]} | {_cell(o.title)} | {found} | {_bound(o.bound)} {numbers.value(o.threshold, o.unit)} |"


def _charge(row: Charge) -> str:
    time, cost = numbers.duration(row.duration_ms / 1000), numbers.usd(row.cost_usd)
    return f"| {row.at} | {row.step} | `{short(row.subject)}` | {row.instance} | {time} | {cost} |"


def _found(value: float | None, low: float | None, high: float | None, unit: str) -> str:
    if value is None or low is None or high is None:
        return "no evidence"
    return f"{numbers.value(value, unit)} ({numbers.interval(low, high, unit)})"


def _bound(bound: str) -> str:
    return "at least" if bound == "at_least" else "at most"


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")
