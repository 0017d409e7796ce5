"""The report from its parts, in one canonical order, so that equal evidence is an equal record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache

from pe_training.core.records import Attachment
from pe_training.evaluation import conduct, rubric
from pe_training.evaluation.calibration import agreement_metrics, held_out_half
from pe_training.evaluation.record import EvaluationReport, Metric, SuiteUse


@cache
def _agreement() -> tuple[Metric, ...]:
    replies, misconduct = held_out_half(rubric.read_labelled()), held_out_half(conduct.read_labelled_conduct())
    judged = agreement_metrics(conduct.seen_by_both(misconduct), labels=conduct.CONDUCT, judge=conduct.VERSION)
    return *rubric.agreement(replies), *judged


def build_report(
    *,
    checkpoint_id: str,
    line: str,
    request: str,
    suites: Mapping[str, SuiteUse],
    decoding: Mapping[str, int | str],
    baseline: str,
    metrics: Iterable[Metric],
    predictions: Iterable[Attachment],
) -> EvaluationReport:
    """The report, with the judges' agreement with people added to the metrics (suite ``judge``).

    Metrics are ordered by suite, name and slice, the whole suite before its slices. A measure given twice is a bug.
    """
    every = [*metrics, *_agreement()]
    places = Counter((m.suite, m.name, m.slice) for m in every)
    assert not (twice := [place for place, count in places.items() if count > 1]), twice
    ordered = sorted(every, key=lambda m: (m.suite, m.name, m.slice != "all", m.slice))
    return EvaluationReport(
        checkpoint_id=checkpoint_id,
        line=line,
        request=request,
        suites=dict(sorted(suites.items())),
        decoding=dict(sorted(decoding.items())),
        baseline=baseline,
        judge=f"{rubric.VERSION}, {conduct.VERSION}",
        metrics=tuple(ordered),
        predictions=tuple(sorted(predictions, key=lambda file: file.path)),
    )
