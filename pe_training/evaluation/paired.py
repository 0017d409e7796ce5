"""Paired tests beyond McNemar's, correction for many of them, and the power of the paired gate.

The same examples are put to both models, so each example is its own control: a true change of +5 points (10 % of 400 examples fixed,
5 % broken) is found 70 times in 100 by the exact McNemar test, and 30 to 40 times by a test that forgets the pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pe_training.evaluation.statistics import ALPHA

EXACT_PAIRS = 16  # that differ: up to 65,536 sign patterns are counted out
PATTERNS = 9_999  # drawn where there are more
MAX_PAIRS = 1_000_000
_CHUNK_CELLS = 2_000_000


def paired_permutation(differences: Sequence[float], *, seed: int) -> float:
    """Two-sided p that ``differences`` of pairs lie about zero by chance, if each could as well have had the other sign (Fisher 1935).

    Counted out for up to 16 pairs that differ. Above that 9,999 sign patterns are drawn and p is ``(b + 1) / (m + 1)``, which is
    never zero and never too small on average (Phipson & Smyth 2010). For outcomes of yes and no it is exact McNemar.
    """
    import numpy as np

    assert len(differences) > 0, "no pairs"
    assert all(map(math.isfinite, differences)), "a difference is not a finite number"
    sizes = np.abs([d for d in differences if d != 0])
    count, total = len(sizes), math.fsum(sizes)
    if not count:
        return 1.0
    reached = abs(math.fsum(differences)) - 1e-9 * total  # sums in another order differ in the last bits
    if count <= EXACT_PAIRS:
        positive = (np.arange(1 << count)[:, None] >> np.arange(count)) & 1
        return float((np.abs(2.0 * (positive @ sizes) - total) >= reached).mean())
    generator, extreme = np.random.default_rng(seed), 0
    chunk = max(1, _CHUNK_CELLS // count)
    for start in range(0, PATTERNS, chunk):
        many = min(chunk, PATTERNS - start)
        bits = np.frombuffer(generator.bytes(many * (count // 8 + 1)), np.uint8).reshape(many, -1)
        drawn = np.unpackbits(bits, axis=1, count=count)
        extreme += int((np.abs(2.0 * (drawn.astype(np.float64) @ sizes) - total) >= reached).sum())
    return (extreme + 1) / (PATTERNS + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: those up to 0.05 may all be believed with 5 % risk of any error, whatever ties the tests (Holm 1979)."""
    adjusted, highest, count = [1.0] * len(p_values), 0.0, len(p_values)
    for rank, index in enumerate(sorted(range(count), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def mcnemar_power(pairs: int, *, gained: float, lost: float, alpha: float = ALPHA) -> float:
    """Chance that the exact two-sided McNemar test finds the tuned model better, exactly.

    ``gained`` and ``lost``: share of examples that only the tuned, only the base model gets right. With both equal it is the chance
    of a false finding, at most ``alpha / 2``.
    """
    import numpy as np
    from scipy.stats import binom

    assert pairs >= 1, pairs
    assert min(gained, lost) >= 0, (gained, lost)
    assert 0 < gained + lost <= 1, (gained, lost)
    share = gained + lost
    reach = 12 * math.sqrt(pairs * share * (1 - share)) + 12  # beyond 12 standard deviations lies less than a rounding error
    differing = np.arange(max(0, math.floor(pairs * share - reach)), min(pairs, math.ceil(pairs * share + reach)) + 1)
    ceiling = binom.ppf(alpha / 2, differing, 0.5)  # losses at which the test still says better, or one more
    allowed = ceiling - (2 * binom.cdf(ceiling, differing, 0.5) > alpha)
    return float((binom.pmf(differing, pairs, share) * binom.cdf(allowed, differing, lost / share)).sum())


def pairs_needed(*, gained: float, lost: float, power: float = 0.8, alpha: float = ALPHA) -> int | None:
    """Examples with which the exact McNemar test has this power, found by halving.

    The power of an exact test rises with small steps back, so a slightly smaller number may do as well. ``None`` where ``gained``
    does not exceed ``lost``, or where 1,000,000 examples are not enough.
    """
    if gained <= lost:
        return None
    many = 1
    while mcnemar_power(many, gained=gained, lost=lost, alpha=alpha) < power:
        many *= 2
        if many > MAX_PAIRS:
            return None
    few = many // 2
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if mcnemar_power(middle, gained=gained, lost=lost, alpha=alpha) >= power else (middle, many)
    return many
