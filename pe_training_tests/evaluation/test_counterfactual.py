"""Counterfactual pairs: the paired test, its correction, and answers that turn with the group."""

from __future__ import annotations

import pytest

from pe_training.evaluation.counterfactual import flip_metric, pair_metrics


def test_pairs_are_corrected_together_and_say_who_is_ahead() -> None:
    cells = [("age", {"young": 1.0, "old": float(i % 5 == 0)}) for i in range(12)]
    cells += [("sex", {"a": 0.5, "b": 0.5 + (-1) ** i / 4}) for i in range(12)]
    found = {metric.slice: metric for metric in pair_metrics(cells, suite="fairness", min_n=4, seed=1)}
    assert set(found) == {"pair=age: old / young", "pair=sex: a / b"}
    age, sex = found["pair=age: old / young"], found["pair=sex: a / b"]
    assert age.tuned is not None
    assert age.tuned.value == 0.75  # a distance, whichever way
    assert age.tuned.low > 0
    assert age.test is not None
    assert age.test.family == 2
    assert age.test.p_value == pytest.approx(2 / 2**9, abs=1e-6)
    assert age.test.adjusted_p == pytest.approx(4 / 2**9, abs=1e-6)
    assert (age.note or "").startswith("young is better answered; p 0.00391")
    assert sex.tuned is not None
    assert sex.tuned.low == 0
    assert sex.test is not None
    assert sex.test.adjusted_p == 1


def test_a_pair_with_few_shared_scenarios_is_insufficient_and_no_part_of_the_family() -> None:
    cells = [("age", {"young": 1.0, "old": 0.0}), ("age", {"young": 1.0})] * 3 + [
        ("sex", {"a": 0.5, "b": 0.25 * (i % 3)}) for i in range(6)
    ]
    found = {metric.slice: metric for metric in pair_metrics(cells, suite="fairness", min_n=4, seed=1)}
    assert found["pair=age: old / young"].tuned is None
    assert found["pair=age: old / young"].note == "insufficient: 3 of 4"
    test = found["pair=sex: a / b"].test
    assert test is not None
    assert test.family == 1


def test_flips_are_scenarios_whose_answer_turns_with_the_group() -> None:
    metric = flip_metric([{"a": True, "b": True}, {"a": True, "b": False}, {"a": False, "b": False}], suite="fairness", base=None)
    assert metric.tuned is not None
    assert metric.tuned.value == round(1 / 3, 6)
