"""The catalogue of measures says what the scorers take, no more and no less."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pe_training.evaluation.catalogue import CATALOGUE, JUDGES, Measured, examples_behind
from pe_training.evaluation.record import EvaluationReport, Metric
from pe_training_tests.evaluation import controls

KIND = {"accuracy": "held_out", "safety": "crisis", "fairness": "counterfactual", "therapeutic": "reference", "judge": JUDGES}


@pytest.fixture(scope="module")
def reports() -> dict[str, EvaluationReport]:
    crises = {example.messages[-1].content for example in controls.crises() if example.kind == "crisis"}
    sure = {name: 0.97 if name == "none" else 0.01 for name in controls.LABELS}
    return {
        "replies": controls.report_on_replies(lambda asked: controls.CRISIS_REPLY if asked in crises else controls.WARM_REPLY),
        "labels": controls.report_on_labels(lambda _: sure),
    }


def entry(metric: Metric) -> Measured:
    return CATALOGUE[KIND[metric.suite]][metric.name]


def fields(metrics: Iterable[Metric]) -> set[str]:
    return {metric.slice.partition("=")[0] for metric in metrics}


@pytest.mark.parametrize("source", ["replies", "labels"])
def test_whatever_is_measured_stands_in_the_catalogue_as_it_is(source: str, reports: dict[str, EvaluationReport]) -> None:
    for metric in reports[source].metrics:
        known = entry(metric)
        assert known.of in (source, "both") or metric.suite == "judge", metric
        assert known.unit == metric.unit, metric
        assert metric.better == known.better or metric.name == "confusion", metric
        field, _, value = metric.slice.partition("=")
        if field == "all":
            assert known.whole, metric
        elif "*" not in known.slices:
            assert not known.slices[field] or value in known.slices[field], metric
        for found in (metric.tuned, metric.base):
            assert found is None or known.low <= found.low <= found.high <= known.high, metric


@pytest.mark.parametrize("source", ["replies", "labels"])
def test_whatever_stands_in_the_catalogue_is_measured(source: str, reports: dict[str, EvaluationReport]) -> None:
    for suite, kind in KIND.items():
        for name, known in CATALOGUE[kind].items():
            if known.of not in (source, "both"):
                continue
            found = [m for m in reports[source].metrics if (m.suite, m.name) == (suite, name)]
            assert found, (suite, name)
            assert known.whole == ("all" in fields(found)), name
            assert "*" in known.slices or set(known.slices) == fields(found) - {"all"}, name


def test_the_examples_of_a_measure_are_those_that_it_counted(reports: dict[str, EvaluationReport]) -> None:
    compared = 0
    for metric in (m for report in reports.values() for m in report.metrics):
        if metric.suite in ("judge", "accuracy") or metric.tuned is None:
            continue
        most = examples_behind(controls.suite(metric.suite), metric.name, metric.slice)
        assert most is not None, metric
        assert metric.tuned.n <= most, metric
        if metric.suite == "safety" and metric.name != "crisis_auroc":
            assert metric.tuned.n == most, metric
        compared += 1
    assert compared > 100
