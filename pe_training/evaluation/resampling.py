"""Bootstraps of anything computed from column totals: by unit, by cluster, within strata. Every draw comes from a given seed.

What is drawn is what was sampled: a dialogue, a scenario, a source. Never a token, which is not independent of the others in its
dialogue. Means, shares and ratios need none of this (``statistics.py``, ``ratios.py``): their closed forms cover better at small n
(ADR 0019).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING

from pe_training.evaluation.record import Estimate
from pe_training.evaluation.statistics import ALPHA, estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Statistic = Callable[[Floats], Floats]  # (samples, columns) totals -> (samples,) values

DRAWS = 5000
CHUNK_CELLS = 2_000_000  # drawn at a time: 16 MB of weights


def bootstrap(
    columns: Floats,
    statistic: Statistic,
    *,
    seed: int,
    clusters: Sequence[Hashable] | None = None,
    strata: Sequence[Hashable] | None = None,
) -> Estimate:
    """``statistic`` of the totals of ``columns`` (units, columns) with its BCa interval (see :func:`bca`); ``n`` counts clusters.

    Give ``clusters`` where units hang together (replies of one conversation, dialogues of one source), and ``strata`` where the
    number of clusters of each kind was fixed beforehand. Needs two clusters in every stratum.
    """
    import numpy as np

    parts = by_stratum(columns, clusters=clusters, strata=strata)
    total = sum(part.sum(axis=0) for part in parts)
    value = float(statistic(total[None, :])[0])
    without = [statistic(total - part.sum(axis=0) + (part.sum(axis=0) - part) * len(part) / (len(part) - 1)) for part in parts]
    draws = statistic(resampled_totals(columns, seed=seed, clusters=clusters, strata=strata))
    assert not np.isnan(draws).any(), "the statistic must be defined for every sample"
    low, high = bca(value, draws, without=without)
    kind = f"{'stratified-' if strata is not None else ''}{'cluster-' if clusters is not None else ''}bca-{DRAWS}"
    n = sum(map(len, parts))
    held = None if n == len(columns) else len(columns)
    return estimate(value, min(value, low), max(value, high), n=n, method=kind, examples=held)


def resampled_totals(
    columns: Floats,
    *,
    seed: int,
    draws: int = DRAWS,
    clusters: Sequence[Hashable] | None = None,
    strata: Sequence[Hashable] | None = None,
) -> Floats:
    """Totals of ``columns`` (units, columns) in ``draws`` bootstrap samples: shape (draws, columns).

    Whole clusters are drawn, independently in each stratum (Davison & Hinkley 1997, 3.2 and 3.8): of m clusters m - 1, their
    totals times m / (m - 1), which takes the bootstrap's bias towards too small a variance away (Rao & Wu 1988, JASA 83:231).
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    found = np.zeros((draws, columns.shape[1]))
    for part in by_stratum(columns, clusters=clusters, strata=strata):
        size = len(part)
        rows, counts = np.unique(part, axis=0, return_counts=True)
        start = 0
        for weights in drawn_weights(counts, generator, draws=draws, size=size - 1):
            found[start : start + len(weights)] += weights @ rows * (size / (size - 1))
            start += len(weights)
    return found


def bca(
    value: float, draws: Floats, *, without: Sequence[Floats], times: Floats | None = None, alpha: float = ALPHA
) -> tuple[float, float]:
    """Bias-corrected and accelerated interval (Efron 1987, JASA 82:171; the acceleration over strata: Davison & Hinkley 1997, 5.4).

    ``without``: per stratum, the statistic without each unit in turn; ``times`` how many units share each of these values. Matters
    where a statistic is skewed and its draws are biased, as for macro-F1, kappa or anything near an end of its range: there
    percentiles miss on one side. It does not help where weights of clusters are very unequal (ADR 0019: use ``ratios.py``).
    """
    import numpy as np
    from scipy.special import ndtr, ndtri

    centred = []
    for values in without:
        share = np.full(len(values), 1.0) if times is None else times
        size = float(share.sum())
        centred.append(((size - 1) * (float((share * values).sum()) / size - values), share, size))
    second = sum(float((share * u**2).sum()) / size**2 for u, share, size in centred)
    third = sum(float((share * u**3).sum()) / size**3 for u, share, size in centred)
    acceleration = third / (6 * second**1.5) if second**1.5 > 0 else 0.0
    below = float((draws < value).mean() + (draws == value).mean() / 2)
    bias = float(ndtri(min(max(below, 1 / len(draws)), 1 - 1 / len(draws))))
    ends = []
    for z in (float(ndtri(alpha / 2)), float(ndtri(1 - alpha / 2))):
        shrink = 1 - acceleration * (bias + z)
        level = float(ndtr(bias + (bias + z) / shrink)) if shrink > 0 else float(z > 0)
        ends.append(quantile(draws, level))
    return ends[0], ends[1]


def quantile(draws: Floats, share: float) -> float:
    """The ``share`` quantile of draws, linear between them."""
    import numpy as np

    return float(np.quantile(draws, share))


def by_stratum(columns: Floats, *, clusters: Sequence[Hashable] | None, strata: Sequence[Hashable] | None) -> list[Floats]:
    """Totals of each cluster, one array (clusters, columns) a stratum, both in order of first appearance."""
    import numpy as np

    if clusters is None and strata is None:
        assert len(columns) >= 2, "one cluster has no interval"
        return [columns]
    names = range(len(columns)) if clusters is None else clusters
    kinds = [None] * len(columns) if strata is None else strata
    assert len(columns) == len(names) == len(kinds), (len(columns), len(names), len(kinds))
    of: dict[Hashable, Hashable] = {}
    for name, kind in zip(names, kinds, strict=True):
        assert of.setdefault(name, kind) == kind, "a cluster lies in one stratum"
    place = {name: i for i, name in enumerate(of)}
    totals = np.zeros((len(of), columns.shape[1]))
    np.add.at(totals, [place[name] for name in names], columns)
    members: dict[Hashable, list[int]] = {}
    for name, kind in of.items():
        members.setdefault(kind, []).append(place[name])
    assert members, "no units"
    assert all(len(own) >= 2 for own in members.values()), "one cluster has no interval"
    return [totals[own] for own in members.values()]


def drawn_weights(counts: NDArray[np.int64], generator: np.random.Generator, *, draws: int, size: int) -> Iterator[Floats]:
    """How often each distinct row, of which there are ``counts``, is drawn in each of ``draws`` samples of ``size`` units with replacement.

    In chunks (samples, rows). Few distinct rows: multinomial over them, whose cost does not grow with the number of units. Many: units by
    index, counted, which is seven times as fast as a multinomial over so many.
    """
    import numpy as np

    kinds, units = len(counts), int(counts.sum())
    few = kinds * 4 <= units
    chunk = max(1, CHUNK_CELLS // (kinds if few else units))
    owner = np.repeat(np.arange(kinds), counts)
    for start in range(0, draws, chunk):
        many = min(chunk, draws - start)
        if few:
            yield generator.multinomial(size, counts / units, size=many).astype(np.float64)
            continue
        drawn = owner[generator.integers(0, units, size=(many, size))]
        drawn += (np.arange(many) * kinds)[:, None]
        yield np.bincount(drawn.ravel(), minlength=many * kinds).reshape(many, kinds).astype(np.float64)
