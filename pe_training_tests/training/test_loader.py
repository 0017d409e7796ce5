"""Who makes a batch does not matter: workers and ranks make together exactly what one process makes alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pe_training.training.batches import Batch
from pe_training.training.loader import Skip, StepLoader, Windows
from pe_training.training.order import Bin, DataOrder

LENGTHS = [3, 5, 2, 8, 4, 4, 7, 1, 6, 2, 9]


def collate(bins: Sequence[Bin]) -> Batch:
    """A batch that shows which rows it was made of."""
    return {"rows": torch.tensor([row for rows in bins for row in rows])}


def windows(*, micro: int = 2, rank: int = 0, ranks: int = 1, skips: tuple[Skip, ...] = ()) -> Windows:
    """Of eight sequences a step."""
    order = DataOrder(LENGTHS, families=["a"] * len(LENGTHS), seed=5, max_length=None, mixture={})
    return Windows(
        order=order, collate=collate, targets=LENGTHS, tokens=LENGTHS, lengths=LENGTHS, batch_size=8, micro=micro, rank=rank, ranks=ranks,
        skips=skips,
    )  # fmt: skip


def made(of: Windows, *, workers: int = 0, first: int = 0, count: int = 12) -> list[tuple[list[int], int]]:
    """The first micro-batches: rows, and targets of their step."""
    loader = StepLoader(of, current_step=lambda: first, workers=workers, settle=lambda: None)
    return [(batch["rows"].tolist(), int(batch["step_targets"])) for batch in islice(loader, count)]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_make_what_one_process_makes_in_the_same_order(workers: int) -> None:
    assert made(windows(), workers=workers) == made(windows())


@given(first=st.integers(0, 40), micro=st.sampled_from([1, 2, 4, 8]))
def test_beginning_at_a_step_is_going_on_from_it(first: int, micro: int) -> None:
    per_step = 8 // micro
    assert made(windows(micro=micro), count=(first + 2) * per_step)[first * per_step :] == made(
        windows(micro=micro), first=first, count=2 * per_step
    )


@given(step=st.integers(0, 40), micro=st.sampled_from([1, 2]), ranks=st.sampled_from([2, 4]))
def test_ranks_share_a_step_without_loss_or_repetition_and_count_its_targets_alike(step: int, micro: int, ranks: int) -> None:
    alone = [make() for make in windows(micro=micro).micro_batches(step)]
    shared = [[make() for make in windows(micro=micro, rank=rank, ranks=ranks).micro_batches(step)] for rank in range(ranks)]
    assert len({len(batches) for batches in shared}) == 1
    rows = sorted(row for batches in shared for batch in batches for row in batch["rows"].tolist())
    assert rows == sorted(row for batch in alone for row in batch["rows"].tolist())
    totals = {int(batch["step_targets"]) for batches in [alone, *shared] for batch in batches}
    assert totals == {sum(LENGTHS[row] for row in rows)}


def test_windows_that_were_passed_over_are_not_seen() -> None:
    skips = (Skip(from_step=2, steps=3),)
    assert made(windows(skips=skips), first=2, count=4) == made(windows(), first=5, count=4)
    assert made(windows(skips=skips), first=0, count=8) == made(windows(), first=0, count=8)
