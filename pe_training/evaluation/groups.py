"""Differences between groups: the largest gap, the worst group, and which pairs differ, each with an interval that knows of the search.

To look for the largest of many differences and to treat it as if it had been the only one is how chance becomes a finding. The end
that a gate reads needs no correction all the same: the highest of all upper ends lies no lower than that of the two groups which
truly are furthest apart, and so covers the gap as surely as that one does (intersection-union, Berger 1982, Technometrics 24:295).
Only the other end pays for the number of comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import TYPE_CHECKING

from pe_training.evaluation.paired import paired_permutation
from pe_training.evaluation.record import Estimate
from pe_training.evaluation.resampling import DRAWS, quantile, resampled_totals
from pe_training.evaluation.statistics import ALPHA, UNIT_INTERVAL, estimate, mean_interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Cells = Sequence[Mapping[str, float]]  # per scenario, group -> score in 0..1
Ends = tuple[float, float, float]  # value, low, high


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The largest difference between group rates. ``estimate`` is ``None`` where fewer than two groups have enough scenarios."""

    estimate: Estimate | None
    rates: dict[str, float]  # group -> mean score over the shared scenarios
    excluded: dict[str, int]  # group -> its scenarios, too few to count
    joint_low: float = 0.0  # the lower end that holds together with those of all families


def largest_gap(cells: Cells, *, min_n: int, seed: int, families: int = 1) -> Gap:
    """Highest minus lowest group mean over shared scenarios; ``families``: how many such gaps are looked at together (Bonferroni).

    Groups seen in fewer than ``min_n`` scenarios are left out and reported; the rest are compared on the scenarios which all of
    them share. The interval resamples scenarios. To them one imagined scenario is added in which the highest group scores 1
    and the lowest 0, because a few scenarios that happen to agree would otherwise give an upper end of zero (the same
    thought as Agresti & Coull 1998; close to Clopper-Pearson where no scenario differs). Resampled gaps lie above the true
    one on average, so the lower end is the mirror image of the upper. Gates use the upper end.
    """
    import numpy as np

    groups, excluded, scores = _shared(cells, min_n=min_n)
    if len(groups) < 2 or len(scores) < max(min_n, 1):
        return Gap(estimate=None, rates={}, excluded=excluded)
    rates = scores.mean(axis=0)
    top, bottom = int(rates.argmax()), int(rates.argmin())
    imagined = rates.copy()
    if top == bottom:
        top, bottom = 0, 1
    imagined[top], imagined[bottom] = 1.0, 0.0
    padded, n = np.vstack([scores, imagined]), len(scores)
    gaps = np.ptp(resampled_totals(padded, seed=seed), axis=1) / (n + 1)
    value = float(np.ptp(rates))
    high = min(max(value, quantile(gaps, 1 - ALPHA / 2)), 1.0)
    found = estimate(value, max(0.0, 2 * value - high), high, n=n, method=f"scenario-bootstrap-{DRAWS}-plus-one")
    joint = max(0.0, 2 * value - max(value, quantile(gaps, 1 - ALPHA / families / 2)))
    named = dict(zip(groups, (float(rate) for rate in rates), strict=True))
    return Gap(estimate=found, rates=named, excluded=excluded, joint_low=estimate(value, joint, high, n=n, method="").low)


def worst_group(cells: Cells, *, min_n: int) -> Estimate | None:
    """The lowest group mean, each group over its own scenarios; ``None`` where fewer than two groups have ``min_n`` of them.

    Low: the lowest of the groups' own lower ends. High: the lowest of their upper ends, each widened for the number of groups
    (Bonferroni), since the truly worst group may be any. ``n`` is the smallest group's.
    """
    of: dict[str, list[float]] = {}
    for cell in cells:
        for group, score in cell.items():
            of.setdefault(group, []).append(score)
    enough = [scores for scores in of.values() if len(scores) >= max(min_n, 1)]
    if len(enough) < 2:
        return None
    ends = [mean_interval(scores, bounds=UNIT_INTERVAL)[:2] for scores in enough]
    highs = [mean_interval(scores, bounds=UNIT_INTERVAL, alpha=ALPHA / len(enough))[2] for scores in enough]
    value = min(value for value, _ in ends)
    return estimate(
        value, min(low for _, low in ends), max(min(highs), value), n=min(map(len, enough)), method=f"worst-of-{len(enough)}-student-t"
    )


@dataclass(frozen=True, kw_only=True)
class PairGap:
    """How much higher ``first`` scores than ``second`` on the same scenarios. The ends hold for all pairs together, p for this one."""

    first: str
    second: str
    value: float
    low: float
    high: float
    n: int  # scenarios
    method: str
    p_value: float  # paired permutation; for several pairs see paired.holm


def pair_gaps(cells: Cells, *, min_n: int, seed: int) -> tuple[PairGap, ...]:
    """Every pair of groups with ``min_n`` scenarios, on the scenarios that all of them share; empty where there are not two.

    Simultaneous intervals: the 95 % point of the largest studentised difference over bootstrap samples of scenarios (single-step
    max-t, Westfall & Young 1993, ch. 2). A pair that always differs by the same has no width there and gets the exact bound of
    :func:`pe_training.evaluation.statistics.mean` at Bonferroni's level; so do all where that point is not finite.
    """
    import numpy as np

    groups, _, scores = _shared(cells, min_n=min_n)
    if len(groups) < 2 or len(scores) < max(min_n, 2):
        return ()
    pairs = list(combinations(range(len(groups)), 2))
    differences = np.stack([scores[:, a] - scores[:, b] for a, b in pairs], axis=1)
    n = len(differences)
    totals = resampled_totals(np.hstack([differences, differences**2]), seed=seed)
    means, squares = totals[:, : len(pairs)] / n, totals[:, len(pairs) :] / n
    value, spread = differences.mean(axis=0), differences.std(axis=0, ddof=1)
    errors = np.sqrt(np.maximum(squares - means**2, 0.0) / (n - 1))
    moved = np.abs(means - value)
    studentised = np.divide(moved, errors, out=np.where(moved > 1e-12, np.inf, 0.0), where=errors > 1e-9)
    critical = float(np.quantile(studentised.max(axis=1), 1 - ALPHA, method="higher"))
    found = []
    for index, (a, b) in enumerate(pairs):
        column = list(map(float, differences[:, index]))
        middle, low, high, _ = mean_interval(column, bounds=(-1.0, 1.0), alpha=ALPHA / len(pairs))
        if spread[index] > 0 and math.isfinite(critical):
            half = critical * float(spread[index]) / math.sqrt(n)
            low, high = max(middle - half, -1.0), min(middle + half, 1.0)
        ends = estimate(middle, low, high, n=n, method="max-t")
        p_value = paired_permutation(column, seed=seed)
        found.append(
            PairGap(
                first=groups[a], second=groups[b], value=ends.value, low=ends.low, high=ends.high, n=n, method=ends.method, p_value=p_value
            )
        )  # fmt: skip
    return tuple(found)


def widest_difference(ends: Callable[[float], Sequence[Ends]], *, families: int = 1) -> Ends:
    """Highest minus lowest value over groups that share nobody. ``ends``: alpha -> the groups' values with ends at that alpha.

    Of two groups the ends are combined by squares (MOVER: Zou & Donner 2008, Stat. Med. 27:1693; with Wilson's it is method 10 of
    Newcombe 1998, Stat. Med. 17:873). The high end is the highest of all pairs, the low end that of all pairs
    of all ``families`` at Bonferroni's level.
    Where groups share scenarios and therefore rise and fall together, it is on the safe side.
    """
    groups = ends(ALPHA)
    assert len(groups) >= 2, "one group has no gap"
    pairs = len(groups) * (len(groups) - 1) // 2
    value = max(v for v, _, _ in groups) - min(v for v, _, _ in groups)
    high = max(a[0] - b[0] + math.hypot(a[2] - a[0], b[0] - b[1]) for a, b in permutations(groups, 2))
    low = max(a[0] - b[0] - math.hypot(a[0] - a[1], b[2] - b[0]) for a, b in permutations(ends(ALPHA / pairs / families), 2))
    return value, min(max(low, 0.0), value), max(min(high, 1.0), value)


def _shared(cells: Cells, *, min_n: int) -> tuple[list[str], dict[str, int], Floats]:
    """The groups with enough scenarios, those without, and the scores (scenarios, groups) where all of the former are known."""
    import numpy as np

    counts: dict[str, int] = {}
    for cell in cells:
        for group in cell:
            counts[group] = counts.get(group, 0) + 1
    groups = sorted(group for group, count in counts.items() if count >= min_n)
    excluded = {group: count for group, count in sorted(counts.items()) if count < min_n}
    shared = [[cell[group] for group in groups] for cell in cells if all(group in cell for group in groups)]
    return groups, excluded, np.array(shared, dtype=np.float64).reshape(len(shared), len(groups))
