"""Ratios of totals over unequal clusters, e.g. loss per token over dialogues: closed-form intervals, no draws.

A few long dialogues hold most of the tokens, so n dialogues say less than n equal ones would. The leave-one-out variance with Student's
t at the effective number of dialogues takes that into account; simulated coverage beside four bootstraps is in ADR 0019.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from pe_training.core.errors import Kind, PeError
from pe_training.evaluation.record import Comparison, Estimate
from pe_training.evaluation.statistics import comparison, estimate, student_t


def weighted_ratio(
    numerators: Sequence[float],
    denominators: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    strata: Sequence[Hashable] | None = None,
) -> Estimate:
    """``sum(numerators) / sum(denominators)``. Without ``clusters`` every pair is one; ``n`` counts clusters, at least two a stratum.

    Variance: the jackknife that leaves out one cluster in turn, within its stratum (Rust & Rao 1996, Stat. Methods Med. Res. 5:283).
    Degrees of freedom: Satterthwaite (1946) as used by Bell & McCaffrey (2002), for clusters whose variance grows with their size:
    ``sum(d)**2 / sum(d**2) - 1`` (Kish's effective sample size, less one), at least 1. A perfect proportion leaves no width.
    Raises divergence where a numerator is not a finite number.
    """
    value, half, n = _interval(numerators, denominators, clusters=clusters, strata=strata)
    method = "cluster-jackknife-t" if strata is None else "stratified-jackknife-t"
    return estimate(value, value - half, value + half, n=n, method=method, examples=_held(numerators, n))


def weighted_ratio_difference(
    tuned: Sequence[float],
    base: Sequence[float],
    denominators: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    strata: Sequence[Hashable] | None = None,
) -> Comparison:
    """``weighted_ratio(tuned) - weighted_ratio(base)`` over the same clusters, which are left out together."""
    differences = [t - b for t, b in zip(tuned, base, strict=True)]
    value, half, n = _interval(differences, denominators, clusters=clusters, strata=strata)
    kind = "cluster" if strata is None else "stratified"
    return comparison(value, value - half, value + half, n=n, method=f"paired-{kind}-jackknife-t", examples=_held(differences, n))


def perplexity(loss: Estimate) -> Estimate:
    """``exp`` of a loss in nats per token; exp is monotone, so it carries the interval over. Raises divergence above e^700."""
    if loss.high > 700:
        raise PeError(Kind.DIVERGENCE, "the loss is too large for a perplexity", hint="the weights are not a language model any more")
    return estimate(
        math.exp(loss.value), math.exp(loss.low), math.exp(loss.high), n=loss.n, method=loss.method, examples=loss.examples
    )  # fmt: skip


def jackknife(value: float, leave_one_out: Sequence[float], *, degrees: float | None = None) -> tuple[float, float]:
    """Low and high end around a statistic from its values without each unit in turn (Tukey 1958), with Student's t. Needs n >= 2.

    ``degrees`` of freedom: one fewer than there are units, unless they are of unequal size.
    """
    n = len(leave_one_out)
    centre = math.fsum(leave_one_out) / n
    half = student_t(n - 1 if degrees is None else degrees) * math.sqrt((n - 1) / n * math.fsum((v - centre) ** 2 for v in leave_one_out))
    return value - half, value + half


def _held(pairs: Sequence[float], n: int) -> int | None:
    """How many pairs ``n`` clusters hold, where that is not one each."""
    return None if len(pairs) == n else len(pairs)


def _interval(
    numerators: Sequence[float],
    denominators: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None,
    strata: Sequence[Hashable] | None,
) -> tuple[float, float, int]:
    """Value, half width and number of clusters."""
    import numpy as np

    from pe_training.evaluation.resampling import by_stratum

    assert len(numerators) == len(denominators) >= 2, "one cluster has no interval"
    pairs = np.array([numerators, denominators], dtype=np.float64).T
    assert bool((pairs[:, 1] > 0).all()), "every cluster needs a positive weight"
    if not np.isfinite(pairs[:, 0]).all():
        raise PeError(Kind.DIVERGENCE, "a loss is not a finite number", hint="the weights are not a language model any more")
    over, under = math.fsum(numerators), math.fsum(denominators)
    value, variance, spread, n = over / under, 0.0, 0.0, 0
    for part in by_stratum(pairs, clusters=clusters, strata=strata):
        size, total = len(part), part.sum(axis=0)
        left = np.array([over, under]) - total + (total - part) * size / (size - 1)
        own = (size - 1) / size * math.fsum((left[:, 0] / left[:, 1] - value) ** 2)
        effective = float(total[1] ** 2 / (part[:, 1] ** 2).sum())
        variance, spread, n = variance + own, spread + own**2 / max(effective - 1, 1.0), n + size
    degrees = max(variance**2 / spread, 1.0) if spread > 0 else 1.0
    return value, student_t(degrees) * math.sqrt(variance), n
