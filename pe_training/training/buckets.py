"""Rows of like length in one micro-batch, so that less of it is padding.

Only the order within the rows of one optimiser step changes. Which rows a step sees, and therefore its loss and its gradient,
are those of the plain order (to the last bits of a sum in another order).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pe_training.training.order import Bin, DataOrder


class BucketedOrder(DataOrder):
    """A plain order whose every window of ``batch_size`` sequences is sorted, longest first, rows of equal length by number."""

    def __init__(
        self, lengths: Sequence[int], *, families: Sequence[str], seed: int, mixture: Mapping[str, float], batch_size: int
    ) -> None:
        super().__init__(lengths, families=families, seed=seed, max_length=None, mixture=mixture)
        self._batch_size = batch_size

    def bins(self, first: int, count: int) -> list[Bin]:
        """See :meth:`DataOrder.bins`; the same whether a window is asked for whole or in parts."""
        size = self._batch_size
        start, stop = first // size * size, -(-(first + count) // size) * size
        found = super().bins(start, stop - start)
        windows = [sorted(found[at : at + size], key=self._longest_first) for at in range(0, len(found), size)]
        return [one for window in windows for one in window][first - start : first - start + count]

    def _longest_first(self, rows: Bin) -> tuple[int, Bin]:
        return -sum(self._lengths[row] for row in rows), rows
