"""Held-out suites of classifiers: what they call right, how they rank, and whether their confidence can be believed.

Beside the accuracy stands the share of the commonest class, which is what always answering the same would score. A text without
probabilities was not answered, and then nothing about the whole is measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pe_training.evaluation.clusters import Clusters
from pe_training.evaluation.confusion import macro_f1, macro_f1_difference
from pe_training.evaluation.measures import Better, Measure, Row, Scored, each, pick, whole
from pe_training.evaluation.probability_scores import (
    BINS,
    Drawn,
    Probabilities,
    auprc,
    auroc,
    bin_of,
    calibration_error,
    half_brier,
    label_of,
)  # fmt: skip
from pe_training.evaluation.record import Metric, Unit
from pe_training.evaluation.statistics import rounded
from pe_training.evaluation.suites import SuiteConfig

CALLED = ", called="  # between the two labels in the name of a confusion's slice
Score = Callable[..., Drawn | None]
Given = Sequence[Probabilities | None]


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """The right label of one test text and the probabilities that the models gave to each label; ``None`` where there are none."""

    id: str
    expected: str
    tuned: Probabilities | None
    base: Probabilities | None = None
    cluster: str | None = None  # texts of one conversation share it


def score_labels(texts: Sequence[Labelled], *, config: SuiteConfig, seed: int) -> Scored:
    """Every measure of a classifier on labelled texts.

    Slices: recall and precision by ``label``, accuracy and mean confidence by ``confidence`` (the reliability diagram), and
    ``confusion`` by ``expected``: of the texts of a class, the share that was called each label.
    """
    expected = [text.expected for text in texts]
    tuned = [text.tuned for text in texts]
    base = [text.base for text in texts] if any(text.base for text in texts) else None
    clusters = [text.cluster or text.id for text in texts]
    called, base_called = each(tuned, label_of) or [], each(base, label_of)
    accuracy = Measure(suite=config.name, name="accuracy", better="higher")
    metrics = [
        accuracy.rate(_hits(expected, called) or [], _hits(expected, base_called), clusters=clusters),
        _macro_f1(config, expected, called, base_called, seed=seed, clusters=clusters),
        _majority(config, expected, clusters),
        _drawn(_overall(config, "auroc", "higher"), auroc, expected, tuned, base, seed=seed, clusters=clusters),
        _drawn(_overall(config, "auprc", "higher"), auprc, expected, tuned, base, seed=seed, clusters=clusters),
        _drawn(_overall(config, "calibration_error", "lower"), calibration_error, expected, tuned, base, seed=seed, clusters=clusters),
        _overall(config, "brier", "lower").average(_brier(expected, tuned) or [], _brier(expected, base), clusters=clusters),
        *_by_label(config, expected, called, base_called, clusters),
        *_reliability(config, expected, tuned, clusters),
        *_confusion(config, expected, called, clusters),
    ]
    return Scored(metrics=tuple(metrics), rows=tuple(_row(text) for text in texts))


def probability_columns(who: str, probabilities: Probabilities | None) -> Row:
    """The columns of a predictions file that keep what a classifier said: ``probability_<who>_<label>``."""
    return {f"probability_{who}_{label}": rounded(p) for label, p in (probabilities or {}).items()}


def _hits(expected: Sequence[str], called: Sequence[str | None] | None) -> list[bool | None] | None:
    return None if called is None else [None if c is None else c == e for e, c in zip(expected, called, strict=True)]


def _brier(expected: Sequence[str], given: Given | None) -> list[float | None] | None:
    return None if given is None else [None if p is None else half_brier(e, p) for e, p in zip(expected, given, strict=True)]


def _macro_f1(
    config: SuiteConfig,
    expected: Sequence[str],
    called: Sequence[str | None],
    base: Sequence[str | None] | None,
    *,
    seed: int,
    clusters: Clusters,
) -> Metric:
    measure = _overall(config, "macro_f1", "higher")
    if lacking := measure.lacking(called, clusters):
        return lacking
    mine, theirs = whole(called) or [], whole(base)
    return measure.metric(
        tuned=macro_f1(expected, mine, seed=seed, clusters=clusters),
        base=None if theirs is None else macro_f1(expected, theirs, seed=seed, clusters=clusters),
        difference=None if theirs is None else macro_f1_difference(expected, mine, theirs, seed=seed, clusters=clusters),
    )


def _majority(config: SuiteConfig, expected: Sequence[str], clusters: Clusters) -> Metric:
    commonest = min(Counter(expected).items(), key=lambda item: (-item[1], item[0]))[0] if expected else ""
    measure = Measure(suite=config.name, name="majority_share", better="neither")
    note = f"always answering {commonest!r}" if expected else None
    return measure.rate([label == commonest for label in expected], None, note=note, clusters=clusters)


def _drawn(
    measure: Measure, score: Score, expected: Sequence[str], given: Given, base: Given | None, *, seed: int, clusters: Clusters
) -> Metric:
    if lacking := measure.lacking(given, clusters):
        return lacking
    found = score(expected, whole(given), seed=seed, clusters=clusters)
    if found is None:
        return measure.not_measured("the texts are all of one class")
    other = None if whole(base) is None else score(expected, whole(base), seed=seed, clusters=clusters)
    return measure.metric(tuned=found.estimate(), base=other and other.estimate(), difference=other and found.minus(other))


def _by_label(
    config: SuiteConfig, expected: Sequence[str], called: Sequence[str | None], base: Sequence[str | None] | None, clusters: Sequence[str]
) -> list[Metric]:
    hits, base_hits = _hits(expected, called) or [], _hits(expected, base)
    metrics = []
    for label in sorted(set(expected)):
        own = [i for i, name in enumerate(expected) if name == label]
        seen = [i for i, name in enumerate(called) if name in (label, None)]
        recall, precision = _measure(config, "recall", f"label={label}"), _measure(config, "precision", f"label={label}")
        metrics.append(recall.rate(pick(hits, own) or [], pick(base_hits, own), clusters=pick(clusters, own)))
        metrics.append(precision.rate(pick(hits, seen) or [], None, clusters=pick(clusters, seen)))
    return metrics


def _reliability(config: SuiteConfig, expected: Sequence[str], given: Given, clusters: Sequence[str]) -> list[Metric]:
    """Per bin of confidence: how often the label is right, and how confident the classifier is on average."""
    metrics = []
    for number in range(BINS):
        own = [i for i, p in enumerate(given) if p is None or bin_of(p[label_of(p)]) == number]
        if not own:
            continue
        chosen, names = [given[i] for i in own], [expected[i] for i in own]
        part = f"confidence={number / BINS:.1f} to {(number + 1) / BINS:.1f}"
        hits = _hits(names, each(chosen, label_of)) or []
        confidence = each(chosen, lambda p: p[label_of(p)]) or []
        sure = _measure(config, "mean_confidence", part, better="neither", unit="score")
        metrics.append(_measure(config, "accuracy", part).rate(hits, None, clusters=pick(clusters, own)))
        metrics.append(sure.average(confidence, None, clusters=pick(clusters, own)))
    return metrics


def _confusion(config: SuiteConfig, expected: Sequence[str], called: Sequence[str | None], clusters: Sequence[str]) -> list[Metric]:
    labels = sorted({*expected, *(label for label in called if label is not None)})
    metrics = []
    for label in sorted(set(expected)):
        own = [name for truth, name in zip(expected, called, strict=True) if truth == label]
        hang = [cluster for truth, cluster in zip(expected, clusters, strict=True) if truth == label]
        for other in labels:
            measure = _measure(config, "confusion", f"expected={label}{CALLED}{other}", better="higher" if other == label else "lower")
            metrics.append(measure.rate([None if name is None else name == other for name in own], None, clusters=hang))
    return metrics


def _overall(config: SuiteConfig, name: str, better: Better) -> Measure:
    return Measure(suite=config.name, name=name, better=better, unit="score", min_n=2)


def _measure(config: SuiteConfig, name: str, part: str, *, better: Better = "higher", unit: Unit = "proportion") -> Measure:
    return Measure(suite=config.name, name=name, better=better, slice=part, unit=unit, min_n=config.min_cell_n)


def _row(text: Labelled) -> Row:
    said: Row = {"id": text.id, "expected": text.expected}
    for who, given in (("tuned", text.tuned), ("base", text.base)):
        called = label_of(given) if given else None
        said |= {f"{who}_label": called, **probability_columns(who, given)}
        if called is not None:
            said |= {f"{who}_right": called == text.expected}
    return said
