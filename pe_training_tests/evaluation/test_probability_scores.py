"""Scores of probabilities: equal to scikit-learn where it has them, and honest at small n."""

from __future__ import annotations

import numpy as np
import pytest

from pe_training.evaluation.classification import Labelled, score_labels
from pe_training.evaluation.probability_scores import Probabilities, auprc, auroc, calibration_error, half_brier, label_of
from pe_training.evaluation.record import Metric
from pe_training_tests.evaluation import controls

NAMES = ("a", "b", "c")


def sample(n: int, *, seed: int = 3, decimals: int = 2) -> tuple[list[str], list[Probabilities]]:
    """Texts with probabilities that lean to the right label, rounded so that there are ties."""
    generator = np.random.default_rng(seed)
    expected = [NAMES[i] for i in generator.integers(0, 3, n)]
    raw = np.array([generator.dirichlet([3.0 if name == label else 1.0 for name in NAMES]) for label in expected])
    raw[:, :2] = raw[:, :2].round(decimals)
    raw[:, 2] = 1 - raw[:, 0] - raw[:, 1]
    return expected, [dict(zip(NAMES, map(float, row), strict=True)) for row in raw]


def found(metrics: tuple[Metric, ...], name: str, part: str = "all") -> Metric:
    return next(metric for metric in metrics if (metric.name, metric.slice) == (name, part))


def test_rankings_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    expected, given = sample(180)
    wanted_roc, wanted_pr = [], []
    for name in NAMES:
        truth, scores = [label == name for label in expected], [row[name] for row in given]
        wanted_roc.append(roc_auc_score(truth, scores))
        wanted_pr.append(average_precision_score(truth, scores))
    roc, pr = auroc(expected, given, seed=1), auprc(expected, given, seed=1)
    assert roc is not None
    assert pr is not None
    assert roc.value == pytest.approx(np.mean(wanted_roc))
    assert pr.value == pytest.approx(np.mean(wanted_pr))
    assert roc.estimate().low < roc.value < roc.estimate().high


def test_the_interval_of_a_ranking_is_about_that_of_hanley_and_mcneil() -> None:
    expected = ["x"] * 60 + ["y"] * 90
    generator = np.random.default_rng(5)
    scores = [float(1 / (1 + np.exp(-v))) for v in [*generator.normal(1, 1, 60), *generator.normal(0, 1, 90)]]
    given: list[Probabilities] = [{"x": p, "y": 1 - p} for p in scores]
    made = [one for seed in range(8) if (one := auroc(expected, given, seed=seed))]
    widths = [one.estimate().high - one.estimate().low for one in made]  # one is some 3 % wider or narrower than their mean, by its draws
    a, m, n = made[0].value, 60, 90
    variance = (a * (1 - a) + (m - 1) * (a / (2 - a) - a * a) + (n - 1) * (2 * a * a / (1 + a) - a * a)) / (m * n)
    assert 1 <= np.mean(widths) / (2 * 1.96 * variance**0.5) < 1.3


def test_intervals_of_a_ranking_hold_the_truth_often_enough() -> None:
    generator = np.random.default_rng(11)
    truth, held = 0.760, 0  # of two normal distributions one standard deviation apart
    for trial in range(40):
        scores = 1 / (1 + np.exp(-np.concatenate([generator.normal(1, 1, 15), generator.normal(0, 1, 25)])))
        made = auroc(["x"] * 15 + ["y"] * 25, [{"x": float(p), "y": 1 - float(p)} for p in scores], seed=trial)
        assert made is not None
        held += made.estimate().low <= truth <= made.estimate().high
    assert held >= 36


def test_a_perfect_ranking_of_few_texts_is_not_certain() -> None:
    expected = ["x", "y"] * 6
    perfect = auroc(expected, [{"x": 0.9, "y": 0.1} if label == "x" else {"x": 0.1, "y": 0.9} for label in expected], seed=1)
    assert perfect is not None
    assert perfect.value == 1
    assert perfect.estimate().low < 0.85
    constant = auroc(expected, [{"x": 0.7, "y": 0.3}] * 12, seed=1)
    assert constant is not None
    assert constant.value == 0.5
    assert constant.estimate().low < 0.5 < constant.estimate().high


def test_brier_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import brier_score_loss

    truth, scores = [True, False, True, True], [0.8, 0.3, 0.4, 1.0]
    mine = [half_brier("x" if t else "y", {"x": p, "y": 1 - p}) for t, p in zip(truth, scores, strict=True)]
    assert np.mean(mine) == pytest.approx(brier_score_loss(truth, scores))
    assert half_brier("z", {"x": 1.0, "y": 0.0}) == 1  # a label that the classifier does not have


def test_calibration_error_by_hand_and_its_interval_at_small_n() -> None:
    given = [{"x": 0.95, "y": 0.05}] * 4 + [{"x": 0.65, "y": 0.35}] * 4
    expected = ["x", "x", "x", "y", "x", "x", "y", "y"]
    made = calibration_error(expected, given, seed=1)
    assert made.value == pytest.approx(0.5 * abs(0.75 - 0.95) + 0.5 * abs(0.5 - 0.65))
    sure = calibration_error(["x"] * 8, [{"x": 1.0, "y": 0.0}] * 8, seed=1).estimate()
    assert sure.value == 0
    assert sure.high > 0.1


def test_the_first_of_equal_labels_is_given() -> None:
    assert label_of({"b": 0.4, "a": 0.4, "c": 0.2}) == "b"


def test_a_classifier_is_shown_by_class_by_confidence_and_by_confusion() -> None:
    expected, given = sample(120)
    texts = [
        Labelled(id=str(i), expected=e, tuned=p, base={"a": 1.0, "b": 0.0, "c": 0.0})
        for i, (e, p) in enumerate(zip(expected, given, strict=True))
    ]
    scored = score_labels(texts, config=controls.suite("accuracy").config, seed=1)
    called = [label_of(p) for p in given]
    for label in NAMES:
        row = [found(scored.metrics, "confusion", f"expected={label}, called={other}").tuned for other in NAMES]
        assert sum(cell.value for cell in row if cell) == pytest.approx(1, abs=1e-5)
        assert row[NAMES.index(label)] == found(scored.metrics, "recall", f"label={label}").tuned
        precision = found(scored.metrics, "precision", f"label={label}").tuned
        assert precision is not None
        assert precision.n == called.count(label)
    bins = [m for m in scored.metrics if m.name == "mean_confidence" and m.tuned]
    assert bins
    for metric in bins:
        low, high = map(float, metric.slice.removeprefix("confidence=").split(" to "))
        assert metric.tuned is not None
        assert low <= metric.tuned.value <= high
    auc = found(scored.metrics, "auroc")
    assert auc.base is not None
    assert auc.base.value == 0.5
    assert auc.difference is not None
    assert auc.difference.low > 0
    assert scored.rows[0]["probability_tuned_a"] == round(given[0]["a"], 6)
    assert scored.rows[0]["probability_base_a"] == 1
