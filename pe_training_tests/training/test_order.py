"""Data order: a pure function of the seed and the step."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pe_training.training.order import DataOrder

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=40)


def order(lengths: list[int], *, seed: int = 1, max_length: int | None = None, mixture: dict[str, float] | None = None) -> DataOrder:
    families = ["even" if i % 2 == 0 else "odd" for i in range(len(lengths))]
    return DataOrder(lengths, families=families, seed=seed, max_length=max_length, mixture=mixture or {})


@given(LENGTHS, st.integers(0, 200), st.integers(1, 20), st.sampled_from([None, 64]))
def test_any_window_is_the_same_whether_asked_alone_or_after_everything_before_it(
    lengths: list[int], first: int, count: int, max_length: int | None
) -> None:
    from_start = order(lengths, max_length=max_length).bins(0, first + count)
    assert order(lengths, max_length=max_length).bins(first, count) == from_start[first:]


@given(LENGTHS)
def test_every_row_comes_once_an_epoch(lengths: list[int]) -> None:
    rows = [row for rows in order(lengths).bins(0, len(lengths) * 3) for row in rows]
    assert Counter(rows) == dict.fromkeys(range(len(lengths)), 3)


@given(LENGTHS)
def test_packed_sequences_never_exceed_the_length_and_lose_no_row(lengths: list[int]) -> None:
    packed = order(lengths, max_length=64)
    epoch = packed._bins_of(0)
    assert all(sum(lengths[row] for row in rows) <= 64 for rows in epoch)
    assert sorted(row for rows in epoch for row in rows) == list(range(len(lengths)))


def test_packing_fills_nine_tenths_of_the_tokens_of_realistic_dialogues() -> None:
    lengths = [20 + (i * 37) % 180 for i in range(500)]
    epoch = order(lengths, max_length=512)._bins_of(0)
    assert sum(lengths) / (512 * len(epoch)) > 0.9


def test_another_seed_and_another_epoch_give_another_order() -> None:
    lengths = [5] * 30
    first = order(lengths).bins(0, 60)
    assert first[:30] != first[30:]
    assert first != order(lengths, seed=2).bins(0, 60)


def test_a_mixture_draws_families_in_its_shares_within_two_points() -> None:
    drawn = order([5] * 200, mixture={"even": 3.0, "odd": 1.0}).bins(0, 200)
    share = sum(row % 2 == 0 for (row,) in drawn) / len(drawn)
    assert abs(share - 0.75) < 0.02


def test_a_family_outside_the_mixture_is_never_drawn() -> None:
    assert all(row % 2 == 1 for (row,) in order([5] * 50, mixture={"odd": 1.0}).bins(0, 100))
