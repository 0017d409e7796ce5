"""Intervals by resampling, for measures that are not a mean of independent examples. Every draw comes from a given seed.

Percentile bootstrap (Efron & Tibshirani 1993, ch. 13) over the unit that was sampled: a dialogue, a scenario, a text. Never over
tokens, which are not independent of each other within a dialogue.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pe_training.core.errors import Kind, PeError
from pe_training.evaluation.record import Comparison, Estimate
from pe_training.evaluation.statistics import ALPHA, comparison, estimate, student_t

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DRAWS = 2000
_CHUNK = 200  # draws at a time, so that memory stays below chunk x clusters x 8 bytes


def weighted_ratio(numerators: Sequence[float], denominators: Sequence[float], *, seed: int) -> Estimate:
    """``sum(numerators) / sum(denominators)`` with a cluster bootstrap over the pairs, e.g. loss per token over dialogues."""
    value, low, high = _ratio_interval(numerators, denominators, seed)
    return estimate(value, low, high, n=len(numerators), method=f"cluster-bootstrap-{DRAWS}")


def weighted_ratio_difference(tuned: Sequence[float], base: Sequence[float], denominators: Sequence[float], *, seed: int) -> Comparison:
    """``weighted_ratio(tuned) - weighted_ratio(base)`` over the same clusters, which are drawn together."""
    differences = [t - b for t, b in zip(tuned, base, strict=True)]
    value, low, high = _ratio_interval(differences, denominators, seed)
    return comparison(value, low, high, n=len(tuned), method=f"paired-cluster-bootstrap-{DRAWS}")


def perplexity(loss: Estimate) -> Estimate:
    """``exp`` of a loss in nats per token; exp is monotone, so it carries the interval over. Raises divergence above e^700."""
    if loss.high > 700:
        raise PeError(Kind.DIVERGENCE, "the loss is too large for a perplexity", hint="the weights are not a language model any more")
    return estimate(math.exp(loss.value), math.exp(loss.low), math.exp(loss.high), n=loss.n, method=loss.method)


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The largest difference between group rates. ``estimate`` is ``None`` where fewer than two groups have enough scenarios."""

    estimate: Estimate | None
    rates: dict[str, float]  # group -> mean score over the shared scenarios
    excluded: dict[str, int]  # group -> its scenarios, too few to count


def largest_gap(cells: Sequence[Mapping[str, float]], *, min_n: int, seed: int) -> Gap:
    """Highest minus lowest group mean over shared scenarios. ``cells``: per scenario, group -> score in 0..1.

    Groups seen in fewer than ``min_n`` scenarios are left out and reported; the rest are compared on the scenarios which all of
    them share. The interval resamples scenarios. To them one imagined scenario is added in which the highest group scores 1
    and the lowest 0, because a few scenarios that happen to agree would otherwise give an upper end of zero (the same
    thought as Agresti & Coull 1998; close to Clopper-Pearson where no scenario differs). Resampled gaps lie above the true
    one on average, so the lower end is the mirror image of the upper. Gates use the upper end.
    """
    import numpy as np

    counts: dict[str, int] = {}
    for cell in cells:
        for group in cell:
            counts[group] = counts.get(group, 0) + 1
    groups = sorted(group for group, count in counts.items() if count >= min_n)
    excluded = {group: count for group, count in sorted(counts.items()) if count < min_n}
    shared = [[cell[group] for group in groups] for cell in cells if all(group in cell for group in groups)]
    if len(groups) < 2 or len(shared) < max(min_n, 1):
        return Gap(estimate=None, rates={}, excluded=excluded)
    scores = np.array(shared, dtype=np.float64)
    rates = scores.mean(axis=0)
    top, bottom = int(rates.argmax()), int(rates.argmin())
    imagined = rates.copy()
    if top == bottom:
        top, bottom = 0, 1
    imagined[top], imagined[bottom] = 1.0, 0.0
    padded, n = np.vstack([scores, imagined]), len(shared)
    gaps = _draw(n + 1, seed, lambda weights: np.ptp(weights @ padded / (n + 1), axis=1))
    value = float(np.ptp(rates))
    high = max(value, _quantile(gaps, 1 - ALPHA / 2))
    found = estimate(value, max(0.0, 2 * value - high), high, n=n, method=f"scenario-bootstrap-{DRAWS}-plus-one")
    return Gap(estimate=found, rates=dict(zip(groups, (float(rate) for rate in rates), strict=True)), excluded=excluded)


def macro_f1(expected: Sequence[str], predicted: Sequence[str], *, seed: int) -> Estimate:
    """Unweighted mean of the F1 of every class that occurs; bootstrap over texts by drawing confusion cells.

    Drawing cells from a multinomial is the same as drawing texts, and its cost does not grow with their number.
    """
    value, draws = _macro_f1_draws([expected, predicted], seed=seed, of=1)
    return estimate(*_around(value, draws), n=len(expected), method=f"multinomial-bootstrap-{DRAWS}")


def macro_f1_difference(expected: Sequence[str], tuned: Sequence[str], base: Sequence[str], *, seed: int) -> Comparison:
    """Macro-F1 of ``tuned`` minus that of ``base``, both from the same draws of texts."""
    columns = [expected, tuned, base]
    value_tuned, draws_tuned = _macro_f1_draws(columns, seed=seed, of=1)
    value_base, draws_base = _macro_f1_draws(columns, seed=seed, of=2)
    value, low, high = _around(value_tuned - value_base, draws_tuned - draws_base)
    return comparison(value, low, high, n=len(expected), method=f"paired-multinomial-bootstrap-{DRAWS}")


def jackknife(value: float, leave_one_out: Sequence[float]) -> tuple[float, float]:
    """Low and high end around a statistic from its values without each unit in turn (Tukey 1958), with Student's t. Needs n >= 2."""
    n = len(leave_one_out)
    centre = math.fsum(leave_one_out) / n
    half = student_t(n - 1) * math.sqrt((n - 1) / n * math.fsum((v - centre) ** 2 for v in leave_one_out))
    return value - half, value + half


def _ratio_interval(numerators: Sequence[float], denominators: Sequence[float], seed: int) -> tuple[float, float, float]:
    import numpy as np

    assert len(numerators) == len(denominators) >= 2, "one cluster has no interval"
    over, under = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    assert bool((under > 0).all()), "every cluster needs a positive weight"
    if not np.isfinite(over).all():
        raise PeError(Kind.DIVERGENCE, "a loss is not a finite number", hint="the weights are not a language model any more")
    ratios = _draw(len(over), seed, lambda weights: (weights @ over) / (weights @ under))
    return _around(math.fsum(over) / math.fsum(under), ratios)


def _draw(units: int, seed: int, statistic: Callable[[Floats], Floats]) -> Floats:
    """``statistic`` of DRAWS bootstrap weightings: rows are draws, columns how often each unit was drawn."""
    import numpy as np

    generator = np.random.default_rng(seed)
    even = np.full(units, 1 / units)
    chunks = [statistic(generator.multinomial(units, even, size=_CHUNK).astype(np.float64)) for _ in range(DRAWS // _CHUNK)]
    return np.concatenate(chunks)


def _macro_f1_draws(columns: Sequence[Sequence[str]], *, seed: int, of: int) -> tuple[float, Floats]:
    """Macro-F1 of column ``of`` against column 0: the point value and its bootstrap draws over rows of all columns."""
    import numpy as np

    rows = list(zip(*columns, strict=True))
    assert rows, "no texts"
    tally = Counter(rows)
    cells = sorted(tally)
    classes = sorted({cell[0] for cell in cells} | {cell[of] for cell in cells})
    counts = np.array([tally[cell] for cell in cells], dtype=np.float64)
    draws = np.random.default_rng(seed).multinomial(len(rows), counts / counts.sum(), size=DRAWS).astype(np.float64)
    every = np.vstack([counts, draws])
    total, present = np.zeros(len(every)), np.zeros(len(every))
    for name in classes:
        true = every[:, [cell[0] == name for cell in cells]].sum(axis=1)
        called = every[:, [cell[of] == name for cell in cells]].sum(axis=1)
        hits = every[:, [cell[0] == cell[of] == name for cell in cells]].sum(axis=1)
        occurs = (true + called) > 0
        total += np.divide(2 * hits, true + called, out=np.zeros_like(hits), where=occurs)
        present += occurs
    scores = total / present
    return float(scores[0]), scores[1:]


def _around(value: float, draws: Floats) -> tuple[float, float, float]:
    """Value and percentile interval, widened to hold the value itself."""
    return value, min(value, _quantile(draws, ALPHA / 2)), max(value, _quantile(draws, 1 - ALPHA / 2))


def _quantile(draws: Floats, share: float) -> float:
    import numpy as np

    return float(np.quantile(draws, share))
