"""Scores of a classifier's probabilities: ranking (AUROC, AUPRC), closeness (Brier) and calibration, with their bootstrap draws.

A bootstrap of a ranking without a mistake, or of probabilities that fit perfectly, would say that nothing else is possible, however
few the texts. So every draw is made over the texts and imagined ones that go wrong (as ``groups.largest_gap`` does, after Agresti &
Coull 1998, Am. Stat. 52:119): the value is that of the real texts, its interval is honest at small n.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pe_training.evaluation.clusters import Clusters, bootstrap_alpha, numbered, together
from pe_training.evaluation.record import Comparison, Estimate
from pe_training.evaluation.resampling import CHUNK_CELLS, drawn_weights
from pe_training.evaluation.statistics import ALPHA, comparison, estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ranking = Callable[[Floats, Floats], Floats]  # weights of positives and of negatives by tie, best first -> score of each draw

Probabilities = Mapping[str, float]  # label -> probability, summing to 1, in the classifier's own order
DRAWS = 2000
BINS = 10


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A score with its bootstrap draws; two scores of the same texts and seed have the same draws of texts."""

    value: float
    draws: Floats
    n: int
    method: str
    alpha: float = ALPHA  # of the percentiles that cover 95 %: less where few clusters were drawn
    examples: int | None = None  # in the n clusters

    def estimate(self) -> Estimate:
        """The score with its interval, within 0..1."""
        ends = _ends(self.value, self.draws, floor=0.0, alpha=self.alpha)
        return estimate(*ends, n=self.n, method=self.method, examples=self.examples)

    def minus(self, other: Drawn) -> Comparison:
        """This score minus another of the same texts."""
        ends = _ends(self.value - other.value, self.draws - other.draws, floor=-1.0, alpha=self.alpha)
        return comparison(*ends, n=self.n, method=f"paired-{self.method}", examples=self.examples)


def label_of(probabilities: Probabilities) -> str:
    """The most probable label; of equals the classifier's first."""
    return max(probabilities, key=lambda label: probabilities[label])


def half_brier(expected: str, probabilities: Probabilities) -> float:
    """Half the squared distance to certainty in the right label, 0 (certain and right) to 1 (certain and wrong).

    Brier (1950, Mon. Weather Rev. 78:1); halved, so that two classes give the usual binary score. A label that the classifier
    does not have gets no probability from it.
    """
    squares = sum(p * p for p in probabilities.values())
    return min(max((squares + 1 - 2 * probabilities.get(expected, 0.0)) / 2, 0.0), 1.0)


def auroc(expected: Sequence[str], given: Sequence[Probabilities], *, seed: int, clusters: Clusters = None) -> Drawn | None:
    """Probability that a text of a class is ranked above one of another, mean over classes. ``None`` below two classes.

    One class against the rest, ties count half (Hanley & McNeil 1982, Radiology 143:29). 0.5 is chance.
    """
    return _macro(expected, given, seed=seed, ranking=_area_under_roc, method="auroc", clusters=clusters)


def auprc(expected: Sequence[str], given: Sequence[Probabilities], *, seed: int, clusters: Clusters = None) -> Drawn | None:
    """Average precision, mean over classes (Davis & Goadrich 2006, ICML). Chance is a class's share. ``None`` below two classes."""
    return _macro(expected, given, seed=seed, ranking=_average_precision, method="average-precision", clusters=clusters)


def calibration_error(expected: Sequence[str], given: Sequence[Probabilities], *, seed: int, clusters: Clusters = None) -> Drawn:
    """Expected calibration error of the label that is given, in 10 equal bins (Naeini et al. 2015, AAAI; Guo et al. 2017, ICML)."""
    import numpy as np

    placed = [bin_of(row[label_of(row)]) for row in given]
    gaps = np.zeros((len(given) + 1, BINS))
    for i, (label, row) in enumerate(zip(expected, given, strict=True)):
        gaps[i, placed[i]] = float(label_of(row) == label) - row[label_of(row)]
    fullest = max(range(BINS), key=lambda number: (placed.count(number), number))
    gaps[-1, fullest] = 1.0 if gaps[:, fullest].sum() > 0 else -1.0
    value = float(np.abs(gaps[:-1].sum(axis=0)).sum()) / len(given)

    def statistic(weights: Floats) -> Floats:
        return np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)  # type: ignore[no-any-return]

    return _drawn(value, statistic, texts=len(given), imagined=1, seed=seed, method=f"bootstrap-{DRAWS}-plus-one", clusters=clusters)


def bin_of(confidence: float) -> int:
    """The number of a confidence's bin, 0 to 9; 1.0 belongs to the last."""
    return min(int(confidence * BINS), BINS - 1)


def _macro(
    expected: Sequence[str], given: Sequence[Probabilities], *, seed: int, ranking: Ranking, method: str, clusters: Clusters
) -> Drawn | None:
    import numpy as np

    classes = sorted(set(expected))
    if len(classes) < 2:
        return None
    n = len(expected)
    scored = [
        _Ranked.of([row.get(name, 0.0) for row in given], [label == name for label in expected]) for name in classes
    ]  # fmt: skip
    real = np.concatenate([np.ones((n, 1)), np.zeros((2, 1))])
    value = float(np.mean([one.score(real, ranking) for one in scored]))

    def statistic(weights: Floats) -> Floats:
        by_text = np.ascontiguousarray(weights.T)
        scores = np.stack([one.score(by_text, ranking) for one in scored])
        known = (~np.isnan(scores)).sum(axis=0)  # of few clusters a draw may hold one class only
        found: Floats = np.divide(np.nansum(scores, axis=0), known, out=np.full(len(known), np.nan), where=known > 0)
        return found

    return _drawn(value, statistic, texts=n, imagined=2, seed=seed, method=f"{method}-bootstrap-{DRAWS}-plus-two", clusters=clusters)


@dataclass(frozen=True, kw_only=True)
class _Ranked:
    """Texts from the highest score to the lowest, ties together. The last two are imagined: a negative on top, a positive at the end."""

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    positive: Floats

    @classmethod
    def of(cls, scores: Sequence[float], positive: Sequence[bool]) -> _Ranked:
        import numpy as np

        every = np.array([*scores, 2.0, -1.0])
        order = np.argsort(-every, kind="stable")
        starts = np.flatnonzero(np.diff(every[order], prepend=np.inf))
        return cls(order=order, starts=starts, positive=np.array([*positive, False, True], dtype=np.float64))

    def score(self, weights: Floats, ranking: Ranking) -> Floats:
        """Of ``weights`` (texts, draws), in which a text's draws lie together: ranks and sums run along them all at once."""
        import numpy as np

        ranked = weights[self.order]
        positive = ranked * self.positive[self.order, None]
        ranked -= positive
        if len(self.starts) == len(self.order):
            return ranking(positive, ranked)
        return ranking(*(np.add.reduceat(part, self.starts, axis=0) for part in (positive, ranked)))


def _area_under_roc(pos: Floats, neg: Floats) -> Floats:
    import numpy as np

    below = neg.sum(axis=0) - neg.cumsum(axis=0) + neg / 2
    total = pos.sum(axis=0) * neg.sum(axis=0)
    found: Floats = np.divide((pos * below).sum(axis=0), total, out=np.full(len(total), np.nan), where=total > 0)
    return found


def _average_precision(pos: Floats, neg: Floats) -> Floats:
    import numpy as np

    hits, called = pos.cumsum(axis=0), (pos + neg).cumsum(axis=0)
    precision = hits / np.maximum(called, 1)  # no text weighs less than 1; where nothing is called, nothing is hit
    total = pos.sum(axis=0)
    found: Floats = np.divide((precision * pos).sum(axis=0), total, out=np.full(len(total), np.nan), where=total > 0)
    return found


def _ends(value: float, draws: Floats, *, floor: float, alpha: float) -> tuple[float, float, float]:
    """Value and percentile interval (Efron & Tibshirani 1993, ch. 13), made as wide on its near side as on the far one.

    Imagined mistakes move all draws one way, the more the rarer a class; the end that they leave behind must not come closer by it.
    """
    import numpy as np

    low, high = (float(end) for end in np.nanquantile(draws, [alpha / 2, 1 - alpha / 2]))
    half = max(value - low, high - value, 0.0)
    return value, max(value - half, floor), min(value + half, 1.0)


def _drawn(
    value: float, statistic: Callable[[Floats], Floats], *, texts: int, imagined: int, seed: int, method: str, clusters: Clusters
) -> Drawn:
    """Draws of ``statistic`` from the weights of the texts and of the imagined ones after them.

    Where texts hang together whole clusters are drawn, and an imagined text stands for a cluster of middle size.
    """
    import numpy as np

    shared = together(clusters)
    number = np.arange(texts) if shared is None else np.array(numbered(shared))
    units = int(number.max()) + 1
    every, sizes = np.append(number, np.arange(units, units + imagined)), np.append(np.full(texts, 1.0), np.full(imagined, texts / units))
    ones, at_once = np.ones(units + imagined, dtype=np.int64), max(1, CHUNK_CELLS // len(every))
    chunks = drawn_weights(ones, np.random.default_rng(seed), draws=DRAWS, size=units + imagined)
    parts = (chunk[start : start + at_once] for chunk in chunks for start in range(0, len(chunk), at_once))
    draws = np.concatenate([statistic(part if shared is None else part[:, every] * sizes) for part in parts])
    if shared is None:
        return Drawn(value=value, draws=draws, n=texts, method=method)
    return Drawn(value=value, draws=draws, n=units, method=f"cluster-{method}", alpha=bootstrap_alpha(shared), examples=texts)
