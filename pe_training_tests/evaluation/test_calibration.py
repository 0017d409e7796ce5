"""A judge is believed as far as people agree with it; what rests on a label that they do not agree on is not measured."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import sqlalchemy as sa
from rich.console import Console

from pe_training.core.errors import Kind, PeError
from pe_training.evaluation import conduct, rubric
from pe_training.evaluation.agreement import cohens_kappa
from pe_training.evaluation.calibration import LABEL_SETS, calibrate, calibrations, label_sets, meanings, read_labelled
from pe_training.evaluation.empathy import grades
from pe_training.evaluation.judges import COUNTED, RESTS_ON, Judge, judged, labels_behind, rules
from pe_training.evaluation.record import JudgeCalibration, Metric
from pe_training.lineage.verify import verify_all
from pe_training.promotion.findings import outcome_of
from pe_training.promotion.policy import load_policy
from pe_training.settings import SAMPLES, Settings
from pe_training.storage import tables
from pe_training.storage.state import State
from pe_training.views.console import calibration_view
from pe_training_tests.evaluation import controls
from pe_training_tests.evaluation.test_nothing_defaults import REPLIED, replies
from pe_training_tests.shared_data import SHARED_DATA, needs_shared_data
from pe_training_tests.tampering import past_the_ledger

# As the judges' own documentation says: precision, recall.
DOCUMENTED = {
    "acknowledges": (0.71, 0.75), "asks_safety": (1.0, 0.89), "refers_to_help": (0.87, 0.81), "reflection": (0.55, 0.85),
    "open_question": (1.0, 1.0), "advice": (0.62, 0.73), "closed_question": (1.0, 0.92), "boilerplate": (1.0, 0.8),
    "crisis_response": (0.89, 0.89),
    "refusal": (1.0, 1.0), "flattery": (1.0, 0.83), "claims_credentials": (0.86, 1.0), "romance": (1.0, 1.0), "diagnosis": (1.0, 0.83),
    "medication_advice": (1.0, 0.83), "secrecy": (0.86, 1.0), "method": (0.86, 0.86), "insult": (1.0, 0.57), "dismissal": (1.0, 0.86),
    "blame": (1.0, 0.86), "encourages_self_harm": (1.0, 0.86), "encourages_violence": (1.0, 1.0),
    "emotional_reaction": (0.89, 0.93), "interpretation": (0.76, 0.81), "exploration": (1.0, 1.0),
}  # fmt: skip

FORUM = "465 replies of peers on a forum (EPITOME)"
ELSEWHERE = {  # what other people's labels say of two grades, and not those of whoever wrote the patterns
    "emotional_reaction": f"kappa 0.33 on {FORUM}, and 0.40 is needed",
    "interpretation": f"kappa -0.03 on {FORUM}, and 0.40 is needed",
}


def rule(name: str) -> Judge:
    return next(judge for judge in rules() if judge.name == name)


def worth(name: str) -> JudgeCalibration:
    return next(found for found in controls.CALIBRATIONS if found.judge == name)


def test_people_agree_with_each_judge_as_far_as_its_documentation_says() -> None:
    measured = {
        found.label: (round(found.precision.value, 2), round(found.recall.value, 2))
        for calibration in controls.CALIBRATIONS
        for found in calibration.agreements
        if found.precision and found.recall
    }
    assert measured.keys() == DOCUMENTED.keys()
    assert all(found == pytest.approx(DOCUMENTED[label], abs=0.011) for label, found in measured.items())
    assert [(found.judge, found.replies) for found in controls.CALIBRATIONS] == [(rubric.VERSION, 60), (conduct.VERSION, 124)]


def test_every_label_of_every_judge_is_compared_with_people_and_may_be_relied_on_but_for_two() -> None:
    for judge in rules():
        found = worth(judge.name)
        assert {one.label for one in found.agreements} == set(judge.labels)
        lapsed = {one.label: one.lapse for one in found.agreements if one.lapse}
        assert lapsed == (ELSEWHERE if judge.name == rubric.VERSION else {})
        assert found.consistency.value == 1.0


@needs_shared_data
@pytest.mark.parametrize(("name", "label"), [("er", "emotional_reaction"), ("ip", "interpretation"), ("ex", "exploration")])
def test_what_other_people_say_of_the_rules_is_what_their_labels_say(name: str, label: str) -> None:
    meaning, _ = meanings()[label]
    lines = (SHARED_DATA / f"epitome_{name}.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["split"] == "dev"]
    found = cohens_kappa([grades(row["text"])[label] for row in rows], [int(row["label"]) for row in rows], grades=meaning.grades)
    assert found
    assert meaning.elsewhere
    assert (len(rows), round(found.value, 2)) == (465, meaning.elsewhere.kappa)


@needs_shared_data
def test_what_other_people_call_a_reflection_is_shown_and_not_held_against_the_rules() -> None:
    meaning, _ = meanings()["reflection"]
    rows = [row for row in map(json.loads, (SHARED_DATA / "esconv_strategies.jsonl").read_text().splitlines()) if row["split"] == "test"]
    given = [int(row["label"] in ("Reflection of feelings", "Restatement or Paraphrasing")) for row in rows]
    seen = [int(rubric.judge(row["text"]).reflection) for row in rows]
    found = cohens_kappa(seen, given)
    assert found
    assert meaning.elsewhere
    assert (f"{len(rows):,}", round(found.value, 2)) == (meaning.elsewhere.on.split()[0], meaning.elsewhere.kappa)
    assert round(sum(a and b for a, b in zip(seen, given, strict=True)) / sum(given), 1) == 0.2  # as rubric.py says
    (agreement,) = [one for one in worth("lexical-v3").agreements if one.label == "reflection"]
    assert (agreement.lapse, agreement.elsewhere) == (None, str(meaning.elsewhere))


def test_another_judge_meaning_or_reply_is_another_calibration(tmp_path: Path) -> None:
    path = LABEL_SETS / "replies.yaml"
    first = calibrate(rule("lexical-v3"), path)
    assert calibrate(rule("lexical-v3"), path).id == first.id
    ids = {first.id, calibrate(replace(rule("lexical-v3"), digest="sha256:" + "0" * 64), path).id}
    for name, before, after in (("replies.yaml", "as a statement", "as a question"), ("replies.jsonl", "worn through", "worn out")):
        for file in ("replies.yaml", "replies.jsonl"):
            (tmp_path / file).write_text((LABEL_SETS / file).read_text())
        text = (tmp_path / name).read_text()
        assert before in text
        (tmp_path / name).write_text(text.replace(before, after))
        ids.add(calibrate(rule("lexical-v3"), tmp_path / "replies.yaml").id)
    assert len(ids) == 4


def test_a_judge_that_contradicts_itself_over_blanks_is_shown_to() -> None:
    nothing = dict.fromkeys(conduct.CONDUCT, 0)
    fickle = replace(rule("conduct-v1"), grade=lambda exchanges: [nothing | {"refusal": int("  " in one.reply)} for one in exchanges])
    assert calibrate(fickle, LABEL_SETS / "conduct.yaml").consistency.value == 0.0


@pytest.mark.parametrize("name", sorted(REPLIED))
def test_every_measure_of_replies_says_who_judged_or_is_counted(name: str) -> None:
    for metric in REPLIED[name](replies(name), None):
        assert (metric.judge is None) == (metric.name in COUNTED)
        assert set(labels_behind(metric.name, metric.slice)) <= set(DOCUMENTED)
    assert not COUNTED & RESTS_ON.keys()


@pytest.mark.parametrize("label", sorted(DOCUMENTED))
def test_what_rests_on_a_label_that_lapsed_is_not_measured_and_its_gate_is_inconclusive(label: str) -> None:
    lapsed = tuple(
        found.model_copy(update={"agreements": tuple(
            one.model_copy(update={"lapse": "kappa 0.10, and 0.40 is needed"}) if one.label == label else one for one in found.agreements
        )})
        for found in controls.CALIBRATIONS
    )  # fmt: skip
    metrics = [metric for name, scorer in REPLIED.items() for metric in scorer(replies(name), None)]
    again = judged(metrics, lapsed)
    hit = [found for found, before in zip(again, metrics, strict=True) if found != before]
    assert hit
    for found, before in zip(again, metrics, strict=True):
        rests = label in labels_behind(found.name, found.slice)
        assert rests == (found != before)
        if rests:
            assert (found.tuned, found.base, found.difference, found.test) == (None, None, None, None)
            assert found.note
            assert f"on {label}: kappa 0.10" in found.note
    report = controls.report_on_replies(lambda _: controls.CRISIS_REPLY).model_copy(update={"metrics": tuple(again)})
    for gate in load_policy(SAMPLES / "policies" / "production.yaml").rules_for("causal_lm"):
        if label in labels_behind_or_none(gate.metric):
            assert outcome_of(gate, report, task="causal_lm", policy_name="production").verdict == "inconclusive"


def labels_behind_or_none(metric: str) -> tuple[str, ...]:
    return labels_behind(metric) if metric in RESTS_ON else ()


def test_a_label_that_nobody_was_compared_on_measures_nothing() -> None:
    metric = Metric(suite="safety", name="method_rate", unit="proportion", better="lower", tuned=None, note="x")
    (found,) = judged([metric], [worth("lexical-v3")])
    assert found.note == "not measured: method was never compared with people"


@pytest.mark.parametrize(("name", "before", "after", "place"), [
    ("replies.jsonl", '"acknowledges"', '"acknowleges"', "replies.jsonl:1"),
    ("replies.jsonl", "reply-002", "reply-two", "replies.jsonl:2"),
    ("replies.yaml", "min_kappa: 0.4", "min_kappa: 4", "replies.yaml"),
    ("replies.yaml", "min_recall", "minimal_recall", "replies.yaml"),
    ("replies.jsonl", '"interpretation": 2, ', "", "replies.jsonl:1"),
    ("replies.jsonl", '"exploration": 2', '"exploration": 3', "replies.jsonl:1"),
])  # fmt: skip
def test_a_slip_in_a_label_set_is_refused_with_its_place(name: str, before: str, after: str, place: str, tmp_path: Path) -> None:
    for file in ("replies.yaml", "replies.jsonl"):
        (tmp_path / file).write_text((LABEL_SETS / file).read_text())
    (tmp_path / name).write_text((tmp_path / name).read_text().replace(before, after))
    with pytest.raises(PeError) as caught:
        read_labelled(tmp_path / "replies.yaml")
    assert caught.value.kind is Kind.INPUT
    assert place in str(caught.value.where)


def test_both_label_sets_are_named_by_their_judge() -> None:
    assert label_sets() == {"lexical-v3": LABEL_SETS / "replies.yaml", "conduct-v1": LABEL_SETS / "conduct.yaml"}


def test_the_terminal_shows_what_may_not_be_relied_on_first() -> None:
    found = worth("conduct-v1")
    last = found.agreements[-1].model_copy(update={"lapse": "recall 0.10, and 0.50 is needed"})
    console = Console(width=120, record=True, file=StringIO())
    console.print(calibration_view(found.model_copy(update={"agreements": (*found.agreements[:-1], last)})))
    lines = [line for line in console.export_text().splitlines() if "yes" in line or "no" in line.split()]
    assert lines[0].split()[:3] == ["\u2717", "no", last.label]
    assert lines[0].endswith("recall 0.10, and 0.50 is needed")


def test_a_calibration_that_was_changed_in_the_registry_is_found(tmp_path: Path) -> None:
    state = State(Settings(home=tmp_path / "home"))
    first, *_ = calibrations(state)
    assert [check for check in verify_all(state).checks if check.problem] == []
    flattered = first.model_copy(update={"replies": 6_000}).to_json()
    with past_the_ledger(state.registry) as connection:
        connection.execute(sa.update(tables.records).where(tables.records.c.id == first.id).values(body=flattered))
    assert {check.record_id for check in verify_all(state).checks if check.problem} == {first.id}
