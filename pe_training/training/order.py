"""Which rows each step sees: a pure function of the seed and the step, so a resumed run needs no memory of its past.

An epoch is one seeded permutation of the rows (drawn by family where the manifest gives a mixture), cut into sequences,
packed where asked, and dealt out one after another. What is left of an epoch that does not fill a step is the beginning of
the next step, so every row is seen equally often.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

Bin = tuple[int, ...]  # indices of the rows that share one sequence


class DataOrder:
    """``bins(first, count)``: the sequences numbered ``first`` to ``first + count`` of an endless run."""

    def __init__(
        self, lengths: Sequence[int], *, families: Sequence[str], seed: int, max_length: int | None, mixture: Mapping[str, float]
    ) -> None:
        """``max_length``: pack rows into sequences of at most that many tokens; ``None``: one row a sequence."""
        self._lengths = list(lengths)
        self._families = np.array(families)
        self._seed, self._max_length, self._mixture = seed, max_length, dict(mixture)
        self._epochs: dict[int, list[Bin]] = {}
        self._ends: list[int] = []  # number of the sequence behind each epoch's last

    def bins(self, first: int, count: int) -> list[Bin]:
        """Row indices of ``count`` sequences from number ``first`` on."""
        found: list[Bin] = []
        epoch = 0
        while len(found) < count:
            start = self._ends[epoch - 1] if epoch else 0
            if epoch == len(self._ends):
                self._ends.append(start + len(self._bins_of(epoch)))
            if self._ends[epoch] > first + len(found):
                position = first + len(found) - start
                found += self._bins_of(epoch)[position : position + count - len(found)]
            epoch += 1
        return found

    def _bins_of(self, epoch: int) -> list[Bin]:
        if epoch not in self._epochs:
            order = self._permutation(epoch)
            self._epochs = {epoch: list(self._pack(order)) if self._max_length else [(row,) for row in order]}
        return self._epochs[epoch]

    def _permutation(self, epoch: int) -> list[int]:
        rng = np.random.default_rng([self._seed, epoch])
        if not self._mixture:
            return [int(row) for row in rng.permutation(len(self._lengths))]
        total = sum(self._mixture.values())
        drawn: list[int] = []
        for family, weight in sorted(self._mixture.items()):
            rows = np.flatnonzero(self._families == family)
            wanted = max(1, round(weight / total * len(self._lengths)))
            rounds = [rng.permutation(rows) for _ in range(-(-wanted // len(rows)))]
            drawn += [int(row) for row in np.concatenate(rounds)[:wanted]]
        return [drawn[i] for i in rng.permutation(len(drawn))]

    def _pack(self, order: Sequence[int]) -> Iterator[Bin]:
        """First fit over a window of open sequences: near-full sequences without sorting the epoch by length."""
        assert self._max_length is not None
        window: list[tuple[int, list[int]]] = []
        for row in order:
            length = min(self._lengths[row], self._max_length)
            fit = next((i for i, (used, _) in enumerate(window) if used + length <= self._max_length), None)
            if fit is None:
                window.append((length, [row]))
                if len(window) > 16:
                    fullest = max(range(len(window)), key=lambda i: window[i][0])
                    yield tuple(window.pop(fullest)[1])
            else:
                used, rows = window[fit]
                window[fit] = (used + length, [*rows, row])
        for _, rows in window:
            yield tuple(rows)
