"""Drawings: what is drawn is what was measured, and the same numbers give the same text."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pe_training.evaluation.record import Metric
from pe_training.views import figures, svg
from pe_training_tests.views.factory import compared, estimate, evidence

finite = st.floats(-1e6, 1e6)


def dot(drawing: str) -> float:
    """Where the dot is."""
    return float(re.findall(r'class="dot" cx="([0-9.]+)"', drawing)[0])


def bar(drawing: str, style: str) -> float:
    """Where an upright line is."""
    return float(re.findall(rf'class="{style}" x1="([0-9.]+)"', drawing)[0])


def metric(value: float, *, better: str, half: float = 0.02) -> Metric:
    """A measure whose difference is ``value``."""
    return Metric.model_validate(
        {
            "suite": "safety", "name": "x", "unit": "proportion", "better": better,
            "tuned": estimate(0.5, 0.1, n=9), "difference": compared(value, half, n=9),
        }
    )  # fmt: skip


def test_the_dot_of_a_rule_lies_on_the_side_that_the_verdict_says() -> None:
    for outcome in evidence("fail").decision.outcomes:
        if outcome.verdict in ("pass", "fail"):
            drawing = figures.rule_figure(outcome)
            right = dot(drawing) > bar(drawing, "limit")
            assert right == ((outcome.verdict == "pass") == (outcome.bound == "at_least")), outcome.rule


def test_a_rule_without_evidence_has_no_dot_and_one_for_another_task_no_drawing() -> None:
    by_id = {outcome.rule: figures.rule_figure(outcome) for outcome in evidence("fail").decision.outcomes}
    assert "dot" not in by_id["largest-gap"]
    assert "no evidence" in by_id["largest-gap"]
    assert by_id["held-out-accuracy"] == ""


@pytest.mark.parametrize(("value", "better", "style"), [(0.1, "higher", "pass"), (-0.1, "higher", "fail"), (-0.1, "lower", "pass")])
def test_better_is_always_to_the_right(value: float, better: str, style: str) -> None:
    drawing = figures.change_figure(metric(value, better=better), reach=0.5)
    assert (dot(drawing) > bar(drawing, "zero")) == (style == "pass")
    assert f'class="figure {style}"' in drawing


def test_an_interval_across_zero_is_neither_better_nor_worse() -> None:
    drawing = figures.change_figure(metric(0.01, better="higher"), reach=0.5)
    assert 'class="figure neutral"' in drawing
    assert "no clear difference" in drawing


@given(finite, finite)
@example(0.0, 0.0)
@example(3.1, 3.1000001)
def test_ticks_are_even_and_cover_the_numbers(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assume(low == high or high - low > 1e-6)
    ticks, slack = svg.nice_ticks(low, high), 1e-8 * (high - low) + 1e-9
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_a_scale_of_shares_shows_all_of_them(shares: list[float]) -> None:
    low, high = svg.share_bounds(shares)
    assert low <= min(shares) <= max(shares) <= high


def test_a_label_cannot_close_the_drawing() -> None:
    drawing = svg.change(svg.Span(low=0, value=0, high=0), reach=1, style="x", label='"/><script>')
    assert "<script>" not in drawing


def test_a_long_history_is_thinned_and_keeps_its_ends() -> None:
    train = [(step, 3.0 - step / 10_000) for step in range(1, 8_001)]
    drawing = svg.curve(train, [(0, 3.2), (8_000, 2.4)], kept_step=8_000)
    assert len(drawing) < 12_000
    assert drawing == svg.curve(train, [(0, 3.2), (8_000, 2.4)], kept_step=8_000)
    assert "kept: step 8,000" in drawing


def test_losses_that_are_no_numbers_are_not_drawn_and_no_history_gives_no_curve() -> None:
    drawing = svg.curve([(1, float("nan")), (2, 3.0)], [(0, float("inf"))], kept_step=2)
    assert "nan" not in drawing
    assert "inf" not in drawing
    assert svg.curve([], [], kept_step=0) == ""
