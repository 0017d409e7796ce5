"""Rounding that does not lie."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pe_training.evaluation.record import Comparison, Estimate
from pe_training.promotion.record import Outcome
from pe_training.views import numbers
from pe_training_tests.views.factory import evidence


def outcome(*, value: float, low: float, high: float, threshold: float, of: str = "tuned") -> Outcome:
    """A rule of the factory with other numbers."""
    update = {"value": value, "low": low, "high": high, "threshold": threshold, "of": of, "unit": "proportion"}
    return evidence().decision.outcomes[0].model_copy(update=update)


@given(st.floats(0, 1))
@example(0.004)
@example(0.996)
@example(1.0)
def test_a_share_reads_as_nothing_or_everything_only_when_it_is(share: float) -> None:
    text = numbers.percent(share)
    assert abs(float(text) - share * 100) <= 0.5
    if 1e-7 < share < 1 - 1e-7:
        assert float(text) not in (0, 100)
    if share in (0, 1):
        assert text == str(round(share * 100))


@given(st.integers(0, 1000), st.integers(0, 1000))
@example(896, 900)
@example(899, 900)
def test_a_value_never_reads_as_the_threshold_that_it_is_not(value: int, threshold: int) -> None:
    assume(value != threshold)
    rule = outcome(value=value / 1000, low=0, high=1, threshold=threshold / 1000)
    assert float(numbers.found(rule).split(" %")[0]) != float(numbers.threshold(rule).split(" %")[0])


def test_what_a_rule_found_and_needs_is_written_in_its_unit() -> None:
    rule = outcome(value=0.896, low=0.852, high=0.9312, threshold=0.9)
    assert numbers.found(rule) == "89.6 % (85 to 93)"
    assert numbers.needed(rule) == "at least 90 %"
    points = outcome(value=0.034, low=-0.012, high=0.081, threshold=0.0, of="difference")
    assert numbers.found(points) == "+3 points (-1 to 8)"
    assert numbers.needed(points) == "at least 0 points"
    assert numbers.needed(outcome(value=0.5, low=0, high=1, threshold=0.005)) == "at least 0.5 %"


def test_no_evidence_is_never_a_number() -> None:
    rule = evidence().decision.outcomes[0].model_copy(update={"value": None, "low": None, "high": None, "n": None})
    assert numbers.found(rule) == "no evidence"
    assert not re.search(r"\d", numbers.found(rule))
    assert numbers.estimate(None, "proportion") == numbers.difference(None, "nats") == "-"


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("proportion", 0.12, "+12 points (5 to 20)"), ("proportion", -0.12, "-12 points (5 to 20)"),
        ("proportion", 0.0, "0 points (5 to 20)"),
        ("nats", -0.322, "-0.32 nats (0.05 to 0.20)"), ("score", 0.001, "0.00 (0.05 to 0.20)"), ("score", -0.001, "0.00 (0.05 to 0.20)"),
    ],
)  # fmt: skip
def test_a_difference_has_its_sign_and_zero_has_none(unit: str, value: float, text: str) -> None:
    assert numbers.difference(Comparison(value=value, low=0.05, high=0.2, n=9, method="x"), unit) == text


def test_durations_money_counts_and_sizes_read_as_people_say_them() -> None:
    assert [numbers.duration(s) for s in (0, 0.2, 4, 59.6, 200, 41_400)] == [
        "0 s", "under 1 s", "4 s", "1 min 0 s", "3 min 20 s", "11 h 30 min",
    ]  # fmt: skip
    assert [numbers.usd(a) for a in (0, 0.00001, 0.00123, 1.5, 12_000)] == [
        "0.00 USD", "under 0.0001 USD", "0.0012 USD", "1.50 USD", "12,000.00 USD",
    ]  # fmt: skip
    assert [numbers.count(n, noun) for n, noun in ((1, "row"), (1204, "row"), (2, "family"))] == ["1 row", "1,204 rows", "2 families"]
    assert [numbers.bytes_(n) for n in (12, 4_096, 19_550_000)] == ["12 B", "4.1 kB", "19.6 MB"]


def test_what_stands_behind_a_number_is_examples_or_clusters_of_them() -> None:
    found = Estimate(value=0.5, low=0.4, high=0.6, n=1200, method="wilson")
    assert numbers.units(found) == "1,200"
    assert numbers.units(found.model_copy(update={"n": 12, "examples": 1200})) == "12 clusters of 1,200"
    assert numbers.units(found.model_copy(update={"n": 1, "examples": 2})) == "1 cluster of 2"
    assert "examples" not in found.content()  # a record that was written before keeps its id
