"""Examples that hang together: several wordings of one prompt, prompts of one conversation, answers to one post.

Forty variations of five prompts are five pieces of evidence, and an interval that takes them for forty is too short: a wrong "safe". So
``n`` counts clusters wherever examples share one, and every interval knows of them. The value stays that of the examples, each weighing
the same. With one example a cluster nothing of this applies, and the formulas of ``statistics.py`` do. Simulated coverage: ADR 0019.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from statistics import NormalDist

from pe_training.evaluation.paired import paired_permutation
from pe_training.evaluation.ratios import weighted_ratio
from pe_training.evaluation.record import Comparison, Estimate
from pe_training.evaluation.statistics import (
    ALPHA,
    CLUSTER_WILSON,
    UNIT_INTERVAL,
    Bounds,
    Z,
    comparison,
    estimate,
    mean_interval,
    newcombe,
    student_t,
    wilson,
)

Clusters = Sequence[Hashable] | None  # of each example the cluster that it belongs to
_SEED = 1


def together(clusters: Clusters) -> Clusters:
    """``clusters`` where two examples share one. ``None`` where nobody shares: then every example stands for itself."""
    return None if clusters is None or len(set(clusters)) == len(clusters) else clusters


def numbered(clusters: Sequence[Hashable]) -> list[int]:
    """The clusters as numbers from 0, in order of first appearance."""
    place = {name: index for index, name in enumerate(dict.fromkeys(clusters))}
    return [place[name] for name in clusters]


def effective_number(clusters: Sequence[Hashable]) -> float:
    """How many clusters of one size would weigh as much: ``sum(size)**2 / sum(size**2)`` (Kish 1965)."""
    return len(clusters) ** 2 / sum(size * size for size in Counter(clusters).values())


def degrees(clusters: Sequence[Hashable]) -> float:
    """Degrees of freedom of a variance between clusters, at least 1."""
    return max(effective_number(clusters) - 1, 1.0)


def bootstrap_alpha(clusters: Sequence[Hashable]) -> float:
    """The level at which percentiles of cluster draws cover 95 %: theirs are as far out as Student's t (Hesterberg 2015, 69:371)."""
    return 2 * NormalDist().cdf(-student_t(degrees(clusters)))


def clustered_proportion(outcomes: Sequence[bool], clusters: Sequence[Hashable]) -> Estimate:
    """Share of successes: Wilson's interval for the number of independent examples that the clusters are worth (:func:`_worth`)."""
    worth, value = _worth([float(outcome) for outcome in outcomes], clusters, bounds=UNIT_INTERVAL), sum(outcomes) / len(outcomes)
    low, high = wilson(value * worth, worth)
    return estimate(value, low, high, n=len(set(clusters)), method=CLUSTER_WILSON, examples=len(outcomes))


def clustered_paired_proportions(tuned: Sequence[bool], base: Sequence[bool], clusters: Sequence[Hashable]) -> Comparison:
    """Difference of two shares on the same examples: method 10 of Newcombe for the examples that the clusters are worth.

    p: paired permutation of clusters, each of which could as well have had the models the other way round.
    """
    pairs = Counter(zip(tuned, base, strict=True))
    differences = [float(t) - float(b) for t, b in zip(tuned, base, strict=True)]
    share = _worth(differences, clusters, bounds=(-1.0, 1.0)) / len(differences)
    value, low, high = newcombe(
        both=pairs[True, True] * share, gained=pairs[True, False] * share, lost=pairs[False, True] * share,
        neither=pairs[False, False] * share,
    )  # fmt: skip
    p_value = paired_permutation(_sums(differences, clusters), seed=_SEED)
    n = len(set(clusters))
    return comparison(value, low, high, n=n, method="cluster-newcombe-10", p_value=p_value, examples=len(differences))


def clustered_mean(values: Sequence[float], clusters: Sequence[Hashable], *, bounds: Bounds) -> Estimate:
    """Mean of values within ``bounds``: the jackknife of clusters (``ratios.py``), cut to the bounds."""
    value, low, high, method = _mean_interval(values, clusters, bounds=bounds)
    return estimate(value, low, high, n=len(set(clusters)), method=method, examples=len(values))


def clustered_paired_means(tuned: Sequence[float], base: Sequence[float], clusters: Sequence[Hashable], *, bounds: Bounds) -> Comparison:
    """Mean of ``tuned - base`` on the same examples, as :func:`clustered_mean`."""
    width = bounds[1] - bounds[0]
    differences = [t - b for t, b in zip(tuned, base, strict=True)]
    value, low, high, method = _mean_interval(differences, clusters, bounds=(-width, width))
    return comparison(value, low, high, n=len(set(clusters)), method=f"paired-{method}", examples=len(differences))


def events_ratio(first: Sequence[bool], second: Sequence[bool], clusters: Clusters = None) -> Estimate | None:
    """How many units show the first of two events for each that shows the second; ``None`` where none shows the second.

    The share of the first among both has a Wilson interval over the units that show either; share / (1 - share) is monotone and carries it
    over. Where p of these m units show both, the variance of the share is ``share (1 - share) (1 - p) / (1 + p)**2 / m`` to the first
    order, so that the interval errs on the wide side. ``n`` is m, or the number of their clusters; ``None`` where that is one alone.
    """
    ones, twos = sum(first), sum(second)
    shown = [i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a or b]
    if not twos:
        return None
    hang, worth = together(clusters and [clusters[i] for i in shown]), float(len(shown))
    if hang and len(set(hang)) == 1:
        return None
    if hang:
        events = [(value, name) for i, name in zip(shown, hang, strict=True) for value in [1.0] * first[i] + [0.0] * second[i]]
        worth = min(worth, _worth([value for value, _ in events], [name for _, name in events], bounds=UNIT_INTERVAL))
    low, high = wilson(worth * ones / (ones + twos), worth)
    ends = ones / twos, low / (1 - low), high / (1 - high)
    if not hang:
        return estimate(*ends, n=len(shown), method="wilson-odds")
    return estimate(*ends, n=len(set(hang)), method="cluster-wilson-odds", examples=len(shown))


def _mean_interval(values: Sequence[float], clusters: Sequence[Hashable], *, bounds: Bounds) -> tuple[float, float, float, str]:
    """Never shorter than for examples by themselves: clusters whose means are equal by chance would leave no width.

    Nor shorter than Wilson's interval with the same variance, on the scale of the bounds: with few clusters the mean of scores near a bound
    is skewed, and t would end too close on the side where bad models lie. Where all values are equal the exact bound of
    ``statistics.mean`` holds for the effective number of clusters.
    """
    floor, ceiling = bounds
    value, low, high, _ = mean_interval(values, bounds=bounds)
    if min(values) == max(values):
        differing = 1 - (ALPHA / 2) ** (1 / effective_number(clusters))
        return value, value - differing * (value - floor), value + differing * (ceiling - value), "cluster-constant-exact"
    found = weighted_ratio(values, [1.0] * len(values), clusters=clusters)
    lows, highs = [low, max(found.low, floor)], [high, min(found.high, ceiling)]
    share, half = (value - floor) / (ceiling - floor), (found.high - found.low) / 2 / (ceiling - floor)
    if half > 0 and 0 < share < 1:
        skewed = wilson(share * (worth := Z**2 * share * (1 - share) / half**2), worth)
        lows.append(floor + skewed[0] * (ceiling - floor))
        highs.append(floor + skewed[1] * (ceiling - floor))
    return value, min(lows), max(highs), found.method


def _worth(values: Sequence[float], clusters: Sequence[Hashable], *, bounds: Bounds) -> float:
    """How many independent examples these are worth, at most as many as there are (Korn & Graubard 1998, Surv. Methodol. 24:193).

    Examples over the design effect, times ``(z / t)**2`` for the clusters that its variance is estimated from. A variance is badly
    estimated from clusters that almost all agree: one failure shows no clustering, and none shows nothing. So two imagined clusters of
    middle size, one at each bound, are seen with the real ones (the thought of Agresti & Coull 1998): as long as next to nothing
    varies, a cluster is worth one example.
    """
    import numpy as np

    number = np.array(numbered(clusters))
    count, total = int(number.max()) + 1, len(values)
    assert count >= 2, "one cluster has no interval"
    middle = total / count
    sums = np.append(np.bincount(number, values), [bounds[0] * middle, bounds[1] * middle])
    sizes = np.append(np.bincount(number), [middle, middle])
    n, seen = sizes.sum(), sums.sum() / sizes.sum()
    without = (sums.sum() - sums) / (n - sizes)
    between = (count + 1) / (count + 2) * float(((without - seen) ** 2).sum())
    squares = sum(value * value for value in values) + middle * (bounds[0] ** 2 + bounds[1] ** 2)
    alone = float(squares / n - seen**2) / float(n)
    return float(total / max(between / alone, 1.0) * (Z / student_t(degrees(clusters))) ** 2)


def _sums(values: Sequence[float], clusters: Sequence[Hashable]) -> list[float]:
    sums: dict[Hashable, float] = {}
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + value
    return list(sums.values())
