"""Bootstraps: exact point values, seeded draws, coverage, and a gap that few scenarios cannot close."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from pe_training.core.errors import PeError
from pe_training.evaluation.record import Estimate
from pe_training.evaluation.resampling import (
    jackknife,
    largest_gap,
    macro_f1,
    macro_f1_difference,
    perplexity,
    weighted_ratio,
    weighted_ratio_difference,
)  # fmt: skip


def test_the_loss_is_weighted_by_tokens_and_repeats_with_its_seed() -> None:
    found = weighted_ratio([10.0, 90.0, 30.0], [10.0, 30.0, 20.0], seed=7)
    assert found.value == 2.166667
    assert found.low <= found.value <= found.high
    assert found.method == "cluster-bootstrap-2000"
    assert found == weighted_ratio([10.0, 90.0, 30.0], [10.0, 30.0, 20.0], seed=7)
    assert found != weighted_ratio([10.0, 90.0, 31.0], [10.0, 30.0, 20.0], seed=7)


def test_perplexity_is_the_exponential_of_the_loss() -> None:
    found = perplexity(Estimate(value=2.0, low=1.5, high=2.5, n=9, method="m"))
    assert (found.value, found.low, found.high) == (round(math.exp(2), 6), round(math.exp(1.5), 6), round(math.exp(2.5), 6))


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_an_error_and_never_a_metric(loss: float) -> None:
    with pytest.raises(PeError, match="not a finite number"):
        weighted_ratio([1.0, loss], [3.0, 4.0], seed=1)


def test_a_loss_too_large_for_a_perplexity_is_an_error() -> None:
    with pytest.raises(PeError, match="too large"):
        perplexity(Estimate(value=1.0, low=1.0, high=701.0, n=2, method="m"))


def test_the_cluster_bootstrap_covers_the_truth() -> None:
    generator = np.random.default_rng(5)
    hits = 0
    for trial in range(300):
        tokens = generator.integers(10, 80, size=60).astype(float)
        nats = tokens * generator.normal(2.5, 0.4, size=60)
        found = weighted_ratio([float(v) for v in nats], [float(v) for v in tokens], seed=trial)
        hits += found.low <= 2.5 <= found.high
    assert 0.91 <= hits / 300 <= 0.98


def test_a_paired_loss_difference_is_far_narrower_than_the_losses() -> None:
    generator = np.random.default_rng(3)
    tokens = [float(v) for v in generator.integers(10, 80, size=50)]
    base = [t * float(generator.normal(2.5, 0.6)) for t in tokens]
    tuned = [b - 0.2 * t for b, t in zip(base, tokens, strict=True)]
    found = weighted_ratio_difference(tuned, base, tokens, seed=1)
    assert (found.value, found.low, found.high) == pytest.approx((-0.2, -0.2, -0.2), abs=1e-6)
    assert weighted_ratio(tuned, tokens, seed=1).high - weighted_ratio(tuned, tokens, seed=1).low > 0.1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcde")), min_size=2, max_size=80), st.integers(0, 9))
def test_macro_f1_equals_scikit_learn_and_lies_in_its_interval(rows: list[tuple[str, str]], seed: int) -> None:
    expected, predicted = [e for e, _ in rows], [p for _, p in rows]
    found = macro_f1(expected, predicted, seed=seed)
    assert found.value == pytest.approx(f1_score(expected, predicted, average="macro", zero_division=0), abs=1e-6)
    assert 0 <= found.low <= found.value <= found.high <= 1
    same = macro_f1_difference(expected, predicted, predicted, seed=seed)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_the_jackknife_of_a_mean_is_student_t() -> None:
    values = [0.4, 0.5, 0.6]
    without = [(sum(values) - value) / 2 for value in values]
    assert jackknife(0.5, without) == pytest.approx((0.251586, 0.748414), abs=1e-6)


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
    assert least <= found.high <= 1 - 0.025 ** (1 / n) + 0.06  # near the exact bound


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
