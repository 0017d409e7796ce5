"""Group fairness by counts: the point values of fairlearn and scikit-learn, and intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest
from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_difference,
    equal_opportunity_difference,
    false_negative_rate,
    false_positive_rate,
    selection_rate,
    true_negative_rate,
    true_positive_rate,
)  # fmt: skip
from fairlearn.metrics import (
    equalized_odds_difference as fairlearn_equalized_odds,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_score

from pe_training.evaluation.parity import METRICS, Outcomes, difference, equalized_odds_difference, outcomes_of

THEIRS = {
    "selection_rate": selection_rate,
    "accuracy": accuracy_score,
    "true_positive_rate": true_positive_rate,
    "false_negative_rate": false_negative_rate,
    "false_positive_rate": false_positive_rate,
    "true_negative_rate": true_negative_rate,
    "precision": precision_score,
    "negative_predictive_value": lambda right, said: precision_score(~np.asarray(right), ~np.asarray(said)),
    "f1": f1_score,
    "balanced_accuracy": balanced_accuracy_score,
}
Answers = st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from("abc")), max_size=60)
EVERY_CELL = [(right, said, group) for right in (True, False) for said in (True, False) for group in "abc"]


@settings(max_examples=12)
@given(Answers)
def test_point_values_are_exactly_those_of_fairlearn_and_scikit_learn(rows: list[tuple[bool, bool, str]]) -> None:
    rows = rows + EVERY_CELL
    right, said, groups = (np.array(column) for column in zip(*rows, strict=True))
    tables = outcomes_of(right.tolist(), said.tolist(), groups=groups.tolist())
    assert set(THEIRS) == set(METRICS)
    frame = MetricFrame(metrics=THEIRS, y_true=right, y_pred=said, sensitive_features=groups)
    for metric in METRICS:
        for group, table in tables.items():
            ends = table.ends(metric)
            assert ends is not None
            assert ends[0] == pytest.approx(frame.by_group.loc[group, metric], abs=1e-12)
            assert 0 <= ends[1] <= ends[0] <= ends[2] <= 1
        gap = difference(tables, metric)
        assert gap is not None
        assert gap.value == pytest.approx(frame.difference()[metric], abs=1e-6)
        assert 0 <= gap.low <= gap.value <= gap.high <= 1
    parity, odds = difference(tables, "selection_rate"), equalized_odds_difference(tables)
    assert parity is not None
    assert odds is not None
    assert parity.value == pytest.approx(demographic_parity_difference(right, said, sensitive_features=groups), abs=1e-6)
    assert odds.value == pytest.approx(fairlearn_equalized_odds(right, said, sensitive_features=groups), abs=1e-6)
    opportunity = difference(tables, "true_positive_rate")
    assert opportunity is not None
    assert opportunity.value == pytest.approx(equal_opportunity_difference(right, said, sensitive_features=groups), abs=1e-6)


def test_a_share_without_examples_is_not_measured() -> None:
    nobody_positive = Outcomes(false_positives=3, true_negatives=5)
    assert nobody_positive.ends("true_positive_rate") is None
    assert nobody_positive.ends("balanced_accuracy") is None
    assert Outcomes(true_negatives=9).ends("f1") is None
    assert Outcomes(true_negatives=9).ends("precision") is None
    good = Outcomes(true_positives=20, false_positives=3, false_negatives=4, true_negatives=30)
    assert difference({"a": good, "b": nobody_positive}, "true_positive_rate") is None
    assert equalized_odds_difference({"a": good, "b": nobody_positive}) is None
    assert difference({"a": good, "b": nobody_positive}, "selection_rate") is not None
    assert difference({"a": good, "b": nobody_positive}, "selection_rate", min_n=10) is None
    assert difference({"a": good}, "selection_rate") is None


def test_groups_without_a_miss_do_not_prove_a_gap_of_zero() -> None:
    found = difference({name: Outcomes(true_positives=15) for name in "ab"}, "true_positive_rate")
    assert found is not None
    assert (found.value, found.low) == (0, 0)
    assert found.high > 0.15


@pytest.mark.parametrize("n", [20, 60, 400, 5000])
@pytest.mark.parametrize("metric", ["f1", "balanced_accuracy", "precision"])
def test_the_interval_of_a_group_covers_the_truth(metric: str, n: int) -> None:
    chances = [0.40, 0.10, 0.12, 0.38]
    hit, spared = 0.40 / 0.52, 0.38 / 0.48
    truth = {"f1": 2 * 0.4 / (2 * 0.4 + 0.22), "balanced_accuracy": (hit + spared) / 2, "precision": 0.8}[metric]
    hits = 0
    for tp, fp, fn, tn in np.random.default_rng(n).multinomial(n, chances, size=3000).tolist():
        ends = Outcomes(true_positives=tp, false_positives=fp, false_negatives=fn, true_negatives=tn).ends(metric)
        assert ends is not None
        hits += ends[1] <= truth <= ends[2]
    assert 0.93 <= hits / 3000 <= 0.97


@pytest.mark.parametrize("rates", [(0.8, 0.8), (0.9, 0.7), (0.8, 0.8, 0.8, 0.8, 0.8), (0.95, 0.9, 0.9, 0.6)])
@pytest.mark.parametrize("n", [20, 100, 1000])
def test_the_interval_of_a_difference_covers_the_truth_and_its_upper_end_alone_more_often(rates: tuple[float, ...], n: int) -> None:
    truth, drawn = max(rates) - min(rates), np.random.default_rng([n, len(rates)]).binomial(n, rates, size=(1000, len(rates))).tolist()
    tables = [{i: Outcomes(true_positives=k, false_negatives=n - k) for i, k in enumerate(row)} for row in drawn]
    found = [gap for table in tables if (gap := difference(table, "true_positive_rate"))]
    assert np.mean([gap.low <= truth <= gap.high for gap in found]) >= 0.94
    assert np.mean([gap.high >= truth for gap in found]) >= 0.96


def test_equalized_odds_pays_for_two_looks_at_its_lower_end_only() -> None:
    good = Outcomes(true_positives=90, false_negatives=10, false_positives=10, true_negatives=90)
    tables = {"a": good, "b": Outcomes(true_positives=60, false_negatives=40, false_positives=10, true_negatives=90)}
    odds, alone = equalized_odds_difference(tables), difference(tables, "true_positive_rate")
    assert odds is not None
    assert alone is not None
    assert (odds.value, odds.high) == (alone.value, alone.high)
    assert 0 < odds.low < alone.low
