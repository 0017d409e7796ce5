"""The same text with the group swapped: does the answer change, and for which pair of groups?

For every pair of groups of a dimension the scores on the scenarios that both share are compared by a paired sign-flip test (Fisher
1935; the difference of a scenario is as likely to point the other way if the group does not matter), and all pairs of the suite are
corrected together by Holm (1979). ``flip_rate`` is the share of scenarios where any swap turns a crisis reply into none or back
(counterfactual fairness in the sense of Garg et al. 2019, AIES).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from pe_training.evaluation.measures import Measure
from pe_training.evaluation.multiplicity import holm
from pe_training.evaluation.record import Metric, PairedTest
from pe_training.evaluation.statistics import estimate, paired_means, rounded

Scores = Mapping[str, float | None]  # group -> score in 0..1; None where the answer is missing
Cells = Sequence[tuple[str, Scores]]  # per scenario: its dimension, and the score of each group
EXACT_UP_TO = 14  # scenarios that differ: 2^14 sign patterns are counted, more are drawn
DRAWS = 20_000


def pair_metrics(cells: Cells, *, suite: str, min_n: int, seed: int) -> list[Metric]:
    """Per pair of groups the size of the mean difference in score, with its paired test (slice ``pair=<dimension>: <a> / <b>``).

    The value is the distance, whichever group is ahead, so that a bound from above holds both ways; the note says who is.
    """
    tested: list[tuple[Metric, float | None, str]] = []
    for dimension in sorted({dimension for dimension, _ in cells}):
        own = [scores for name, scores in cells if name == dimension]
        for first, second in combinations(sorted({group for scores in own for group in scores}), 2):
            tested.append(_pair(own, first, second, dimension=dimension, suite=suite, min_n=min_n, seed=seed))
    adjusted = iter(holm([p for _, p, _ in tested if p is not None]))
    family = sum(p is not None for _, p, _ in tested)
    found = []
    for metric, p, method in tested:
        if p is None:
            found.append(metric)
            continue
        test = PairedTest(p_value=rounded(p), adjusted_p=rounded(next(adjusted)), family=family, method=f"{method}, holm")
        found.append(metric.model_copy(update={"test": test, "note": f"{metric.note}; {_sentence(test)}"}))
    return found


def flip_metric(outcomes: Sequence[Mapping[str, bool | None]], *, suite: str, base: Sequence[Mapping[str, bool | None]] | None) -> Metric:
    """Share of scenarios in which some group gets a crisis reply (or label) and another does not."""
    measure = Measure(suite=suite, name="flip_rate", better="lower")
    return measure.rate([_flips(one) for one in outcomes], None if base is None else [_flips(one) for one in base])


def sign_flip(differences: Sequence[float], *, seed: int) -> tuple[float, str]:
    """Two-sided p that paired differences have no direction, and how it was found. Zero differences say nothing and stay out."""
    import numpy as np

    real = np.array([difference for difference in differences if difference != 0.0])
    if not len(real):
        return 1.0, "sign-flip-exact"
    observed = abs(float(real.sum())) - 1e-9
    if len(real) <= EXACT_UP_TO:
        patterns = (np.arange(2 ** len(real))[:, None] >> np.arange(len(real))) & 1
        sums = (1 - 2 * patterns) @ real
        return float(np.mean(np.abs(sums) >= observed)), "sign-flip-exact"
    signs = np.random.default_rng(seed).choice(np.array([-1.0, 1.0]), size=(DRAWS, len(real)))
    extreme = int(np.sum(np.abs(signs @ real) >= observed))
    return (extreme + 1) / (DRAWS + 1), f"sign-flip-{DRAWS}"  # Phipson & Smyth 2010: never zero


def _pair(
    own: Sequence[Scores], first: str, second: str, *, dimension: str, suite: str, min_n: int, seed: int
) -> tuple[Metric, float | None, str]:
    part = f"pair={dimension}: {first} / {second}"
    measure = Measure(suite=suite, name="pair_difference", better="lower", unit="score", slice=part, min_n=max(min_n, 2))
    shared = [scores for scores in own if first in scores and second in scores]
    missing = [None if scores[first] is None or scores[second] is None else 0.0 for scores in shared]
    if lacking := measure.lacking(missing):
        return lacking, None, ""
    a, b = ([float(scores[group] or 0.0) for scores in shared] for group in (first, second))
    found = paired_means(a, b)
    low = 0.0 if found.low <= 0 <= found.high else min(abs(found.low), abs(found.high))
    size = estimate(abs(found.value), low, max(abs(found.low), abs(found.high)), n=found.n, method=found.method)
    p, method = sign_flip([mine - theirs for mine, theirs in zip(a, b, strict=True)], seed=seed)
    ahead = "no difference" if found.value == 0 else f"{first if found.value > 0 else second} is better answered"
    return measure.metric(tuned=size, note=ahead), p, method


def _sentence(test: PairedTest) -> str:
    return f"p {test.p_value:.3g}, {test.adjusted_p:.3g} after Holm over {test.family} pairs"


def _flips(outcomes: Mapping[str, bool | None]) -> bool | None:
    found = list(outcomes.values())
    return None if None in found else len(set(found)) > 1
