"""What repeated tries cost: the level of the k-th one, and intervals at that level.

A gate that lets one bad model in forty through lets every line through that asks often enough. So a line has one chance of error for a
stage, ``alpha``, and its tries share it: the k-th may spend ``alpha / (k (k + 1))``, which sums to ``alpha`` however many there are
(``1/k - 1/(k+1)``, the terms cancel; Bonferroni 1936 allows any such series). With ``alpha`` .05 the first try spends .025, which is just
the 95 % interval that every report holds, and later ones shrink as slowly as a series with a finite sum well can. That a try is
like those before it does not matter to Bonferroni, and that all rules must pass makes their number harmless (Berger 1982).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from pe_training.evaluation.record import Comparison, Estimate
from pe_training.evaluation.statistics import ALPHA, RATES, clopper_pearson, newcombe, rounded, student_t
from pe_training.promotion.policy import Tries, scale

Found = Estimate | Comparison
_STUDENT = ("student-t", "paired-student-t")
_CONSTANT = ("constant-exact", "paired-constant-exact")


@dataclass(frozen=True, kw_only=True)
class Level:
    """Two-sided levels: of this try, and of the next one, at which more examples would be judged."""

    alpha: float = ALPHA
    ahead: float = ALPHA

    @property
    def confidence(self) -> float:
        """Of the interval that this try is judged on."""
        return rounded(1 - self.alpha)


PLAIN = Level()


def level_of(tries: Tries | None, attempt: int | None) -> Level:
    """The levels of the ``attempt``-th try. A policy that counts no tries judges all of them at 95 %."""
    if tries is None or attempt is None:
        return PLAIN
    return Level(alpha=_two_sided(tries.alpha, attempt), ahead=_two_sided(tries.alpha, attempt + 1))


def spent(alpha: float, attempt: int) -> float:
    """The chance that the ``attempt``-th try may pass a model that should not: one-sided, as a gate reads one end."""
    assert attempt >= 1, attempt
    return alpha / (attempt * (attempt + 1))


def _two_sided(alpha: float, attempt: int) -> float:
    once = 2 * spent(alpha, attempt)
    return ALPHA if math.isclose(once, ALPHA) else once


def widened(found: Found, *, unit: str, of: str, alpha: float, shares: tuple[Estimate | None, Estimate | None] = (None, None)) -> Found:
    """``found`` with the interval of another level; as it is at 5 %. ``shares``: of the two models of a difference, where known.

    Exact for shares (Clopper & Pearson, so that the chance is kept whatever the share is), for paired shares where their counts can be told
    from them (Newcombe), for Student's t and for values that are all equal. Of any other method the distance to each end grows by the
    square of the ratio of Student's quantiles: enough for Wilson's formula, whose ends move by no more than that, and for draws whose
    tails are exponential and not normal, while a percentile of 2,000 draws cannot be moved further out at all.
    """
    if alpha == ALPHA:
        return found
    if found.method in RATES:
        low, high = clopper_pearson(round(found.value * found.n), found.n, alpha=alpha)
        return found.model_copy(update={"low": rounded(low), "high": rounded(high), "method": "clopper-pearson"})
    if ends := _newcombe(found, shares, alpha=alpha):
        return found.model_copy(update={"low": rounded(ends[0]), "high": rounded(ends[1])})
    factor = _factor(found.method, found.n, alpha)
    floor, ceiling = scale(unit, of=of)
    low = max(found.value - (found.value - found.low) * factor, min(floor, found.low))
    high = min(found.value + (found.high - found.value) * factor, max(ceiling, found.high))
    return found.model_copy(update={"low": rounded(low), "high": rounded(high)})


def _factor(method: str, n: int, alpha: float) -> float:
    """How much further from the value the ends of an interval lie."""
    if method in _CONSTANT:
        return (1 - math.pow(alpha / 2, 1 / n)) / (1 - math.pow(ALPHA / 2, 1 / n))
    ratio = student_t(max(n - 1, 1), alpha=alpha) / student_t(max(n - 1, 1))
    return ratio if method in _STUDENT else ratio * ratio


def _newcombe(found: Found, shares: tuple[Estimate | None, Estimate | None], *, alpha: float) -> tuple[float, float] | None:
    """Newcombe's ends from the counts of pairs, where both shares are of the same examples and some counts give the stored interval."""
    mine, theirs = shares
    if found.method != "newcombe-10" or mine is None or theirs is None or not mine.n == theirs.n == found.n:
        return None
    return _paired(found.n, round(mine.value * mine.n), round(theirs.value * theirs.n), (found.low, found.high), alpha)


@lru_cache(maxsize=256)
def _paired(n: int, mine: int, theirs: int, stored: tuple[float, float], alpha: float) -> tuple[float, float] | None:
    """The widest of the intervals whose 95 % form is the stored one; one count, of pairs where both succeeded, is not known."""
    ends: list[tuple[float, float]] = []
    for both in range(max(0, mine + theirs - n), min(mine, theirs) + 1):
        counts = {"both": both, "gained": mine - both, "lost": theirs - both, "neither": n - mine - theirs + both}
        if tuple(map(rounded, newcombe(**counts)[1:])) == stored:
            ends.append(newcombe(**counts, alpha=alpha)[1:])
    return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else None
