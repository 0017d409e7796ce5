"""95 % confidence intervals and paired comparisons, each with the source of its formula.

Gates read the pessimistic end of an interval, so an interval that is too short at small n is a safety fault. Every function
here says which method it used; values are rounded to 6 decimals so that two machines write the same record.
Calling any of them without observations is a bug of the caller (assert): no evidence is ``Metric.tuned = None``, never a number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal

from pe_training.evaluation.record import Comparison, Estimate

Z = 1.959963984540054  # 97.5 % point of the standard normal
ALPHA = 0.05
DECIMALS = 6
MAX_EXAMPLES_NEEDED = 1_000_000
UNIT_INTERVAL = (0.0, 1.0)
CLUSTER_WILSON = "cluster-wilson"  # Wilson's interval for the examples that clusters are worth (clusters.py)
RATES = ("wilson", "clopper-pearson")  # methods of a share whose counts are value and n
Bounds = tuple[float, float]


def proportion(successes: int, n: int) -> Estimate:
    """Share of successes with the score interval of Wilson (1927, JASA 22:209). Needs ``n >= 1``."""
    low, high = wilson(successes, n)
    return estimate(successes / n, low, high, n=n, method="wilson")


def exact_proportion(successes: int, n: int) -> Estimate:
    """Share of successes with the interval of Clopper & Pearson (1934, Biometrika 26:404).

    Covers at least 95 % whatever the share is, where Wilson covers 95 % on average over shares; wider by about one example. For
    statements that must hold for every single share; the gates keep Wilson, whose examples needed the policies were written with.
    """
    low, high = clopper_pearson(successes, n)
    return estimate(successes / n, low, high, n=n, method="clopper-pearson")


def clopper_pearson(successes: float, n: float, *, alpha: float = ALPHA) -> tuple[float, float]:
    """The exact binomial interval, unrounded: quantiles of beta distributions, 0 and 1 where there is no failure or success.

    Both may be fractional, for examples that are planned.
    """
    from scipy.special import betaincinv

    assert 0 <= successes <= n, (successes, n)
    assert n >= 1, n
    low = float(betaincinv(successes, n - successes + 1, alpha / 2)) if successes else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - alpha / 2)) if successes < n else 1.0
    return low, high


def wilson(successes: float, n: float, *, alpha: float = ALPHA) -> tuple[float, float]:
    """The Wilson interval, unrounded. Both may be fractional, for examples that are planned or that clusters are worth."""
    assert n > 0, n
    assert 0 <= successes <= n, (successes, n)
    z = Z if alpha == ALPHA else NormalDist().inv_cdf(1 - alpha / 2)
    p, z2 = successes / n, z * z
    centre = p + z2 / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    scale = 1 + z2 / n
    return min(max((centre - half) / scale, 0.0), p), max(min((centre + half) / scale, 1.0), p)


def mean(values: Sequence[float], *, bounds: Bounds = UNIT_INTERVAL) -> Estimate:
    """Mean of values that lie within ``bounds``, with Student's t interval (Student 1908) cut to the bounds.

    Where all values are equal t has no width, which is false certainty at small n. Then the exact bound takes its place: with
    97.5 % confidence at most ``1 - 0.025 ** (1 / n)`` of all values differ (Clopper & Pearson 1934), each by at most the distance
    to a bound.
    """
    value, low, high, method = mean_interval(values, bounds=bounds)
    return estimate(value, low, high, n=len(values), method=method)


def paired_means(tuned: Sequence[float], base: Sequence[float], *, bounds: Bounds = UNIT_INTERVAL) -> Comparison:
    """Mean of ``tuned - base`` on the same examples, Student's t on the differences (as :func:`mean` where all are equal)."""
    assert len(tuned) == len(base), (len(tuned), len(base))
    width = bounds[1] - bounds[0]
    value, low, high, method = mean_interval([t - b for t, b in zip(tuned, base, strict=True)], bounds=(-width, width))
    return comparison(value, low, high, n=len(tuned), method=f"paired-{method}")


def paired_proportions(tuned: Sequence[bool], base: Sequence[bool]) -> Comparison:
    """Difference of two shares on the same examples, ``tuned - base``, with an exact p.

    Interval: method 10 of Newcombe (1998, Stat. Med. 17:2635), which combines the Wilson intervals of both shares with a
    continuity-corrected phi. p: McNemar (1947), exact two-sided binomial over the discordant pairs.
    """
    assert len(tuned) == len(base) > 0, (len(tuned), len(base))
    pairs = list(zip(tuned, base, strict=True))
    both, gained, lost = pairs.count((True, True)), pairs.count((True, False)), pairs.count((False, True))
    return paired_counts(both=both, gained=gained, lost=lost, neither=len(pairs) - both - gained - lost)


def paired_counts(*, both: int, gained: int, lost: int, neither: int) -> Comparison:
    """:func:`paired_proportions` from the four counts of pairs; ``gained``: only the tuned model succeeded."""
    value, low, high = newcombe(both=both, gained=gained, lost=lost, neither=neither)
    n = both + gained + lost + neither
    return comparison(value, low, high, n=n, method="newcombe-10", p_value=mcnemar_exact(gained, lost))


def newcombe(*, both: float, gained: float, lost: float, neither: float, alpha: float = ALPHA) -> tuple[float, float, float]:
    """Value and both ends of method 10 of Newcombe (1998), unrounded. Counts may be fractional, as for :func:`wilson`."""
    n = both + gained + lost + neither
    p_tuned, p_base = (both + gained) / n, (both + lost) / n
    tuned_low, tuned_high = wilson(both + gained, n, alpha=alpha)
    base_low, base_high = wilson(both + lost, n, alpha=alpha)
    spread = (both + gained) * (neither + lost) * (both + lost) * (neither + gained)
    agreement = float(both * neither - gained * lost)
    if agreement > 0:
        agreement = max(agreement - n / 2, 0.0)
    phi = agreement / math.sqrt(spread) if spread else 0.0
    value = p_tuned - p_base
    below = _combined(p_tuned - tuned_low, base_high - p_base, phi)
    above = _combined(p_base - base_low, tuned_high - p_tuned, phi)
    return value, max(value - below, -1.0), min(value + above, 1.0)


def mcnemar_exact(gained: int, lost: int) -> float:
    """Two-sided exact p of McNemar's test: as unequal a split of the discordant pairs, were gain and loss equally likely."""
    n, k = gained + lost, min(gained, lost)
    tail = sum(math.comb(n, i) for i in range(k + 1))
    return min(1.0, 2 * tail / (1 << n))


def examples_needed(found: Estimate, *, threshold: float, bound: Literal["at_least", "at_most"], alpha: float = ALPHA) -> int | None:
    """How many more examples, at the observed value, until the interval clears or misses ``threshold``. Clusters, where ``n`` counts them.

    0 where it is decided already; ``None`` where not even 1,000,000 more would decide. Shares: the Wilson interval at the
    observed rate. Other methods: the distance to the end in question shrinks with the square root of n. ``alpha``: the level that
    ``found`` was widened to, where that is not 5 %; shares are then planned with the exact interval.
    """
    plain = alpha == ALPHA
    each = 1.0 if found.method in RATES else _worth_each(found) if plain and found.method == CLUSTER_WILSON else None
    passing = found.value >= threshold if bound == "at_least" else found.value <= threshold
    deciding_low = passing == (bound == "at_least")  # the low end decides where the value lies above the threshold

    def decided(more: int) -> bool:
        n = found.n + more
        if each is not None:
            successes, worth = min(found.value * n * each, n * each), n * each
            low, high = wilson(successes, worth) if plain else clopper_pearson(successes, worth, alpha=alpha)
        else:
            shrink = math.sqrt(found.n / n)
            low, high = found.value - (found.value - found.low) * shrink, found.value + (found.high - found.value) * shrink
        if deciding_low:
            return low >= threshold if passing else low > threshold
        return high <= threshold if passing else high < threshold

    if not decided(MAX_EXAMPLES_NEEDED):
        return None
    few, many = -1, MAX_EXAMPLES_NEEDED
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if decided(middle) else (middle, many)
    return many


def estimate(value: float, low: float, high: float, *, n: int, method: str, examples: int | None = None) -> Estimate:
    """An estimate with its floats rounded to 6 decimals. ``examples``: how many ``n`` clusters hold."""
    return Estimate(value=rounded(value), low=rounded(low), high=rounded(high), n=n, method=method, examples=examples)


def comparison(
    value: float, low: float, high: float, *, n: int, method: str, p_value: float | None = None, examples: int | None = None
) -> Comparison:
    """A comparison with its floats rounded to 6 decimals. ``examples``: how many ``n`` clusters hold."""
    p = None if p_value is None else rounded(p_value)
    return Comparison(value=rounded(value), low=rounded(low), high=rounded(high), n=n, method=method, p_value=p, examples=examples)


def rounded(value: float) -> float:
    """``value`` to 6 decimals, without negative zero."""
    return round(float(value), DECIMALS) + 0.0


def student_t(degrees: float, *, alpha: float = ALPHA) -> float:
    """Upper ``alpha / 2`` point of Student's t, 97.5 % unless told otherwise."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 1 - alpha / 2))


def mean_interval(values: Sequence[float], *, bounds: Bounds, alpha: float = ALPHA) -> tuple[float, float, float, str]:
    """Value, both ends and method of :func:`mean`, unrounded."""
    n, (floor, ceiling) = len(values), bounds
    assert n >= 1, n
    assert all(floor <= value <= ceiling for value in values), bounds
    if min(values) == max(values):
        value, differing = values[0], 1 - (alpha / 2) ** (1 / n)
        return value, value - differing * (value - floor), value + differing * (ceiling - value), "constant-exact"
    value = math.fsum(values) / n
    variance = math.fsum((v - value) ** 2 for v in values) / (n - 1)
    half = student_t(n - 1, alpha=alpha) * math.sqrt(variance / n)
    return value, max(value - half, floor), min(value + half, ceiling), "student-t"


def _combined(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0))


def _worth_each(found: Estimate) -> float:
    """How many independent examples a cluster is worth, from the width of its Wilson interval."""
    few, many = 1e-6, 1e9
    for _ in range(100):
        middle = math.sqrt(few * many)
        low, high = wilson(min(found.value * middle, middle), middle)
        few, many = (middle, many) if high - low > found.high - found.low else (few, middle)
    return few / found.n
