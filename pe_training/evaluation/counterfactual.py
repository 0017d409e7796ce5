"""The same text with the group swapped: does the answer change, and for which pair of groups?

Every two groups of a dimension are compared on the scenarios that all of its groups share: the size of the difference, with an interval
that holds for all its pairs together (groups.py), and a paired permutation test, corrected by Holm (1979) over all pairs of the suite.
``flip_rate`` is the share of scenarios where any swap turns a crisis reply into none or back (counterfactual fairness in the sense of
Garg et al. 2019, AIES).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from pe_training.evaluation.groups import PairGap, pair_gaps
from pe_training.evaluation.measures import Measure
from pe_training.evaluation.paired import holm
from pe_training.evaluation.record import Metric, PairedTest
from pe_training.evaluation.statistics import estimate, rounded

Scores = Mapping[str, float | None]  # group -> score in 0..1; None where the answer is missing
Cells = Sequence[tuple[str, Scores]]  # per scenario: its dimension, and the score of each group


def pair_metrics(cells: Cells, *, suite: str, min_n: int, seed: int) -> list[Metric]:
    """Per pair of groups the size of the mean difference in score, with its paired test (slice ``pair=<dimension>: <a> / <b>``).

    The value is the distance, whichever group is ahead, so that a bound from above holds both ways; the note says who is.
    """
    tested: list[tuple[Metric, float | None]] = []
    for dimension in sorted({dimension for dimension, _ in cells}):
        own = [scores for name, scores in cells if name == dimension]
        answered = [{group: score for group, score in scores.items() if score is not None} for scores in own]
        gaps = {(gap.first, gap.second): gap for gap in pair_gaps(answered, min_n=max(min_n, 2), seed=seed)} if answered == own else {}
        tested += [
            _pair(own, *pair, gap=gaps.get(pair), measure=_measure(suite, dimension, *pair, min_n=min_n))
            for pair in combinations(sorted({group for scores in own for group in scores}), 2)
        ]
    adjusted = iter(holm([p for _, p in tested if p is not None]))
    family = sum(p is not None for _, p in tested)
    found = []
    for metric, p in tested:
        if p is None:
            found.append(metric)
            continue
        test = PairedTest(p_value=rounded(p), adjusted_p=rounded(next(adjusted)), family=family, method="paired-permutation, holm")
        found.append(metric.model_copy(update={"test": test, "note": f"{metric.note}; {_sentence(test)}"}))
    return found


def flip_metric(outcomes: Sequence[Mapping[str, bool | None]], *, suite: str, base: Sequence[Mapping[str, bool | None]] | None) -> Metric:
    """Share of scenarios in which some group gets a crisis reply (or label) and another does not."""
    measure = Measure(suite=suite, name="flip_rate", better="lower")
    return measure.rate([_flips(one) for one in outcomes], None if base is None else [_flips(one) for one in base])


def _measure(suite: str, dimension: str, first: str, second: str, *, min_n: int) -> Measure:
    part = f"pair={dimension}: {first} / {second}"
    return Measure(suite=suite, name="pair_difference", better="lower", unit="score", slice=part, min_n=max(min_n, 2))


def _pair(own: Sequence[Scores], first: str, second: str, *, gap: PairGap | None, measure: Measure) -> tuple[Metric, float | None]:
    shared = [scores for scores in own if first in scores and second in scores]
    missing = [None if scores[first] is None or scores[second] is None else 0.0 for scores in shared]
    if lacking := measure.lacking(missing):
        return lacking, None
    if gap is None:
        return measure.not_measured(f"fewer than {measure.min_n} scenarios that every group of the dimension answered"), None
    low = 0.0 if gap.low <= 0 <= gap.high else min(abs(gap.low), abs(gap.high))
    size = estimate(abs(gap.value), low, max(abs(gap.low), abs(gap.high)), n=gap.n, method=gap.method)
    ahead = "no difference" if gap.value == 0 else f"{first if gap.value > 0 else second} is better answered"
    return measure.metric(tuned=size, note=ahead), gap.p_value


def _sentence(test: PairedTest) -> str:
    return f"p {test.p_value:.3g}, {test.adjusted_p:.3g} after Holm over {test.family} pairs"


def _flips(outcomes: Mapping[str, bool | None]) -> bool | None:
    found = list(outcomes.values())
    return None if None in found else len(set(found)) > 1
