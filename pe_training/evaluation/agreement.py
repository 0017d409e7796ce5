"""How far two readers agree on one label: kappa, rank correlation, precision and recall, and whether that is enough to be relied on.

A label is seen or not (grades 0 and 1), or graded 0 up to its highest grade. Everything but the counts follows from the table of
grades, one reader's against the other's, so that every interval is one bootstrap of its cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from pe_training.core.records import Frozen
from pe_training.evaluation.confusion import macro_f1
from pe_training.evaluation.examples import Text
from pe_training.evaluation.record import Agreement, Estimate
from pe_training.evaluation.resampling import bootstrap
from pe_training.evaluation.statistics import estimate, proportion

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MIN_POSITIVES = 5  # replies with a label, and without it: fewer show nothing
_SEED = 1
Share = Annotated[float, Field(ge=0, le=1)]


class Elsewhere(Frozen):
    """How far the judge of a label set agrees with people whose labels are not part of it."""

    kappa: Annotated[float, Field(ge=-1, le=1)]
    on: Text
    counts: bool = Field(default=True, description="false: shown, and not held against the judge, since what was labelled is another thing")

    def __str__(self) -> str:
        return f"kappa {self.kappa:.2f} on {self.on}"


class LabelMeaning(Frozen):
    """One label: what a person looked for, and how far a judge must agree before it is relied on."""

    means: Text
    grades: int = Field(default=1, ge=1, le=9, description="the highest grade; 1: it is there or not")
    min_kappa: Share
    min_recall: Share | None = Field(default=None, description="for labels where a miss can hurt somebody")
    elsewhere: Elsewhere | None = Field(
        default=None, description="agreement with other people on other replies, which holds it back as well"
    )


def agreement(label: str, meaning: LabelMeaning, *, mine: Sequence[int], theirs: Sequence[int]) -> Agreement:
    """How a judge's grades of one label compare with a person's, and why they may not be relied on, if so."""
    assert all(0 <= grade <= meaning.grades for grade in (*mine, *theirs)), f"{label} is graded 0 to {meaning.grades}"
    hits = sum(bool(a and b) for a, b in zip(mine, theirs, strict=True))
    positives, called = sum(map(bool, theirs)), sum(map(bool, mine))
    kappa = cohens_kappa(mine, theirs, grades=meaning.grades)
    recall = proportion(hits, positives) if positives else None
    graded = meaning.grades > 1
    return Agreement(
        label=label,
        grades=meaning.grades,
        n=len(theirs),
        positives=positives,
        kappa=kappa,
        precision=proportion(hits, called) if called else None,
        recall=recall,
        rank_correlation=rank_correlation(mine, theirs, grades=meaning.grades) if graded else None,
        macro_f1=macro_f1([str(grade) for grade in theirs], [str(grade) for grade in mine], seed=_SEED) if graded and theirs else None,
        min_kappa=meaning.min_kappa,
        min_recall=meaning.min_recall,
        elsewhere=str(meaning.elsewhere) if meaning.elsewhere else None,
        lapse=_lapse(meaning, kappa=kappa, recall=recall, rarer=min(positives, len(theirs) - positives)),
    )


def cohens_kappa(mine: Sequence[int], theirs: Sequence[int], *, grades: int = 1) -> Estimate | None:
    """Agreement beyond chance (Cohen 1960), BCa interval; ``None`` where a person saw the label nowhere, everywhere, or but for one.

    With more than two grades a disagreement weighs as the square of its distance (Cohen 1968). Half an imagined disagreement is added
    on each side where the lower end is drawn: no sample of perfect agreement has one (see ``confusion.py``).
    """
    return _interval(_kappa, mine, theirs, grades=grades)


def rank_correlation(mine: Sequence[int], theirs: Sequence[int], *, grades: int) -> Estimate | None:
    """Spearman's correlation of grades, ties sharing their ranks; interval as for :func:`cohens_kappa`."""
    return _interval(_spearman, mine, theirs, grades=grades)


def _interval(statistic: Callable[[Floats], Floats], mine: Sequence[int], theirs: Sequence[int], *, grades: int) -> Estimate | None:
    """Replies with the label and without it are drawn apart, since whoever wrote them chose how many there are."""
    import numpy as np

    seen = [bool(grade) for grade in theirs]
    if not 2 <= sum(seen) <= len(seen) - 2:
        return None
    size = grades + 1
    cells = np.eye(size * size)[np.asarray(mine, dtype=np.int64) * size + np.asarray(theirs, dtype=np.int64)]
    found = bootstrap(cells, lambda totals: statistic(totals.reshape(-1, size, size)), seed=_SEED, strata=seen)
    doubts = 0.5 * np.eye(size * size)[[1, size]]  # missed what is a little there; called what is not there
    doubted = bootstrap(
        np.vstack([cells, doubts]), lambda totals: statistic(totals.reshape(-1, size, size)), seed=_SEED, strata=[*seen, True, False]
    )
    return estimate(found.value, min(found.low, doubted.low), found.high, n=found.n, method=f"{found.method}-plus-one")


def _kappa(tables: Floats) -> Floats:
    """Of (samples, grades of one, grades of the other). 0 where chance alone would agree everywhere."""
    import numpy as np

    grades = np.arange(tables.shape[1], dtype=np.float64)
    weights = (grades[:, None] - grades) ** 2
    n = tables.sum(axis=(1, 2))
    by_chance = tables.sum(axis=2)[:, :, None] * tables.sum(axis=1)[:, None, :] / n[:, None, None]
    apart, expected = (weights * tables).sum(axis=(1, 2)), (weights * by_chance).sum(axis=(1, 2))
    return np.where(expected > 0, 1 - apart / np.where(expected > 0, expected, 1), 0.0)


def _spearman(tables: Floats) -> Floats:
    """Of (samples, grades of one, grades of the other). 0 where one of them gave one grade only."""
    import numpy as np

    n = tables.sum(axis=(1, 2))
    ranks = []
    for counts in (tables.sum(axis=2), tables.sum(axis=1)):
        middle = np.cumsum(counts, axis=1) - counts / 2
        ranks.append(middle - n[:, None] / 2)  # (samples, grades), with mean 0
    first, second = ranks
    together = (tables * first[:, :, None] * second[:, None, :]).sum(axis=(1, 2))
    spread = (tables.sum(axis=2) * first**2).sum(axis=1) * (tables.sum(axis=1) * second**2).sum(axis=1)
    return np.where(spread > 0, together / np.sqrt(np.where(spread > 0, spread, 1)), 0.0)


def _lapse(meaning: LabelMeaning, *, kappa: Estimate | None, recall: Estimate | None, rarer: int) -> str | None:
    if kappa is None or rarer < MIN_POSITIVES:
        return f"people gave or withheld it {rarer} times, and {MIN_POSITIVES} are needed"
    if kappa.value < meaning.min_kappa:
        return f"kappa {kappa.value:.2f}, and {meaning.min_kappa:.2f} is needed"
    if meaning.elsewhere and meaning.elsewhere.counts and meaning.elsewhere.kappa < meaning.min_kappa:
        return f"{meaning.elsewhere}, and {meaning.min_kappa:.2f} is needed"
    if kappa.low <= 0:
        return f"kappa may be {kappa.low:.2f}: no better than chance"
    if recall is not None and meaning.min_recall is not None and recall.value < meaning.min_recall:
        return f"recall {recall.value:.2f}, and {meaning.min_recall:.2f} is needed"
    return None
