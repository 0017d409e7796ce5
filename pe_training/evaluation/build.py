"""The report from its parts, in one canonical order, so that equal evidence is an equal record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from pe_training.core.records import Attachment
from pe_training.evaluation.judges import speakers
from pe_training.evaluation.record import Agreement, Estimate, EvaluationReport, JudgeCalibration, Metric, SuiteUse
from pe_training.manifests.llm_judge import LlmJudge

NOT_RELIED_ON = "not relied on: "


def build_report(
    *,
    checkpoint_id: str,
    line: str,
    request: str,
    suites: Mapping[str, SuiteUse],
    decoding: Mapping[str, int | str],
    baseline: str,
    incumbent: str | None = None,
    llm_judge: LlmJudge | None = None,
    metrics: Iterable[Metric],
    predictions: Iterable[Attachment],
    calibrations: Sequence[JudgeCalibration],
) -> EvaluationReport:
    """The report, with the agreement with people of those who judged added to the metrics (suite ``judge``).

    Metrics are ordered by suite, name and slice, the whole suite before its slices. A measure given twice is a bug.
    """
    every = [*metrics, *(metric for found, agreement in speakers(calibrations).values() for metric in _shown(agreement, found))]
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
        judges=tuple(sorted(found.checkpoint_id for found in calibrations if found.checkpoint_id)),
        llm_judge=llm_judge,
        incumbent=incumbent,
        judge=", ".join(sorted(found.judge for found in calibrations)) or "none",
        metrics=tuple(ordered),
        predictions=tuple(sorted(predictions, key=lambda file: file.path)),
        calibrations=dict(sorted((found.judge, found.id) for found in calibrations)) or None,
    )


def _shown(agreement: Agreement, calibration: JudgeCalibration) -> Iterator[Metric]:
    """Kappa, precision and recall of a label. Where a label never occurs (or the judge never saw it) there is no evidence."""
    note = f"{calibration.judge} against {agreement.n} replies labelled by hand"
    doubt = f"; {NOT_RELIED_ON}{agreement.lapse}" if agreement.lapse else ""

    def metric(name: str, unit: Literal["score", "proportion"], found: Estimate | None) -> Metric:
        lack = "" if found else "; no such reply"
        return Metric(
            suite="judge", name=name, slice=f"label={agreement.label}", unit=unit, better="higher", tuned=found, note=note + lack + doubt
        )

    yield metric("kappa", "score", agreement.kappa)
    yield metric("precision", "proportion", agreement.precision)
    yield metric("recall", "proportion", agreement.recall)
    if agreement.grades > 1:
        yield metric("rank_correlation", "score", agreement.rank_correlation)
        yield metric("macro_f1", "score", agreement.macro_f1)
