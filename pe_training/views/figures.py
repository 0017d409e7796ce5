"""From records to drawings: which numbers a figure shows, on which scale, and what it says to those who cannot see it."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from pe_training.evaluation.record import Comparison, Metric
from pe_training.promotion.record import Outcome
from pe_training.views import numbers, svg, words
from pe_training.views.evidence import Evidence


def rule_figure(outcome: Outcome) -> Markup:
    """A rule's interval against its threshold; the threshold alone where there is no evidence, nothing where it is for another task."""
    if outcome.verdict == "not_applicable":
        return Markup("")
    span = _span(outcome)
    shown = [outcome.threshold, *((span.low, span.value, span.high) if span else (0.0, 1.0))]
    bounds = _rule_bounds(outcome, shown)
    ends = tuple(_end(number, outcome) for number in bounds)
    label = f"Found {numbers.found(outcome)}; needed {numbers.needed(outcome)}"
    limit = svg.Limit(at=outcome.threshold, allowed=outcome.bound, text=numbers.threshold(outcome))
    return svg.rule(span, limit, bounds=bounds, ends=(ends[0], ends[1]), style=outcome.verdict, label=label)


def change_figure(metric: Metric, *, reach: float) -> Markup:
    """Tuned against base, with better always to the right. Nothing where the two were not compared."""
    found = metric.difference
    if found is None:
        return Markup("")
    sense = -1 if metric.better == "lower" else 1
    low, high = sorted((found.low * sense, found.high * sense))
    effect = words.effect(metric)
    label = f"Difference {numbers.difference(found, metric.unit)}: {effect}"
    style = {"better": "pass", "worse": "fail"}.get(effect, "neutral")
    return svg.change(svg.Span(low=low, value=found.value * sense, high=high), reach=reach, style=style, label=label)


def reaches(metrics: Sequence[Metric]) -> dict[str, float]:
    """Half the width of the common scale of all differences in a suite, by unit, so that rows can be compared by eye."""
    widest: dict[str, float] = {}
    for metric in metrics:
        if metric.difference is not None:
            widest[metric.unit] = max(widest.get(metric.unit, 0.0), _reach(metric.difference))
    return {unit: max(reach * 1.05, 0.01) for unit, reach in widest.items()}


def training_curve(evidence: Evidence) -> Markup:
    """Loss and held-out loss by step, and the step that was kept."""
    train = [(int(row["step"]), float(row["loss"])) for row in evidence.history if "loss" in row]
    held_out = [(int(row["step"]), float(row["val_loss"])) for row in evidence.history if "val_loss" in row]
    return svg.curve(train, held_out, kept_step=evidence.checkpoint.step)


def _span(outcome: Outcome) -> svg.Span | None:
    if outcome.value is None or outcome.low is None or outcome.high is None:
        return None
    return svg.Span(low=outcome.low, value=outcome.value, high=outcome.high)


def _rule_bounds(outcome: Outcome, shown: Sequence[float]) -> svg.Bounds:
    shares = outcome.unit in ("proportion", "score") and outcome.of == "tuned" and all(0 <= number <= 1 for number in shown)
    return svg.share_bounds(shown) if shares else svg.wide_bounds(shown)


def _end(number: float, outcome: Outcome) -> str:
    if outcome.unit != "proportion":
        return f"{number:g}"
    return f"{round(number * 100, 6):g}" + ("" if number <= 0 else " %")


def _reach(found: Comparison) -> float:
    return max(abs(found.low), abs(found.high))
