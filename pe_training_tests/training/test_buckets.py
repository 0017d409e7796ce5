"""Bucketed order: the same rows in every step, sorted, however it is asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pe_training.training.buckets import BucketedOrder
from pe_training.training.order import DataOrder

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=40)


def both(lengths: list[int], size: int) -> tuple[DataOrder, BucketedOrder]:
    families = ["f"] * len(lengths)
    plain = DataOrder(lengths, families=families, seed=1, max_length=None, mixture={})
    return plain, BucketedOrder(lengths, families=families, seed=1, mixture={}, batch_size=size)


@given(LENGTHS, st.integers(1, 9), st.integers(0, 12))
def test_a_step_has_the_rows_of_the_plain_order_longest_first(lengths: list[int], size: int, step: int) -> None:
    plain, bucketed = both(lengths, size)
    found = bucketed.bins(step * size, size)
    assert sorted(found) == sorted(plain.bins(step * size, size))
    assert [lengths[row] for (row,) in found] == sorted((lengths[row] for (row,) in found), reverse=True)


@given(LENGTHS, st.integers(1, 9), st.integers(0, 100), st.integers(1, 20))
def test_any_part_is_the_same_whether_asked_alone_or_after_everything_before_it(
    lengths: list[int], size: int, first: int, count: int
) -> None:
    assert both(lengths, size)[1].bins(first, count) == both(lengths, size)[1].bins(0, first + count)[first:]
