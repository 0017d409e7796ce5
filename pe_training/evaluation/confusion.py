"""Metrics made of counts: macro-F1 over classes, and their bootstrap by multinomial draws of confusion cells.

Texts that fall into the same cell are alike to such a metric, so drawing how often each cell occurs is the same as drawing texts,
and costs the same for a million of them as for a hundred (``make bench-evaluation``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pe_training.evaluation.clusters import Clusters, bootstrap_alpha, numbered, together
from pe_training.evaluation.record import Comparison, Estimate
from pe_training.evaluation.resampling import DRAWS, bca, quantile, resampled_totals
from pe_training.evaluation.statistics import ALPHA, comparison, estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Cell = tuple[int, ...]  # the expected class, then what each model called it


def macro_f1(expected: Sequence[str], predicted: Sequence[str], *, seed: int, clusters: Clusters = None) -> Estimate:
    """Unweighted mean of the F1 of every class that occurs, with its BCa interval and one imagined error (see :class:`Table`)."""
    table = Table.of(expected, predicted, clusters=clusters)
    value, low, high = table.interval([(1, 1.0)], seed=seed)
    return estimate(value, max(low, 0.0), min(high, 1.0), n=table.units, method=table.method, examples=table.examples)


def macro_f1_difference(
    expected: Sequence[str], tuned: Sequence[str], base: Sequence[str], *, seed: int, clusters: Clusters = None
) -> Comparison:
    """Macro-F1 of ``tuned`` minus that of ``base``, both from the same draws of texts."""
    table = Table.of(expected, tuned, base, clusters=clusters)
    value, low, high = table.interval([(1, 1.0), (2, -1.0)], seed=seed)
    ends, method = (max(low, -1.0), min(high, 1.0)), f"paired-{table.method}"
    return comparison(value, *ends, n=table.units, method=method, examples=table.examples)


def resampled_cells(counts: Floats, *, seed: int, draws: int = DRAWS) -> Floats:
    """Bootstrap samples of tables: ``counts`` (..., cells) gives (draws, ..., cells). Each table keeps its total."""
    import numpy as np

    totals = counts.sum(axis=-1)
    assert bool((totals > 0).all()), "a table without examples"
    shape = (draws, *totals.shape)
    drawn = np.random.default_rng(seed).multinomial(np.rint(totals).astype(np.int64), counts / totals[..., None], size=shape)
    return drawn.astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class Table:
    """How often each combination of expected class and calls occurs.

    A bootstrap never sees an error that did not happen: of 20 texts of a classifier that is right 97 times in 100 half of all samples
    have no error, and then every draw says 1. So one imagined text, spread evenly over the errors that one class can suffer, is added
    where the pessimistic end is drawn (the same thought as Agresti & Coull 1998, and as for gaps in ``groups.py``). Where texts hang
    together whole clusters are drawn, and what is imagined is one cluster more, of middle size.
    """

    cells: tuple[Cell, ...]
    counts: tuple[int, ...]
    classes: int  # at least 2: where only one class is known, an error goes to another
    clusters: tuple[int, ...] | None = None  # of each text its cluster's number, and
    places: tuple[int, ...] = ()  # its cell's

    @classmethod
    def of(cls, expected: Sequence[str], *calls: Sequence[str], clusters: Clusters = None) -> Table:
        """The tally of texts."""
        assert len(expected) > 0, "no texts"
        names = sorted(set(expected).union(*calls))
        place = {name: index for index, name in enumerate(names)}
        rows = [tuple(place[label] for label in row) for row in zip(expected, *calls, strict=True)]
        tally, shared = Counter(rows), together(clusters)
        cells = sorted(tally)
        found = cls(cells=tuple(cells), counts=tuple(tally[cell] for cell in cells), classes=max(len(names), 2))
        if shared is None:
            return found
        at = {cell: index for index, cell in enumerate(cells)}
        return replace(found, clusters=tuple(numbered(shared)), places=tuple(at[row] for row in rows))

    @property
    def units(self) -> int:
        """Texts, or clusters of them."""
        return sum(self.counts) if self.clusters is None else max(self.clusters) + 1

    @property
    def examples(self) -> int | None:
        """How many texts the clusters hold, if there are any."""
        return None if self.clusters is None else sum(self.counts)

    @property
    def method(self) -> str:
        """What is drawn, and how often."""
        return f"{'multinomial' if self.clusters is None else 'cluster'}-bca-{DRAWS}-plus-one"

    def interval(self, terms: Sequence[tuple[int, float]], *, seed: int) -> tuple[float, float, float]:
        """Value and interval of the sum of ``sign * macro_f1(column)`` over ``terms``. Its low and high ends know an imagined error."""
        import numpy as np

        counts = np.array(self.counts, dtype=np.float64)
        value = float(self._scores(self.cells, counts[None, :], terms)[0])
        low = high = value
        if self.clusters is not None:
            tables = self._tables()
            draws = self._scores(self.cells, resampled_totals(tables, seed=seed), terms)
            without = self._scores(self.cells, counts - tables, terms)
            low, high = bca(value, draws, without=[without], alpha=self._alpha)
        elif counts.sum() > 1:
            draws = self._scores(self.cells, resampled_cells(counts, seed=seed), terms)
            without = self._scores(self.cells, counts - np.eye(len(counts)), terms)
            low, high = bca(value, draws, without=[without], times=counts)
        low = min(low, value, quantile(self._imagined(terms, seed=seed, worse=1), self._alpha / 2))
        if len(terms) > 1:  # alone, the upper end is no claim that a gate believes
            high = max(high, quantile(self._imagined(terms, seed=seed, worse=2), 1 - self._alpha / 2))
        return value, low, max(high, value)

    @property
    def _alpha(self) -> float:
        return ALPHA if self.clusters is None else bootstrap_alpha(self.clusters)

    def _tables(self) -> Floats:
        """How often each cell occurs in each cluster: (clusters, cells)."""
        import numpy as np

        assert self.clusters is not None
        found = np.zeros((self.units, len(self.cells)))
        np.add.at(found, (np.array(self.clusters), np.array(self.places)), 1.0)
        return found

    def _imagined(self, terms: Sequence[tuple[int, float]], *, seed: int, worse: int) -> Floats:
        """Draws with one more text, which column ``worse`` gets wrong and the others right."""
        import numpy as np

        shares: Counter[int] = Counter()
        for cell, count in zip(self.cells, self.counts, strict=True):
            shares[cell[0]] += count
        weights: dict[Cell, float] = dict(zip(self.cells, map(float, self.counts), strict=True))
        one: dict[Cell, float] = {}
        n, columns = sum(self.counts), len(self.cells[0])
        for true, count in shares.items():
            for called in set(range(self.classes)) - {true}:
                cell = tuple(called if column == worse else true for column in range(columns))
                one[cell] = count / n / (self.classes - 1)
        if self.clusters is not None:
            cells = (*self.cells, *sorted(set(one) - set(self.cells)))
            tables = np.zeros((self.units + 1, len(cells)))
            tables[:-1, : len(self.cells)] = self._tables()
            tables[-1] = [one.get(cell, 0.0) * n / self.units for cell in cells]
            return self._scores(cells, resampled_totals(tables, seed=seed), terms)
        for cell, share in one.items():
            weights[cell] = weights.get(cell, 0.0) + share
        counts = np.array(list(weights.values()))
        counts *= (n + 1) / counts.sum()
        return self._scores(tuple(weights), resampled_cells(counts, seed=seed), terms)

    def _scores(self, cells: Sequence[Cell], counts: Floats, terms: Sequence[tuple[int, float]]) -> Floats:
        """The signed sum of macro-F1s for each row of ``counts`` (samples, cells)."""
        import numpy as np

        coded = np.array(cells)
        one_hot = np.eye(self.classes)
        total = np.zeros(len(counts))
        for column, sign in terms:
            true, called = counts @ one_hot[coded[:, 0]], counts @ one_hot[coded[:, column]]
            hits = counts @ (one_hot[coded[:, 0]] * (coded[:, 0] == coded[:, column])[:, None])
            occurs = (true + called) > 0
            scores = np.divide(2 * hits, true + called, out=np.zeros_like(hits), where=occurs)
            total += sign * scores.sum(axis=1) / occurs.sum(axis=1)
        return total
