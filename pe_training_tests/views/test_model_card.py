"""The model card: read by the Hub's own library, with the figures of the report and nothing that was not measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard

from pe_training.views.model_card import model_card
from pe_training_tests.views.factory import Outcome, evidence
from pe_training_tests.views.hostile import HOSTILE


@pytest.mark.parametrize("outcome", ["fail", "inconclusive", "pass"])
def test_the_hub_reads_every_measured_figure_with_its_interval(outcome: Outcome) -> None:
    e = evidence(outcome)
    card = ModelCard(model_card(e))
    measured = {(m.suite, m.name): m for m in e.report.metrics if m.slice == "all" and m.suite in e.report.suites and m.tuned}
    results = {(result.dataset_name, result.metric_type): result for result in card.data.eval_results or []}
    assert results.keys() == measured.keys()
    for place, result in results.items():
        tuned = measured[place].tuned
        assert tuned
        assert result.metric_value == tuned.value
        assert result.metric_args["n"] == tuned.n
        assert (result.metric_args["low"], result.metric_args["high"]) == (tuned.low, tuned.high)
        assert result.dataset_revision == e.report.suites[place[0]].digest
    assert card.data.pipeline_tag == "text-generation"
    assert {"PASS", "FAIL", "INCONCLUSIVE"} & set(card.text.split("\n\n")[1].replace("*", " ").split()) == {outcome.upper()}


def test_what_was_not_measured_is_named_with_its_reason_and_has_no_figure() -> None:
    e = evidence("fail")
    lacking = [m for m in e.report.metrics if m.slice == "all" and m.suite in e.report.suites and m.tuned is None]
    text = ModelCard(model_card(e)).text
    below = text.partition("## What was not measured")[2].partition("##")[0]
    assert lacking
    for metric in lacking:
        assert (metric.note or "") in below
    assert "## What was not measured" not in model_card(evidence("pass"))


def test_the_same_evidence_gives_the_same_bytes() -> None:
    assert model_card(evidence("pass")) == model_card(evidence("pass"))


def test_names_in_records_change_neither_the_front_matter_nor_the_table() -> None:
    e = evidence("fail")
    noted = [m.model_copy(update={"note": HOSTILE.replace("\ud800", "")}) if m.tuned is None else m for m in e.report.metrics]
    hostile = model_card(replace(e, report=e.report.model_copy(update={"metrics": tuple(noted)})))
    assert "<script" not in hostile
    assert hostile.count("\n|") == model_card(e).count("\n|")
    assert yaml.safe_load(hostile.split("---\n")[1]) == yaml.safe_load(model_card(e).split("---\n")[1])


def test_ids_are_whole() -> None:
    e = evidence("pass")
    text = model_card(e)
    assert all(identifier in text for identifier in (e.decision.id, e.report.id, e.checkpoint.id, e.run.id, e.dataset.id))


def test_the_word_of_people_stands_below_the_verdict() -> None:
    said = "largest-gap is waived until 2027-01-31 by ada (clinical_safety), <b>the data team</b> answers for it"
    text = model_card(evidence("pass"), [said])
    assert text.index("(b)the data team(/b) answers for it") < text.index("## What it is for")
