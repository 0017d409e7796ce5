"""Loss per token over dialogues of unequal length: exact values, references, coverage, strata and clusters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pe_training.core.errors import PeError
from pe_training.evaluation.ratios import jackknife, perplexity, weighted_ratio, weighted_ratio_difference
from pe_training.evaluation.record import Estimate
from pe_training.evaluation.statistics import mean, student_t


def test_the_loss_is_weighted_by_tokens() -> None:
    found = weighted_ratio([10.0, 90.0, 30.0], [10.0, 30.0, 20.0])
    assert found.value == 2.166667
    assert (found.n, found.method) == (3, "cluster-jackknife-t")
    # by hand: ratios without each 2.4, 4/3, 2.5; variance 2/3 of the squared distances; 3600 / 1400 - 1 degrees
    spread = math.sqrt(2 / 3 * sum((r - 130 / 60) ** 2 for r in (2.4, 4 / 3, 2.5)))
    assert found.high - found.value == pytest.approx(student_t(3600 / 1400 - 1) * spread, abs=2e-6)


def test_equal_dialogues_give_student_t() -> None:
    found, plain = weighted_ratio([2.0, 3.0, 4.5, 1.0], [5.0] * 4), mean([0.4, 0.6, 0.9, 0.2])
    assert (found.value, found.low) == pytest.approx((plain.value, plain.low), abs=2e-6)
    assert found.high > plain.high == 1  # a mean of shares is cut to 1, a loss is not


def test_unequal_dialogues_count_for_fewer_than_they_are() -> None:
    noise = [0.1, -0.1] * 10
    equal = weighted_ratio([10 * (2 + e) for e in noise], [10.0] * 20)
    sizes = [1.0] * 18 + [90.0] * 2
    unequal = weighted_ratio([s * (2 + e) for s, e in zip(sizes, noise, strict=True)], sizes)
    assert unequal.high - unequal.low > 6 * (equal.high - equal.low)


def test_perplexity_is_the_exponential_of_the_loss() -> None:
    found = perplexity(Estimate(value=2.0, low=1.5, high=2.5, n=9, method="m"))
    assert (found.value, found.low, found.high) == (round(math.exp(2), 6), round(math.exp(1.5), 6), round(math.exp(2.5), 6))


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_an_error_and_never_a_metric(loss: float) -> None:
    with pytest.raises(PeError, match="not a finite number"):
        weighted_ratio([1.0, loss], [3.0, 4.0])


def test_a_loss_too_large_for_a_perplexity_is_an_error() -> None:
    with pytest.raises(PeError, match="too large"):
        perplexity(Estimate(value=1.0, low=1.0, high=701.0, n=2, method="m"))


@pytest.mark.parametrize(("n", "trials"), [(20, 1500), (60, 1500), (500, 1500), (5000, 800)])
@pytest.mark.parametrize("spread", [0.3, 1.0])  # of log lengths: the longest of 20 dialogues is 2 or 7 times the middle one
def test_the_interval_of_a_loss_covers_the_truth_95_times_in_100(n: int, trials: int, spread: float) -> None:
    generator, hits = np.random.default_rng([n, 17]), 0
    for _ in range(trials):
        tokens = np.ceil(generator.lognormal(4, spread, size=n))
        nats = tokens * generator.normal(2.5, 0.4, size=n)
        found = weighted_ratio(nats.tolist(), tokens.tolist())
        hits += found.low <= 2.5 <= found.high
    assert 0.93 <= hits / trials <= 0.97


def test_dialogues_of_one_source_that_err_together_need_the_source_as_the_cluster() -> None:
    generator, alone, together = np.random.default_rng(8), 0, 0
    sources = [i // 10 for i in range(300)]
    for _ in range(400):
        shared = np.repeat(generator.normal(0, 0.3, size=30), 10)
        tokens = generator.integers(10, 80, size=300).astype(float)
        nats = (tokens * (2.5 + shared + generator.normal(0, 0.3, size=300))).tolist()
        dialogue, source = weighted_ratio(nats, tokens.tolist()), weighted_ratio(nats, tokens.tolist(), clusters=sources)
        assert (dialogue.n, source.n, dialogue.value) == (300, 30, source.value)
        alone += dialogue.low <= 2.5 <= dialogue.high
        together += source.low <= 2.5 <= source.high
    assert alone / 400 < 0.75
    assert 0.93 <= together / 400 <= 0.97


def test_strata_whose_sizes_were_fixed_take_their_difference_out_of_the_interval() -> None:
    generator, hits = np.random.default_rng(4), 0
    kinds = ["short"] * 40 + ["long"] * 20
    level = np.array([2.0] * 40 + [3.0] * 20)
    tokens = np.array([20.0] * 40 + [60.0] * 20)
    truth = float((tokens * level).sum() / tokens.sum())
    for _ in range(800):
        nats = (tokens * (level + generator.normal(0, 0.2, size=60))).tolist()
        found = weighted_ratio(nats, tokens.tolist(), strata=kinds)
        hits += found.low <= truth <= found.high
    assert 0.93 <= hits / 800 <= 0.97
    plain = weighted_ratio(nats, tokens.tolist())
    assert (found.value, found.method) == (plain.value, "stratified-jackknife-t")
    assert plain.high - plain.low > 2 * (found.high - found.low)


def test_a_paired_loss_difference_is_far_narrower_than_the_losses() -> None:
    generator = np.random.default_rng(3)
    tokens = [float(v) for v in generator.integers(10, 80, size=50)]
    base = [t * float(generator.normal(2.5, 0.6)) for t in tokens]
    tuned = [b - 0.2 * t for b, t in zip(base, tokens, strict=True)]
    found = weighted_ratio_difference(tuned, base, tokens)
    assert (found.value, found.low, found.high) == pytest.approx((-0.2, -0.2, -0.2), abs=1e-6)
    assert weighted_ratio(tuned, tokens).high - weighted_ratio(tuned, tokens).low > 0.1


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 100)), min_size=2, max_size=30))
def test_a_ratio_lies_in_its_interval_and_does_not_know_the_order(pairs: list[tuple[float, float]]) -> None:
    over, under = [o for o, _ in pairs], [u for _, u in pairs]
    found, turned = weighted_ratio(over, under), weighted_ratio(over[::-1], under[::-1])
    assert found.low <= found.value <= found.high
    assert (found.low, found.high) == pytest.approx((turned.low, turned.high), rel=1e-6, abs=2e-6)
    one_each = weighted_ratio(over, under, clusters=list(range(len(pairs))), strata=["all"] * len(pairs))
    assert (one_each.low, one_each.high) == (found.low, found.high)


def test_the_jackknife_of_a_mean_is_student_t() -> None:
    values = [0.4, 0.5, 0.6]
    without = [(sum(values) - value) / 2 for value in values]
    assert jackknife(0.5, without) == pytest.approx((0.251586, 0.748414), abs=1e-6)
