"""Bootstraps of column totals: against scipy on the same draws, against theory, clusters, strata, coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pe_training.evaluation.resampling import bca, bootstrap, drawn_weights, resampled_totals

Floats = NDArray[np.float64]


def mean_of(totals: Floats) -> Floats:
    return totals[:, 0] / totals[:, 1]


def counted(values: Floats) -> Floats:
    return np.stack([values, np.ones_like(values)], axis=1)


def kappa(totals: Floats) -> Floats:
    """Cohen's, from totals of (both yes, first yes, second yes, all)."""
    both, first, second, n = totals.T
    agree = (n - first - second + 2 * both) / n
    chance = (first * second + (n - first) * (n - second)) / n**2
    return np.divide(agree - chance, 1 - chance, out=np.zeros_like(chance), where=chance < 1)


@pytest.mark.parametrize("n", [15, 60])
def test_bca_is_that_of_scipy_on_the_same_draws(n: int) -> None:
    values = np.random.default_rng(n).lognormal(0, 1, size=n)
    theirs = stats.bootstrap((values,), np.std, method="BCa", n_resamples=3000, rng=np.random.default_rng(1))
    without = np.array([np.std(np.delete(values, i)) for i in range(n)])
    ours = bca(float(np.std(values)), theirs.bootstrap_distribution, without=[without])
    assert ours == pytest.approx(tuple(theirs.confidence_interval), rel=1e-9)


def test_bca_counts_shared_units_as_if_each_were_named() -> None:
    draws, values = np.random.default_rng(2).normal(size=500), np.array([0.1, 0.4, -0.3])
    each = bca(0.02, draws, without=[np.repeat(values, [4, 1, 2])])
    assert bca(0.02, draws, without=[values], times=np.array([4.0, 1.0, 2.0])) == pytest.approx(each)


@pytest.mark.parametrize("many_values", [False, True])  # a multinomial over few distinct rows, or units by index
def test_resampled_means_spread_as_the_unbiased_variance_says(many_values: bool) -> None:
    generator = np.random.default_rng(6)
    values = generator.normal(size=40) if many_values else generator.integers(0, 3, size=40).astype(float)
    drawn = resampled_totals(counted(values), seed=3, draws=40_000)
    assert drawn[:, 1].min() == drawn[:, 1].max() == pytest.approx(40)
    assert mean_of(drawn).mean() == pytest.approx(values.mean(), abs=4e-3)
    assert mean_of(drawn).var() == pytest.approx(values.var(ddof=1) / 40, rel=0.03)


@pytest.mark.parametrize("counts", [[30, 6, 4], [1, 2, 1, 1]])  # a multinomial over few distinct rows, or units by index
def test_rows_are_drawn_as_often_as_there_are_units_of_them(counts: list[int]) -> None:
    units, size = sum(counts), 12
    drawn = np.concatenate(list(drawn_weights(np.array(counts), np.random.default_rng(4), draws=20_000, size=size)))
    shares = np.array(counts) / units
    assert drawn.shape == (20_000, len(counts))
    assert (drawn.sum(axis=1) == size).all()
    assert drawn.mean(axis=0) == pytest.approx(size * shares, rel=0.02)
    assert np.cov(drawn.T) == pytest.approx(size * (np.diag(shares) - np.outer(shares, shares)), abs=0.05)


def test_resampled_means_have_the_distribution_of_an_ordinary_bootstrap() -> None:
    values = np.random.default_rng(9).exponential(size=30)
    ours = mean_of(resampled_totals(counted(values), seed=1, draws=20_000))
    picked = np.random.default_rng(2).integers(0, 30, size=(20_000, 29))
    assert stats.ks_2samp(ours, values[picked].mean(axis=1)).pvalue > 0.01


def test_strata_are_drawn_each_for_itself() -> None:
    values = np.array([0.0] * 30 + [1.0] * 10)
    assert np.ptp(mean_of(resampled_totals(counted(values), seed=1, strata=["a"] * 30 + ["b"] * 10))) < 1e-12
    mixed = np.random.default_rng(1).normal(size=40) + 5 * values
    drawn = mean_of(resampled_totals(counted(mixed), seed=1, draws=40_000, strata=values.tolist()))
    theory = (30**2 * mixed[:30].var(ddof=1) / 30 + 10**2 * mixed[30:].var(ddof=1) / 10) / 40**2
    assert drawn.var() == pytest.approx(theory, rel=0.03)


def test_whole_clusters_are_drawn() -> None:
    values = np.repeat([0.0, 1.0, 0.0, 1.0, 1.0], 8)
    drawn = resampled_totals(counted(values), seed=5, clusters=[i // 8 for i in range(40)])
    assert set(np.round(drawn[:, 0] * 4 / 5 / 8, 9)) == {0.0, 1.0, 2.0, 3.0, 4.0}


def test_what_cannot_be_resampled_is_a_bug_of_the_caller() -> None:
    columns = counted(np.arange(4.0))
    with pytest.raises(AssertionError, match="no interval"):
        resampled_totals(columns, seed=1, strata=["a", "a", "a", "b"])
    with pytest.raises(AssertionError, match="one stratum"):
        resampled_totals(columns, seed=1, clusters=["x", "x", "y", "z"], strata=["a", "b", "a", "a"])


@pytest.mark.parametrize(("n", "trials"), [(20, 500), (200, 500), (5000, 300)])
def test_the_bootstrap_of_kappa_covers_the_truth_95_times_in_100(n: int, trials: int) -> None:
    generator, hits = np.random.default_rng([n, 2]), 0
    chances = [0.4, 0.1, 0.15, 0.35]  # both yes, only the first, only the second, neither
    truth = float(kappa(np.array([[0.4, 0.5, 0.55, 1.0]]))[0])
    shapes = np.array([[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 1]], dtype=float)
    for trial in range(trials):
        columns = np.repeat(shapes, generator.multinomial(n, chances), axis=0)
        found = bootstrap(columns, kappa, seed=trial)
        hits += found.low <= truth <= found.high
    assert 0.93 <= hits / trials <= 0.97


def test_judges_agreement_within_conversations_needs_the_conversation_as_the_cluster() -> None:
    generator, alone, together = np.random.default_rng(12), 0, 0
    conversations = [i // 8 for i in range(320)]
    for trial in range(200):
        level = np.repeat(generator.beta(2, 2, size=40), 8)
        columns = counted((generator.random(320) < level).astype(float))
        by_reply, by_conversation = bootstrap(columns, mean_of, seed=trial), bootstrap(columns, mean_of, seed=trial, clusters=conversations)
        assert (by_reply.n, by_conversation.n) == (320, 40)
        alone += by_reply.low <= 0.5 <= by_reply.high
        together += by_conversation.low <= 0.5 <= by_conversation.high
    assert alone / 200 < 0.85
    assert 0.93 <= together / 200 <= 0.97


@settings(max_examples=40)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.integers(0, 5))
def test_an_interval_repeats_with_its_seed_and_holds_its_value(values: list[float], seed: int) -> None:
    found = bootstrap(counted(np.array(values)), mean_of, seed=seed)
    assert found == bootstrap(counted(np.array(values)), mean_of, seed=seed)
    assert min(values) - 1e-6 <= found.low <= found.value <= found.high <= max(values) + 1e-6
