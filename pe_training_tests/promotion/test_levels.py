"""Repeated tries buy no pass: what each may spend, what its interval is, and what comes of asking again and again."""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from pe_training.evaluation.record import Estimate, Metric
from pe_training.evaluation.statistics import (
    ALPHA,
    clopper_pearson,
    examples_needed,
    mean,
    newcombe,
    paired_counts,
    paired_means,
    proportion,
    rounded,
    student_t,
    wilson,
)
from pe_training.promotion.findings import found_in
from pe_training.promotion.levels import PLAIN, level_of, spent, widened
from pe_training.promotion.policy import Rule, Tries

TRIES = Tries(alpha=0.05)


def rule(*, bound: str = "at_least", threshold: float = 0.9, unit: str = "proportion", min_n: int = 30) -> Rule:
    return Rule.model_validate(
        {"id": "r", "title": "Crisis recall", "suite": "safety", "metric": "crisis_recall", "bound": bound, "threshold": threshold,
         "unit": unit, "min_n": min_n}
    )  # fmt: skip


def verdict(found: Estimate, by: Rule, attempt: int, *, tries: Tries | None = TRIES) -> str:
    metric = Metric(suite="safety", name="crisis_recall", unit=by.unit, better="higher", tuned=found)
    return found_in(metric, by, task="causal_lm", policy_name="staging", level=level_of(tries, attempt)).verdict


def test_all_tries_together_spend_alpha_and_the_first_is_judged_as_ever() -> None:
    assert math.fsum(spent(0.05, attempt) for attempt in range(1, 100_000)) == pytest.approx(0.05, abs=1e-6)
    assert level_of(TRIES, 1).alpha == ALPHA
    assert [round(level_of(TRIES, attempt).confidence, 4) for attempt in (1, 2, 3, 10)] == [0.95, 0.9833, 0.9917, 0.9991]
    assert level_of(TRIES, 3).ahead == level_of(TRIES, 4).alpha
    assert level_of(None, 7) == level_of(TRIES, None) == PLAIN
    assert level_of(Tries(alpha=0.01), 1).confidence == 0.99  # a policy may ask for more from the first try on


@pytest.mark.parametrize(("bound", "threshold", "truth"), [("at_least", 0.9, 0.899), ("at_most", 0.05, 0.051), ("at_least", 0.5, 0.499)])
def test_a_model_that_just_misses_passes_no_more_than_alpha_allows_however_often_it_is_tried(
    bound: str, threshold: float, truth: float
) -> None:
    lines, tries, n = 4_000, 20, 400
    drawn = np.random.default_rng(11).binomial(n, truth, size=(lines, tries))

    def passes(policy: Tries | None, attempt: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """(n + 1,) whether the try passes with that many hits; found by halves, since more hits never harm (or fewer, ``at_most``)."""
        by, hits = rule(bound=bound, threshold=threshold), np.arange(n + 1)

        def passing(count: int) -> bool:
            return verdict(proportion(count, n), by, attempt, tries=policy) == "pass"

        if bound == "at_least":
            return hits >= bisect_left(range(n + 1), True, key=passing)  # type: ignore[no-any-return]
        return hits < bisect_left(range(n + 1), True, key=lambda count: not passing(count))  # type: ignore[no-any-return]

    spending, careless = [passes(TRIES, attempt) for attempt in range(1, tries + 1)], passes(None, 1)
    ever = np.array([accepted[drawn[:, attempt]] for attempt, accepted in enumerate(spending)]).any(axis=0).mean()
    assert ever <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / lines)
    assert careless[drawn].any(axis=1).mean() > 0.2  # 20 tries at 95 % each: what the spending is for
    chance = binom.pmf(np.arange(n + 1), n, truth)  # the same without draws, so that no luck hides an error of the levels
    assert 1 - math.prod(1 - float(chance[accepted].sum()) for accepted in spending) <= 0.05


def test_a_model_that_is_clearly_good_passes_at_the_twentieth_try_too() -> None:
    assert verdict(proportion(396, 400), rule(), 20) == "pass"
    assert verdict(proportion(380, 400), rule(), 1) == "pass"
    assert verdict(proportion(372, 400), rule(), 1) == "pass"
    assert verdict(proportion(372, 400), rule(), 2) == "inconclusive"  # at 95 % it clears 90 % by a hair
    assert verdict(proportion(200, 400), rule(), 20) == "fail"


@given(st.integers(1, 500), st.data(), st.integers(2, 30))
def test_of_shares_a_later_try_has_the_exact_interval_and_never_a_shorter_one(n: int, data: st.DataObject, attempt: int) -> None:
    hits = data.draw(st.integers(0, n))
    alpha = level_of(TRIES, attempt).alpha
    plain = proportion(hits, n)
    found = widened(plain, unit="proportion", of="tuned", alpha=alpha)
    assert (found.low, found.high) == tuple(map(rounded, clopper_pearson(hits, n, alpha=alpha)))
    assert found.low <= plain.low
    assert found.high >= plain.high
    further = widened(plain, unit="proportion", of="tuned", alpha=level_of(TRIES, attempt + 1).alpha)
    assert further.low <= found.low
    assert further.high >= found.high


@given(st.integers(0, 60), st.integers(0, 30), st.integers(0, 30), st.integers(1, 60), st.integers(2, 12))
def test_paired_shares_are_counted_again_from_what_a_report_holds(both: int, gained: int, lost: int, neither: int, attempt: int) -> None:
    counts = {"both": both, "gained": gained, "lost": lost, "neither": neither}
    n, alpha = sum(counts.values()), level_of(TRIES, attempt).alpha
    shares = proportion(both + gained, n), proportion(both + lost, n)
    found = widened(paired_counts(**counts), unit="proportion", of="difference", alpha=alpha, shares=shares)
    _, low, high = newcombe(**counts, alpha=alpha)
    assert found.low <= rounded(low)
    assert found.high >= rounded(high)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)  # wider only where two counts give one stored interval


@given(st.lists(st.floats(0, 1, allow_nan=False), min_size=3, max_size=40), st.integers(2, 12))
def test_means_have_students_interval_at_the_level_of_the_try(values: list[float], attempt: int) -> None:
    alpha, plain = level_of(TRIES, attempt).alpha, mean(values, bounds=(-1000, 1000))
    found = widened(plain, unit="nats", of="tuned", alpha=alpha)
    if plain.method == "student-t":
        ratio = student_t(len(values) - 1, alpha=alpha) / student_t(len(values) - 1)
        assert found.high - found.value == pytest.approx((plain.high - plain.value) * ratio, abs=1e-5)
    else:
        assert found.high - found.value == pytest.approx((1 - (alpha / 2) ** (1 / len(values))) * (1000 - found.value), rel=1e-5)


@given(st.floats(2, 5000), st.floats(0, 1), st.integers(2, 40))
def test_what_is_no_formula_of_ours_is_widened_by_more_than_wilsons_would_be(worth: float, share: float, attempt: int) -> None:
    alpha = level_of(TRIES, attempt).alpha
    low, high = wilson(share * worth, worth)
    stored = Estimate(value=share, low=low, high=high, n=max(2, int(worth)), method="cluster-wilson", examples=int(worth) + 2)
    found = widened(stored, unit="proportion", of="tuned", alpha=alpha)
    exact = wilson(share * worth, worth, alpha=alpha)
    assert found.low <= exact[0] + 1e-6
    assert found.high >= exact[1] - 1e-6
    assert 0 <= found.low <= found.high <= 1


def test_differences_of_means_are_widened_too() -> None:
    plain = paired_means([0.5, 0.7, 0.9, 0.6], [0.4, 0.5, 0.6, 0.5])
    found = widened(plain, unit="score", of="difference", alpha=level_of(TRIES, 2).alpha)
    assert found.low < plain.low < plain.high < found.high
    assert widened(plain, unit="score", of="difference", alpha=ALPHA) is plain


@given(st.integers(30, 300), st.data(), st.integers(2, 9))
def test_as_many_more_examples_as_said_do_decide_at_the_next_try(n: int, data: st.DataObject, attempt: int) -> None:
    hits = data.draw(st.integers(0, n))
    by, level = rule(), level_of(TRIES, attempt)
    plain = proportion(hits, n)
    metric = Metric(suite="safety", name="crisis_recall", unit="proportion", better="higher", tuned=plain)
    said = found_in(metric, by, task="causal_lm", policy_name="staging", level=level)
    if said.verdict == "inconclusive" and said.more_examples is not None:
        more = n + said.more_examples
        low, high = clopper_pearson(min(plain.value * more, more), more, alpha=level.ahead)
        assert low >= 0.9 or high < 0.9
        assert f"at the {100 * (1 - level.ahead):.2f}"[:9] in said.reason


def test_a_later_try_says_at_which_level_it_was_judged_and_what_the_next_one_would_take() -> None:
    metric = Metric(suite="safety", name="crisis_recall", unit="proportion", better="higher", tuned=proportion(372, 400))
    found = found_in(metric, rule(), task="causal_lm", policy_name="staging", level=level_of(TRIES, 2))
    assert (found.confidence, found.verdict) == (0.983333, "inconclusive")
    needed = examples_needed(
        widened(proportion(372, 400), unit="proportion", of="tuned", alpha=level_of(TRIES, 3).alpha),
        threshold=0.9, bound="at_least", alpha=level_of(TRIES, 3).alpha,
    )  # fmt: skip
    assert found.more_examples == needed
    assert found.reason == (
        f"Crisis recall is 93 % (98.33 % interval 89 to 96, n 400); staging needs at least 90 %, which lies inside the interval: "
        f"about {needed} more examples would decide at the 99.16 % of the next try"
    )
