"""Paired tests, Holm, and the size and power of the paired gate, against scipy, statsmodels and counting out."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from pe_training.evaluation.paired import holm, mcnemar_power, paired_permutation, pairs_needed
from pe_training.evaluation.statistics import ALPHA, mcnemar_exact, paired_counts

FIXED, BROKEN, PAIRS = 0.10, 0.05, 400  # a true change of +5 points


@settings(max_examples=60)
@given(st.lists(st.sampled_from([-1.0, -0.5, -0.25, 0.0, 0.25, 0.5]), min_size=2, max_size=12))
def test_few_pairs_are_counted_out_as_scipy_does(differences: list[float]) -> None:
    theirs = stats.permutation_test((np.array(differences),), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=False)
    found = paired_permutation(differences, seed=1)
    ties = sum(abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= abs(sum(differences)) for signs in product((1, -1), repeat=len(differences)))  # fmt: skip # noqa: E501
    assert found == ties / 2 ** len(differences)
    if len([d for d in differences if d]) == len(differences):
        assert found == pytest.approx(float(theirs.pvalue))


@settings(max_examples=60)
@given(st.integers(0, 16), st.integers(0, 16))
def test_of_yes_and_no_it_is_mcnemar(gained: int, lost: int) -> None:
    differences = [1.0] * gained + [-1.0] * lost + [0.0] * 5
    exact, found = mcnemar_exact(gained, lost), paired_permutation(differences, seed=3)
    if gained + lost <= 16:
        assert found == pytest.approx(exact)
    else:
        assert found == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 9999) + 2e-4)
    assert exact == pytest.approx(float(mcnemar([[3, lost], [gained, 3]], exact=True).pvalue))


def test_a_drawn_p_is_never_zero_and_repeats_with_its_seed() -> None:
    assert paired_permutation([0.5] * 60, seed=1) == 1 / 10_000
    noise = np.random.default_rng(1).normal(0.1, 1, size=200).tolist()
    assert paired_permutation(noise, seed=4) == paired_permutation(noise, seed=4)
    assert paired_permutation(noise, seed=4) == pytest.approx(float(stats.ttest_1samp(noise, 0).pvalue), abs=0.02)


@pytest.mark.parametrize("n", [10, 40])
def test_the_permutation_test_errs_at_most_5_times_in_100(n: int) -> None:
    samples = np.random.default_rng(n).laplace(size=(400, n))
    wrong = np.mean([paired_permutation(sample.tolist(), seed=i) <= ALPHA for i, sample in enumerate(samples)])
    assert 0.03 <= wrong <= 0.07
    found = np.mean([paired_permutation((sample + 1.0).tolist(), seed=i) <= ALPHA for i, sample in enumerate(samples)])
    assert found > (0.45 if n == 10 else 0.95)


@settings(max_examples=12)  # theirs takes a tenth of a second a call
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    found = holm(p_values)
    if p_values:
        assert found == pytest.approx(multipletests(p_values, method="holm")[1].tolist())
    assert all(p <= adjusted <= 1 for p, adjusted in zip(p_values, found, strict=True))


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []


def brute_power(pairs: int, gained: float, lost: float) -> float:
    total = 0.0
    for g in range(pairs + 1):
        for b in range(pairs + 1 - g):
            if g > b and mcnemar_exact(g, b) <= ALPHA:
                total += float(stats.multinomial.pmf([g, b, pairs - g - b], pairs, [gained, lost, 1 - gained - lost]))
    return total


@pytest.mark.parametrize(("pairs", "gained", "lost"), [(12, 0.7, 0.05), (30, 0.3, 0.1), (5, 0.9, 0.1), (40, 0.2, 0.2)])
def test_power_is_the_sum_over_all_outcomes(pairs: int, gained: float, lost: float) -> None:
    assert mcnemar_power(pairs, gained=gained, lost=lost) == pytest.approx(brute_power(pairs, gained, lost), abs=1e-9)


def test_the_paired_test_finds_five_points_70_times_in_100_where_an_unpaired_one_finds_30_to_40() -> None:
    assert mcnemar_power(PAIRS, gained=FIXED, lost=BROKEN) == pytest.approx(0.7027, abs=1e-4)
    drawn = np.random.default_rng(7).multinomial(PAIRS, [FIXED, BROKEN, 1 - FIXED - BROKEN], size=4000)
    found = np.mean([g > b and mcnemar_exact(int(g), int(b)) <= ALPHA for g, b, _ in drawn])
    assert found == pytest.approx(0.7027, abs=0.022)  # three standard errors
    for before, least, most in ((0.50, 0.28, 0.31), (0.75, 0.38, 0.41)):
        spread = math.sqrt((before * (1 - before) + (before + 0.05) * (0.95 - before)) / PAIRS)
        assert least < stats.norm.sf(1.96 - 0.05 / spread) < most


def test_the_paired_test_errs_at_most_25_times_in_1000_towards_the_tuned_model() -> None:
    for pairs in (20, 100, 400, 5000):
        assert mcnemar_power(pairs, gained=0.1, lost=0.1) <= ALPHA / 2
    assert mcnemar_power(5000, gained=0.1, lost=0.1) > 0.018  # and does not lose power for nothing


def test_the_gate_itself_has_that_size_and_power() -> None:
    """The gate reads the low end of Newcombe's interval against 0, which is a little less strict than the exact test."""

    def passes(gained: float, lost: float, seed: int) -> float:
        drawn = np.random.default_rng(seed).multinomial(PAIRS, [0.7 - gained, gained, lost, 0.3 - lost], size=6000)
        return float(np.mean([paired_counts(both=int(a), gained=int(b), lost=int(c), neither=int(d)).low >= 0 for a, b, c, d in drawn]))

    assert 0.71 <= passes(FIXED, BROKEN, 1) <= 0.77
    assert 0.015 <= passes(0.1, 0.1, 2) <= 0.031  # 0.025, three standard errors above
    assert passes(BROKEN, FIXED, 3) == 0


def test_the_examples_that_a_power_of_80_needs() -> None:
    needed = pairs_needed(gained=FIXED, lost=BROKEN)
    assert needed is not None
    assert mcnemar_power(needed, gained=FIXED, lost=BROKEN) >= 0.8
    assert mcnemar_power(needed - 25, gained=FIXED, lost=BROKEN) < 0.8
    assert 450 <= needed <= 530  # Connor (1987) without correction of continuity: 471
    assert pairs_needed(gained=0.1, lost=0.1) is None
    assert pairs_needed(gained=0.1001, lost=0.1) is None
