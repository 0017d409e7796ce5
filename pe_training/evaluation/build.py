"""The report from its parts, in one canonical order, so that equal evidence is an equal record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from pe_training.core.records import Attachment
from pe_training.evaluation.record import EvaluationReport, Metric, SuiteUse
from pe_training.evaluation.rubric import VERSION, agreement, held_out_half, read_labelled


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
    """The report, with the judge's agreement with people added to the metrics (suite ``judge``).

    Metrics are ordered by suite, name and slice, the whole suite before its slices. A measure given twice is a bug.
    """
    every = [*metrics, *agreement(held_out_half(read_labelled()))]
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
        judge=VERSION,
        metrics=tuple(ordered),
        predictions=tuple(sorted(predictions, key=lambda file: file.path)),
    )
