"""Agreement of two readers: the figures of scikit-learn and scipy, and lapses that name their reason."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, f1_score

from pe_training.evaluation.agreement import MIN_POSITIVES, LabelMeaning, agreement, cohens_kappa, rank_correlation


def grades(highest: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    grade = st.integers(0, highest)
    return st.lists(st.tuples(grade, grade), min_size=4, max_size=40)


@given(st.integers(1, 4).flatmap(lambda highest: st.tuples(st.just(highest), grades(highest))))
def test_kappa_and_rank_correlation_are_those_of_the_libraries(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    highest, pairs = drawn
    mine, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    assume(2 <= sum(map(bool, theirs)) <= len(theirs) - 2)
    kappa, correlation = cohens_kappa(mine, theirs, grades=highest), rank_correlation(mine, theirs, grades=highest)
    assert kappa
    assert correlation
    assert kappa.value == pytest.approx(cohen_kappa_score(mine, theirs, weights="quadratic", labels=range(highest + 1)), abs=1e-6)
    assert correlation.value == pytest.approx(spearmanr(mine, theirs).statistic if len(set(mine)) > 1 else 0.0, abs=1e-6)
    for found in (kappa, correlation):
        assert -1 <= found.low <= found.value <= found.high <= 1


def test_kappa_is_that_of_the_textbook() -> None:
    mine = [1] * 20 + [1] * 5 + [0] * 10 + [0] * 15  # Cohen's own kind of table: 35 of 50 agree, chance .5
    theirs = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    found = cohens_kappa(mine, theirs)
    assert found is not None
    assert found.value == pytest.approx(0.4)
    assert 0.05 < found.low < 0.2  # the large-sample interval is .15 to .65
    assert 0.6 < found.high < 0.7
    perfect = cohens_kappa(theirs, theirs)
    assert perfect is not None
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low < 1.0  # thirty replies without an error do not show that there is none


def test_intervals_of_graded_agreement_cover() -> None:
    """Of 400 samples of 60 replies, graded as one reader with a certain skill would, the intervals hold the truth about 95 times in 100."""
    generator = np.random.default_rng(7)
    shares = np.array([[0.42, 0.06, 0.02], [0.05, 0.12, 0.05], [0.01, 0.07, 0.20]])  # rows: ours, columns: theirs
    cells = [(i, j) for i in range(3) for j in range(3)]
    many = [cells[k] for k in np.repeat(np.arange(9), np.rint(shares.ravel() * 10_000).astype(int))]
    truth = cohen_kappa_score(*zip(*many, strict=True), weights="quadratic")
    rank = spearmanr(*zip(*many, strict=True)).statistic
    held, held_rank, trials = 0, 0, 400
    for _ in range(trials):
        drawn = [cells[k] for k in generator.choice(9, size=60, p=shares.ravel())]
        mine, theirs = [a for a, _ in drawn], [b for _, b in drawn]
        kappa, correlation = cohens_kappa(mine, theirs, grades=2), rank_correlation(mine, theirs, grades=2)
        assert kappa
        assert correlation
        held += kappa.low <= truth <= kappa.high
        held_rank += correlation.low <= rank <= correlation.high
    assert 0.92 <= held / trials <= 0.99
    assert 0.92 <= held_rank / trials <= 0.99


@pytest.mark.parametrize(("mine", "theirs", "lapse"), [
    ([1] * 30, [1] * 30, "people gave or withheld it 0 times"),
    ([1] * 4 + [0] * 26, [1] * 4 + [0] * 26, f"it 4 times, and {MIN_POSITIVES} are needed"),
    ([1, 0] * 15, [1] * 15 + [0] * 15, "kappa 0.07, and 0.40 is needed"),
    ([0] * 30, [1] * 6 + [0] * 24, "kappa 0.00, and 0.40 is needed"),
    ([1] * 4 + [0] * 26, [1] * 8 + [0] * 22, "recall 0.50, and 0.70 is needed"),
])  # fmt: skip
def test_a_label_that_people_do_not_agree_on_lapses_with_its_reason(mine: list[int], theirs: list[int], lapse: str) -> None:
    found = agreement("x", LabelMeaning(means="anything", min_kappa=0.4, min_recall=0.7), mine=mine, theirs=theirs)
    assert found.lapse
    assert lapse in found.lapse


def test_a_graded_label_has_the_figures_that_grades_have_and_another_none_of_them() -> None:
    mine, theirs = [0, 1, 2, 2, 1, 0] * 8, [0, 1, 2, 1, 1, 0] * 8
    graded = agreement("x", LabelMeaning(means="how far", grades=2, min_kappa=0.4), mine=mine, theirs=theirs)
    assert graded.macro_f1
    assert graded.macro_f1.value == pytest.approx(f1_score(theirs, mine, average="macro"))
    assert graded.rank_correlation
    assert (graded.grades, graded.positives, graded.lapse) == (2, 32, None)
    plain = agreement("x", LabelMeaning(means="whether", min_kappa=0.4), mine=[min(g, 1) for g in mine], theirs=[min(g, 1) for g in theirs])
    assert (plain.macro_f1, plain.rank_correlation) == (None, None)
    assert not {"grades", "macro_f1", "rank_correlation"} & plain.content().keys()  # so that older records keep their ids
    with pytest.raises(AssertionError, match="graded 0 to 1"):
        agreement("x", LabelMeaning(means="whether", min_kappa=0.4), mine=mine, theirs=theirs)
