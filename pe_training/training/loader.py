"""Batches of a run from any step on, made here or ahead of time by other processes: the same ones, whoever makes them.

What a step sees follows from its number alone (order.py), so a resumed run needs no memory of its past, and each rank and each worker
knows its share without asking.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pe_training.training.batches import Batch
from pe_training.training.order import Bin, DataOrder
from pe_training.training.process import end_with_parent

AHEAD = 4  # micro-batches that a worker makes before they are asked for


@dataclass(frozen=True)
class Skip:
    """From optimiser step ``from_step`` on, ``steps`` windows of data are passed over (after a rollback)."""

    from_step: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class Windows:
    """What each optimiser step is made of. ``targets``, ``tokens``, ``lengths``: of each row, see :class:`Prepared`."""

    order: DataOrder
    collate: Callable[[Sequence[Bin]], Batch]
    targets: Sequence[float]
    tokens: Sequence[int]
    lengths: Sequence[int]
    batch_size: int  # sequences a step, over all ranks
    micro: int  # sequences a micro-batch
    sides: int = 1  # sequences that a row takes: two for a pair
    rank: int = 0
    ranks: int = 1
    skips: tuple[Skip, ...] = ()

    def micro_batches(self, step: int) -> list[Callable[[], Batch]]:
        """This rank's micro-batches of a step, each still to be made.

        Each tells of the whole step, of all ranks: ``step_targets``, what its mean loss is taken over, and ``step_padding``, the
        share of its tokens that only fill up.
        """
        window = step + sum(skip.steps for skip in self.skips if step >= skip.from_step)
        bins = self.order.bins(window * self.batch_size, self.batch_size)
        total = torch.tensor(sum(self.targets[row] for rows in bins for row in rows))
        parts = [bins[start : start + self.micro] for start in range(0, self.batch_size, self.micro)]
        facts = {"step_targets": total, "step_padding": torch.tensor(self.padded_share(parts))}
        return [partial(self._made, part, facts) for part in parts[self.rank :: self.ranks]]

    def _made(self, bins: Sequence[Bin], facts: Batch) -> Batch:
        return self.collate(bins) | facts

    def padded_share(self, parts: Sequence[Sequence[Bin]]) -> float:
        """Share of the tokens of these micro-batches that only fill sequences up to the longest one."""
        widths = [max(sum(self.lengths[row] for row in rows) for rows in part) for part in parts]
        sequences = [len(part) * self.sides for part in parts]
        real = sum(self.tokens[row] for part in parts for rows in part for row in rows)
        return 1 - real / sum(width * count for width, count in zip(widths, sequences, strict=True))


class _Endless(IterableDataset[Batch]):
    """All micro-batches from a step on; of several workers each makes every so-many-th, and they are asked in turn."""

    def __init__(self, windows: Windows, *, first: int) -> None:
        self._windows, self._first = windows, first

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        mine, of = (info.id, info.num_workers) if info else (0, 1)
        number, step = 0, self._first
        while True:
            for make in self._windows.micro_batches(step):
                if number % of == mine:
                    yield make()
                number += 1
            step += 1


class StepLoader:
    """Micro-batches from the current optimiser step on, for ever. Holds no position: it asks for the step when iterated."""

    def __init__(self, windows: Windows, *, current_step: Callable[[], int], workers: int, settle: Callable[[], None]) -> None:
        """``workers``: processes that make batches; 0: they are made here. ``settle`` ends what other threads do: no fork may copy that."""
        self._windows, self._current_step, self._workers, self._settle = windows, current_step, workers, settle

    def __iter__(self) -> Iterator[Batch]:
        endless = _Endless(self._windows, first=self._current_step())
        if not self._workers:
            return iter(endless)
        self._settle()
        loader = DataLoader(
            endless, batch_size=None, num_workers=self._workers, prefetch_factor=AHEAD,
            worker_init_fn=partial(_obey, os.getpid()), multiprocessing_context="fork",
        )  # fmt: skip
        return iter(loader)


def _obey(parent: int, _worker: int) -> None:
    """A worker ends when it is told to (the handlers that ask training to save are not for it) and with the process that it works for."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL, parent=parent)
