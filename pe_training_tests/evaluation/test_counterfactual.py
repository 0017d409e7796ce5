"""Counterfactual pairs: the paired test, its correction, and answers that turn with the group."""

from __future__ import annotations

import numpy as np
import pytest

from pe_training.evaluation.counterfactual import flip_metric, pair_metrics, sign_flip
from pe_training.evaluation.multiplicity import holm


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_sign_flips_agree_with_scipy() -> None:
    from scipy.stats import permutation_test

    differences = np.array([0.5, -0.2, 0.3, 0.8, 0.1, -0.4, 0.6])
    theirs = permutation_test(
        (differences,), lambda x, axis: np.sum(x, axis=axis), permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    p, method = sign_flip(list(differences), seed=1)
    assert method == "sign-flip-exact"
    assert p == pytest.approx(theirs.pvalue, abs=1e-9)
    many = list(np.random.default_rng(2).normal(0.3, 1, 60))
    drawn, how = sign_flip(many, seed=1)
    assert how == "sign-flip-20000"
    assert 0 < drawn < 0.2
    assert sign_flip([0.0, 0.0], seed=1)[0] == 1


def test_the_test_keeps_its_size_and_has_power() -> None:
    generator = np.random.default_rng(7)
    null = [sign_flip(list(generator.normal(0, 1, 12)), seed=1)[0] < 0.05 for _ in range(400)]
    real = [sign_flip(list(generator.normal(1, 1, 12)), seed=1)[0] < 0.05 for _ in range(100)]
    assert np.mean(null) <= 0.075
    assert np.mean(real) >= 0.8


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
