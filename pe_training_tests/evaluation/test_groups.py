"""Gaps between groups on shared scenarios: exact values, joint ends, the worst group, and which pairs differ."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pe_training.evaluation.groups import largest_gap, pair_gaps, widest_difference, worst_group
from pe_training.evaluation.statistics import mcnemar_exact, wilson


def test_the_gap_is_between_the_best_and_the_worst_group_on_shared_scenarios() -> None:
    cells = [{"a": 1.0, "b": 0.5, "c": 0.0}] * 6 + [{"a": 1.0, "b": 0.5, "c": 1.0}] * 6
    found = largest_gap(cells, min_n=10, seed=1)
    assert found.estimate is not None
    assert found.estimate.value == 0.5
    assert found.rates == {"a": 1.0, "b": 0.5, "c": 0.5}
    assert found.estimate.n == 12


def test_a_group_with_too_few_scenarios_is_reported_and_not_compared() -> None:
    cells = [{"a": 1.0, "b": 1.0, "c": 0.0}] * 3 + [{"a": 1.0, "b": 1.0}] * 9
    found = largest_gap(cells, min_n=10, seed=1)
    assert found.excluded == {"c": 3}
    assert found.estimate is not None
    assert found.estimate.value == 0
    assert largest_gap(cells[:5], min_n=10, seed=1).estimate is None


@pytest.mark.parametrize(("n", "least"), [(4, 0.5), (10, 0.25), (44, 0.06)])
def test_agreement_in_a_few_scenarios_does_not_prove_a_gap_of_zero(n: int, least: float) -> None:
    found = largest_gap([{"a": 1.0, "b": 1.0}] * n, min_n=2, seed=3).estimate
    assert found is not None
    assert (found.value, found.low) == (0, 0)
    assert least <= found.high <= 1 - 0.025 ** (1 / n) + max(0.06, 0.6 / n)  # near the exact bound, and not below it


@pytest.mark.parametrize("truth", [0.0, 0.15])
def test_the_upper_end_of_the_gap_lies_above_the_truth_at_least_97_times_in_100(truth: float) -> None:
    generator = np.random.default_rng(11)
    above = 0
    for trial in range(200):
        easy = generator.random(40) < 0.7
        cells = [{g: float(e if g != "d" else e and generator.random() >= truth / 0.7) for g in "abcd"} for e in easy]
        found = largest_gap(cells, min_n=10, seed=trial).estimate
        assert found is not None
        above += found.high >= truth
    assert above / 200 >= 0.97


@settings(max_examples=30, deadline=None)
@given(st.lists(st.fixed_dictionaries({g: st.floats(0, 1) for g in "xyz"}), min_size=3, max_size=20), st.integers(0, 5))
def test_a_gap_is_ordered_bounded_and_blind_to_the_names_of_groups(cells: list[dict[str, float]], seed: int) -> None:
    found = largest_gap(cells, min_n=3, seed=seed).estimate
    assert found is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    renamed = [{"r": cell["z"], "q": cell["y"], "p": cell["x"]} for cell in cells]
    assert largest_gap(renamed, min_n=3, seed=seed).estimate is not None
    assert largest_gap(renamed, min_n=3, seed=seed).estimate.value == found.value  # type: ignore[union-attr]


def test_a_gap_among_several_pays_at_its_lower_end_only() -> None:
    cells = [{"a": 1.0, "b": float(i % 4 == 0)} for i in range(60)]
    alone, among = largest_gap(cells, min_n=10, seed=2), largest_gap(cells, min_n=10, seed=2, families=6)
    assert alone.estimate == among.estimate
    assert alone.estimate is not None
    assert alone.joint_low == alone.estimate.low
    assert 0 < among.joint_low < alone.joint_low


def test_the_largest_of_many_gaps_covers_the_truth_on_both_sides() -> None:
    generator, above, below = np.random.default_rng(3), 0, 0
    for trial in range(150):
        gaps = []
        for _ in range(4):
            easy = generator.random(60)
            gaps.append(largest_gap([{g: float(e < 0.7) if g != "c" else float(e < 0.6) for g in "abc"} for e in easy], min_n=10, seed=trial, families=4))  # fmt: skip # noqa: E501
        above += max(gap.estimate.high for gap in gaps if gap.estimate) >= 0.1
        below += max(gap.joint_low for gap in gaps) <= 0.1
    assert above / 150 >= 0.96
    assert below / 150 >= 0.96


def test_the_worst_group_is_over_its_own_scenarios_and_its_high_end_knows_of_the_others() -> None:
    cells = [{"a": 0.9 - 0.1 * (i % 2), "b": 0.5 + 0.1 * (i % 2)} for i in range(20)] + [{"c": 0.1}] * 3
    found = worst_group(cells, min_n=10)
    assert found is not None
    assert (found.value, found.n, found.method) == (0.55, 20, "worst-of-2-student-t")
    assert found.high - found.value > found.value - found.low  # the same spread, at a stricter level
    assert worst_group(cells, min_n=21) is None
    assert worst_group([{"a": 1.0}] * 30, min_n=10) is None


@pytest.mark.parametrize("n", [20, 100, 500])
@pytest.mark.parametrize("truth", [(0.6, 0.6, 0.6, 0.6), (0.5, 0.6, 0.7, 0.8)])
def test_the_interval_of_the_worst_group_covers_the_truth(truth: tuple[float, ...], n: int) -> None:
    generator, hits = np.random.default_rng([n, int(truth[0] * 10)]), 0
    for _ in range(300):
        scores = np.stack([generator.beta(8 * t, 8 * (1 - t), size=n) for t in truth], axis=1)
        found = worst_group([dict(zip("abcd", row, strict=True)) for row in scores.tolist()], min_n=10)
        assert found is not None
        hits += found.low <= min(truth) <= found.high
    assert hits / 300 >= 0.94


@pytest.mark.parametrize("n", [25, 150])
def test_the_intervals_of_all_pairs_cover_all_truths_together(n: int) -> None:
    generator, truth, hits = np.random.default_rng(n), {"a": 0.5, "b": 0.5, "c": 0.6, "d": 0.65}, 0
    for trial in range(160):
        scenario = generator.normal(0, 0.1, size=n)
        scores = {g: np.clip(m + scenario + generator.normal(0, 0.08, size=n), 0, 1) for g, m in truth.items()}
        pairs = pair_gaps([{g: float(scores[g][i]) for g in truth} for i in range(n)], min_n=10, seed=trial)
        assert len(pairs) == 6
        hits += all(pair.low <= truth[pair.first] - truth[pair.second] <= pair.high for pair in pairs)
    assert 0.92 <= hits / 160 <= 0.99


def test_a_pair_that_never_differs_still_leaves_doubt_and_yes_or_no_is_mcnemar() -> None:
    cells = [{"a": 1.0, "b": 1.0, "c": float(i >= 9)} for i in range(40)]
    same, first, second = pair_gaps(cells, min_n=10, seed=1)
    assert (same.first, same.second, same.value, same.p_value) == ("a", "b", 0.0, 1.0)
    assert same.low < -0.1
    assert same.high > 0.1
    assert first.p_value == pytest.approx(mcnemar_exact(9, 0))
    assert (second.first, second.second, second.value) == ("b", "c", 0.225)
    assert pair_gaps(cells, min_n=41, seed=1) == ()


def test_two_groups_of_different_people_are_newcombes_method_ten() -> None:
    found = widest_difference(lambda alpha: [(56 / 70, *wilson(56, 70, alpha=alpha)), (48 / 80, *wilson(48, 80, alpha=alpha))])
    assert tuple(round(end, 4) for end in found) == (0.2, 0.0524, 0.3339)  # Newcombe 1998, table II, example (a)
