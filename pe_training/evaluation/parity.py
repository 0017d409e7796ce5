"""Group fairness of a yes-or-no classifier by the standard definitions (as fairlearn names them), from counts, with intervals.

Everything here has a closed form, so nothing is drawn: the shares of a table are binomial, F1 is a monotone function of such a share,
and gaps combine the ends of their groups. A share without examples is not measured; nothing is filled in.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from pe_training.evaluation.groups import Ends, widest_difference
from pe_training.evaluation.record import Estimate
from pe_training.evaluation.statistics import ALPHA, estimate, wilson


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """How often the right answer and the classifier's were yes, over one group's examples."""

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    true_negatives: int = 0

    def shares(self) -> dict[str, tuple[int, int]]:
        """Metric -> (successes, of how many), for every metric that is a share."""
        tp, fp, fn, tn = self.true_positives, self.false_positives, self.false_negatives, self.true_negatives
        return {
            "selection_rate": (tp + fp, tp + fp + fn + tn),
            "accuracy": (tp + tn, tp + fp + fn + tn),
            "true_positive_rate": (tp, tp + fn),
            "false_negative_rate": (fn, tp + fn),
            "false_positive_rate": (fp, fp + tn),
            "true_negative_rate": (tn, fp + tn),
            "precision": (tp, tp + fp),
            "negative_predictive_value": (tn, tn + fn),
        }

    def ends(self, metric: str, *, alpha: float = ALPHA) -> Ends | None:
        """Value, low and high of a share, ``f1`` or ``balanced_accuracy``; ``None`` where its denominator is zero.

        Shares: Wilson. F1 is ``2 j / (1 + j)`` of the share j of true positives among all that are positive by either (Jaccard 1901),
        and takes its Wilson ends along. Balanced accuracy: the mean of two independent shares, ends combined by squares (MOVER).
        """
        if metric == "f1":
            jaccard = _share(self.true_positives, self.true_positives + self.false_positives + self.false_negatives, alpha)
            return jaccard and _f1(jaccard)
        if metric == "balanced_accuracy":
            hit, spared = self.ends("true_positive_rate", alpha=alpha), self.ends("true_negative_rate", alpha=alpha)
            return hit and spared and _half_sum(hit, spared)
        return _share(*self.shares()[metric], alpha)

    def examples(self, metric: str) -> int:
        """How many examples stand behind ``metric``: its denominator; of balanced accuracy the smaller one."""
        if metric == "f1":
            return self.true_positives + self.false_positives + self.false_negatives
        shares = self.shares()
        if metric == "balanced_accuracy":
            return min(shares["true_positive_rate"][1], shares["true_negative_rate"][1])
        return shares[metric][1]


METRICS = (*Outcomes().shares(), "f1", "balanced_accuracy")


def outcomes_of(expected: Sequence[bool], predicted: Sequence[bool], *, groups: Sequence[Hashable]) -> dict[Hashable, Outcomes]:
    """Each group's table, in order of first appearance."""
    counts: dict[Hashable, list[int]] = {}
    for right, said, group in zip(expected, predicted, groups, strict=True):
        counts.setdefault(group, [0, 0, 0, 0])[(0 if said else 2) if right else (1 if said else 3)] += 1
    return {
        group: Outcomes(true_positives=tp, false_positives=fp, false_negatives=fn, true_negatives=tn)
        for group, (tp, fp, fn, tn) in counts.items()
    }


def difference(tables: Mapping[Hashable, Outcomes], metric: str, *, min_n: int = 1, families: int = 1) -> Estimate | None:
    """Highest minus lowest ``metric`` over groups; ``None`` where there are fewer than two, or one has under ``min_n`` examples for it.

    ``families``: how many such differences the low end must hold for at once. ``n`` counts the examples behind the metric.
    With ``selection_rate`` it is the demographic parity difference, with ``true_positive_rate`` that of equal opportunity.
    """
    behind = [table.examples(metric) for table in tables.values()]
    if len(behind) < 2 or min(behind) < max(min_n, 1):
        return None

    def ends(alpha: float) -> list[Ends]:
        return [found for table in tables.values() if (found := table.ends(metric, alpha=alpha))]

    value, low, high = widest_difference(ends, families=families)
    return estimate(value, low, high, n=sum(behind), method=f"mover-wilson-of-{len(behind)}")


def equalized_odds_difference(tables: Mapping[Hashable, Outcomes], *, min_n: int = 1) -> Estimate | None:
    """The larger of the differences of true and of false positive rates (Hardt, Price & Srebro 2016), ``None`` where one is unknown."""
    found = [difference(tables, metric, min_n=min_n, families=2) for metric in ("true_positive_rate", "false_positive_rate")]
    if found[0] is None or found[1] is None:
        return None
    value, low, high = (max(getattr(found[0], end), getattr(found[1], end)) for end in ("value", "low", "high"))
    return estimate(value, low, high, n=found[0].n + found[1].n, method=f"max-of-2 {found[0].method}")


def _share(successes: int, n: int, alpha: float) -> Ends | None:
    return (successes / n, *wilson(successes, n, alpha=alpha)) if n else None


def _f1(jaccard: Ends) -> Ends:
    value, low, high = (2 * j / (1 + j) for j in jaccard)
    return value, low, high


def _half_sum(a: Ends, b: Ends) -> Ends:
    value = (a[0] + b[0]) / 2
    return value, value - math.hypot(a[0] - a[1], b[0] - b[1]) / 2, value + math.hypot(a[2] - a[0], b[2] - b[0]) / 2
