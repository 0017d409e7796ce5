"""Macro-F1 and the draws of cells behind it: point values of scikit-learn, the same draws as texts give, coverage, honesty at the edge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score

from pe_training.evaluation.confusion import Table, macro_f1, macro_f1_difference, resampled_cells

Rows = list[tuple[str, str]]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcde")), min_size=1, max_size=80), st.integers(0, 9))
def test_macro_f1_equals_scikit_learn_and_lies_in_its_interval(rows: Rows, seed: int) -> None:
    expected, predicted = [e for e, _ in rows], [p for _, p in rows]
    found = macro_f1(expected, predicted, seed=seed)
    assert found.value == pytest.approx(f1_score(expected, predicted, average="macro", zero_division=0), abs=1e-6)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found == macro_f1(expected, predicted, seed=seed)


@settings(max_examples=25)
@given(st.lists(st.tuples(*[st.sampled_from("abc")] * 3), min_size=2, max_size=60))
def test_a_difference_is_that_of_the_scores_and_turns_its_sign_with_the_models(rows: list[tuple[str, str, str]]) -> None:
    expected, tuned, base = (list(column) for column in zip(*rows, strict=True))
    there, back = macro_f1_difference(expected, tuned, base, seed=2), macro_f1_difference(expected, base, tuned, seed=2)
    score = f1_score(expected, tuned, average="macro", zero_division=0) - f1_score(expected, base, average="macro", zero_division=0)
    assert there.value == pytest.approx(score, abs=1e-6)
    assert there.value == pytest.approx(-back.value, abs=1e-6)
    assert -1 <= there.low <= there.value <= there.high <= 1


def test_drawing_cells_is_drawing_texts() -> None:
    generator = np.random.default_rng(4)
    expected, predicted = generator.integers(0, 3, size=120), generator.integers(0, 3, size=120)
    tally = np.bincount(expected * 3 + predicted, minlength=9).astype(float)
    by_cell = resampled_cells(tally, seed=1, draws=4000)
    assert set(by_cell.sum(axis=1)) == {120.0}
    picked = np.random.default_rng(2).integers(0, 120, size=(4000, 120))
    texts = (expected * 3 + predicted)[picked]
    for cell in (0, 4, 7):
        by_text = (texts == cell).sum(axis=1)
        assert by_cell[:, cell].mean() == pytest.approx(by_text.mean(), rel=0.03)
        assert by_cell[:, cell].var() == pytest.approx(by_text.var(), rel=0.1)
    f1_by_cell = _f1(by_cell.reshape(-1, 3, 3))
    f1_by_text = _f1(np.stack([(texts == cell).sum(axis=1) for cell in range(9)], axis=1).reshape(-1, 3, 3).astype(float))
    assert stats.ks_2samp(f1_by_cell, f1_by_text).pvalue > 0.01


def test_many_tables_are_drawn_at_once_and_each_keeps_its_total() -> None:
    tables = np.array([[5.0, 0.0, 3.0], [100.0, 20.0, 80.0]])
    drawn = resampled_cells(tables, seed=3, draws=500)
    assert drawn.shape == (500, 2, 3)
    assert (drawn.sum(axis=2) == [8, 200]).all()
    assert drawn[:, 0, 1].max() == 0
    with pytest.raises(AssertionError, match="without examples"):
        resampled_cells(np.array([[1.0], [0.0]]), seed=1)


@pytest.mark.parametrize(
    ("classes", "right", "n", "trials", "most"),
    [
        (2, 0.60, 20, 200, 0.99),
        (3, 0.85, 60, 200, 0.99),
        (3, 0.85, 200, 200, 0.98),
        (2, 0.85, 1000, 300, 0.98),
        (2, 0.97, 5000, 300, 0.98),
        (3, 0.97, 20, 200, 1.00),  # half of all samples have no error: too wide is what can be had
    ],
)
def test_the_interval_of_macro_f1_covers_the_truth(classes: int, right: float, n: int, trials: int, most: float) -> None:
    chances = np.full((classes, classes), (1 - right) / (classes - 1))
    np.fill_diagonal(chances, right)
    chances /= classes
    truth, generator = float(_f1(chances[None])[0]), np.random.default_rng([classes, n])
    hits = 0
    for trial in range(trials):
        counts = generator.multinomial(n, chances.ravel())
        seen = [int(i) for i in np.flatnonzero(counts)]
        table = Table(cells=tuple(divmod(i, classes) for i in seen), counts=tuple(int(counts[i]) for i in seen), classes=classes)
        _, low, high = table.interval([(1, 1.0)], seed=trial)
        hits += low <= truth <= high
    assert 0.93 <= hits / trials <= most


def test_no_error_among_few_texts_does_not_prove_that_there_are_none() -> None:
    for n in (20, 60, 200):
        found = macro_f1(["a", "b"] * (n // 2), ["a", "b"] * (n // 2), seed=1)
        assert (found.value, found.high) == (1, 1)
        assert found.low == pytest.approx(0.05 ** (1 / n), abs=1.5 / n)  # near the exact bound of an error rate
    alone = macro_f1(["a"] * 30, ["a"] * 30, seed=1)
    assert alone.low < 0.6  # one error would bring in a second class, with an F1 of 0


def test_models_that_agree_on_few_texts_may_still_differ() -> None:
    labels = ["a", "b", "a", "b", "c"] * 4
    same = macro_f1_difference(labels, labels, labels, seed=1)
    assert same.value == 0
    assert -0.4 < same.low < -0.05
    assert same.high == pytest.approx(-same.low, abs=0.05)
    many = macro_f1_difference(labels * 50, labels * 50, labels * 50, seed=1)
    assert -0.006 < many.low < 0 < many.high < 0.006


def _f1(tables: np.ndarray) -> np.ndarray:
    hits = np.diagonal(tables, axis1=1, axis2=2)
    return np.asarray((2 * hits / (tables.sum(axis=1) + tables.sum(axis=2))).mean(axis=1))
