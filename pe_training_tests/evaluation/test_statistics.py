"""Intervals: published examples, coverage by simulation, and laws that hold for every input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from statsmodels.stats.proportion import proportion_confint

from pe_training.evaluation.record import Estimate
from pe_training.evaluation.statistics import (
    clopper_pearson,
    exact_proportion,
    examples_needed,
    mcnemar_exact,
    mean,
    paired_counts,
    paired_means,
    paired_proportions,
    proportion,
    wilson,
)  # fmt: skip


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
)
def test_wilson_gives_the_values_of_newcombe_1998_table_one(successes: int, n: int, low: float, high: float) -> None:
    found = proportion(successes, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert (found.n, found.method) == (n, "wilson")


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_share_within_zero_and_one_and_agrees_with_scipy(case: tuple[int, int]) -> None:
    successes, n = case
    found = proportion(successes, n)
    assert 0 <= found.low <= found.value <= found.high <= 1
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.05, 0.01, 0.005]))
def test_both_intervals_of_a_share_agree_with_statsmodels_at_any_level(case: tuple[int, int], alpha: float) -> None:
    successes, n = case
    assert wilson(successes, n, alpha=alpha) == pytest.approx(proportion_confint(successes, n, alpha=alpha, method="wilson"), abs=1e-9)
    expected = binomtest(successes, n).proportion_ci(confidence_level=1 - alpha, method="exact")
    assert clopper_pearson(successes, n, alpha=alpha) == pytest.approx((expected.low, expected.high), abs=1e-9)
    exact = exact_proportion(successes, n)
    assert 0 <= exact.low <= exact.value <= exact.high <= 1
    assert exact.low == pytest.approx(proportion_confint(successes, n, method="beta")[0], abs=1e-6)


def coverage(n: int, ends: list[tuple[float, float]], shares: np.ndarray) -> np.ndarray:
    """The exact chance, not a simulated one, that an interval covers each share: summed over all outcomes."""
    low, high = np.array(ends).T
    inside = (low[:, None] <= shares) & (shares <= high[:, None])
    return np.asarray((binom.pmf(np.arange(n + 1)[:, None], n, shares) * inside).sum(axis=0))


@pytest.mark.parametrize("n", [20, 50, 100, 500, 2000, 5000])
def test_wilson_covers_95_times_in_100_and_the_exact_interval_at_least_that(n: int) -> None:
    shares = np.linspace(0.05, 0.95, 181 if n <= 500 else 19)
    found = coverage(n, [wilson(k, n) for k in range(n + 1)], shares)
    assert 0.945 <= found.mean() <= 0.96
    assert found.min() >= 0.92  # it swings with the share, as that of every interval of counts but the exact one
    exact = coverage(n, [clopper_pearson(k, n) for k in range(n + 1)], shares)
    assert exact.min() >= 0.95 - 1e-12
    assert exact.mean() <= 0.985


@pytest.mark.parametrize("n", [20, 50, 100, 500, 2000, 5000])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_wilson_covers_the_truth_95_times_in_100(p: float, n: int) -> None:
    around = np.linspace(p - 0.05, p + 0.05, 41)  # the coverage of counts swings with the share, so over its neighbours
    assert 0.93 <= coverage(n, [wilson(k, n) for k in range(n + 1)], around).mean() <= 0.97


@pytest.mark.parametrize(("n", "trials"), [(20, 2000), (60, 2000), (200, 1000), (1000, 800), (5000, 500)])
@pytest.mark.parametrize("paired", [False, True])
def test_student_t_covers_the_truth_95_times_in_100(n: int, trials: int, paired: bool) -> None:
    generator = np.random.default_rng([n, paired])
    samples = generator.beta(4, 3, size=(trials, n))
    if paired:
        before = np.clip(samples - generator.choice([-0.25, 0.0, 0.25], p=[0.2, 0.4, 0.4], size=(trials, n)), 0, 1)
        big = np.random.default_rng(1).beta(4, 3, size=2_000_000)
        truth = float((0.4 * np.minimum(big, 0.25) - 0.2 * np.minimum(1 - big, 0.25)).mean())
        found = [paired_means(a, b) for a, b in zip(samples.tolist(), before.tolist(), strict=True)]
        assert 0.93 <= np.mean([c.low <= truth <= c.high for c in found]) <= 0.97
        return
    assert 0.93 <= np.mean([e.low <= 4 / 7 <= e.high for e in map(mean, samples.tolist())]) <= 0.97


def test_student_t_by_hand() -> None:
    # mean .5, s = sqrt(.02 / 2) = .1, t(2) = 4.302653, half width 4.302653 * .1 / sqrt(3)
    found = mean([0.4, 0.5, 0.6])
    assert found == Estimate(value=0.5, low=0.251586, high=0.748414, n=3, method="student-t")


def test_equal_values_still_leave_doubt_about_the_mean() -> None:
    found = mean([1.0, 1.0, 1.0])
    assert found.method == "constant-exact"
    assert (found.low, found.high) == (round(0.025 ** (1 / 3), 6), 1.0)
    assert mean([0.5]).low == 0.0125
    assert mean([0.5]).high == 0.9875


@pytest.mark.parametrize(
    ("counts", "value", "low", "high"),
    [
        ((59, 6, 16, 80), -0.0621, -0.1186, -0.0046),  # Cavo 2012, in Fagerland, Lydersen & Laake (2017), table 8
        ((1, 1, 7, 12), -0.2857, -0.5069, -0.0256),  # Bentur 2009, there too
    ],
)
def test_newcombe_ten_gives_the_published_examples(counts: tuple[int, int, int, int], value: float, low: float, high: float) -> None:
    both, gained, lost, neither = counts
    found = paired_counts(both=both, gained=gained, lost=lost, neither=neither)
    assert (round(found.value, 4), round(found.low, 4), round(found.high, 4)) == (value, low, high)
    assert found.method == "newcombe-10"


def test_exact_mcnemar_gives_the_published_p() -> None:
    assert round(mcnemar_exact(6, 16), 6) == 0.052479  # Cavo 2012
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(5, 0) == 2 / 32
    assert mcnemar_exact(3, 3) == 1.0


@pytest.mark.parametrize(("n", "gain", "loss"), [(60, 0.1, 0.1), (200, 0.15, 0.05), (400, 0.1, 0.05)])
def test_newcombe_ten_covers_the_truth_at_least_94_times_in_100(n: int, gain: float, loss: float) -> None:
    draws = np.random.default_rng(n).multinomial(n, [0.5, gain, loss, 1 - 0.5 - gain - loss], size=2000)
    found = [paired_counts(both=int(a), gained=int(b), lost=int(c), neither=int(d)) for a, b, c, d in draws]
    assert 0.94 <= np.mean([e.low <= gain - loss <= e.high for e in found]) <= 0.985


Pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(Pairs)
def test_swapping_tuned_and_base_mirrors_the_comparison(pairs: list[tuple[bool, bool]]) -> None:
    tuned, base = [t for t, _ in pairs], [b for _, b in pairs]
    there, back = paired_proportions(tuned, base), paired_proportions(base, tuned)
    assert (there.value, there.low, there.high, there.p_value) == pytest.approx(
        (-back.value, -back.high, -back.low, back.p_value), abs=1.5e-6
    )
    assert -1 <= there.low <= there.value <= there.high <= 1
    assert there.p_value is not None
    assert 0 < there.p_value <= 1


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40))
def test_means_and_their_differences_are_ordered_bounded_and_antisymmetric(pairs: list[tuple[float, float]]) -> None:
    tuned, base = [t for t, _ in pairs], [b for _, b in pairs]
    found = mean(tuned)
    assert 0 <= found.low <= found.value <= found.high <= 1
    there, back = paired_means(tuned, base), paired_means(base, tuned)
    assert -1 <= there.low <= there.value <= there.high <= 1
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low), abs=1.5e-6)


def test_values_are_rounded_to_six_decimals_without_negative_zero() -> None:
    assert proportion(1, 3).value == 0.333333
    assert math.copysign(1, paired_proportions([True], [True]).value) == 1


@pytest.mark.parametrize(
    ("successes", "n", "threshold", "bound", "needed"),
    [
        (66, 66, 0.90, "at_least", 0),
        (30, 30, 0.90, "at_least", 5),
        (10, 30, 0.90, "at_least", 0),
        (3, 60, 0.10, "at_most", 79),  # z^2 p0 (1 - p0) / (p - p0)^2 = 138.3 in all
    ],
)
def test_examples_needed_is_the_first_count_that_decides(successes: int, n: int, threshold: float, bound: str, needed: int) -> None:
    found = examples_needed(proportion(successes, n), threshold=threshold, bound=bound)  # type: ignore[arg-type]
    assert found == needed
    p = successes / n
    for more, wanted in ((needed, True), (needed - 1, False)):
        if more >= 0:
            low, high = wilson(p * (n + more), n + more)
            assert (high < threshold or low >= threshold if bound == "at_least" else high <= threshold or low > threshold) is wanted


def test_examples_needed_is_none_where_a_million_would_not_do() -> None:
    assert examples_needed(proportion(9, 10), threshold=0.9, bound="at_least") is None
    found = Estimate(value=0.500001, low=0.4, high=0.6, n=100, method="wilson")
    assert examples_needed(found, threshold=0.5, bound="at_least") is None


def test_examples_needed_for_a_mean_shrinks_with_the_square_root() -> None:
    found = Estimate(value=0.7, low=0.5, high=0.9, n=25, method="student-t")
    assert examples_needed(found, threshold=0.6, bound="at_least") == 75  # four times the examples halve the distance
