"""Lengths, labels, mixture and drift: each is found, named and, where there is nothing to compare, said to be so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pe_training.datasets.accept import accept, preview
from pe_training.datasets.checks import judge
from pe_training.datasets.report import Check, ValidationReport
from pe_training_tests.datasets.samples import SUITES, fresh_state, read, report_on, sample_release, sample_rows, shipped_policy
from pe_training_tests.releases import make_row

Rows = list[dict[str, Any]]


def check(report: ValidationReport, name: str) -> Check:
    return next(found for found in report.checks if found.name == name)


def family(name: str, text: str, *, turns: int = 2) -> Rows:
    """24 training rows of a family, each with ``turns`` messages that say ``text``."""
    rows = []
    for number in range(24):
        talk = [("user" if turn % 2 == 0 else "assistant", f"{number} {turn} {text}") for turn in range(turns)]
        rows.append(make_row(talk, split="train", source_family=name))
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (family("cot_reasoning", "yes"), "cot_reasoning: about 8 tokens a dialogue, expected 100 to 1000"),
        (family("professional_therapeutic", "word " * 500), "professional_therapeutic: about 1150 tokens a dialogue, expected 50 to 500"),
        (family("voice_persona", "word " * 20, turns=12), "voice_persona: about 12 turns a dialogue, expected 1 to 5"),
    ],
)
def test_content_that_is_not_what_its_family_says_is_refused(tmp_path: Path, rows: Rows, message: str) -> None:
    others = [row for row in sample_rows() if row["metadata"]["split"] != "train"]
    report = report_on(sample_release(tmp_path, [*rows, *others]))
    assert [found.name for found in report.failed] == ["family_lengths"]
    assert message in [problem.message for problem in check(report, "family_lengths").examples]


def test_a_family_of_few_rows_has_no_mean_to_judge(tmp_path: Path) -> None:
    others = [row for row in sample_rows() if row["metadata"]["split"] != "train"]
    assert report_on(sample_release(tmp_path, [*family("cot_reasoning", "yes")[:19], *others])).accepted


def test_a_label_that_hardly_varies_warns_and_does_not_refuse(tmp_path: Path) -> None:
    rows = sample_rows()
    rows[0]["metadata"]["labels"]["crisis"] = "critical"
    report = report_on(sample_release(tmp_path, rows), shipped_policy(max_label_share=0.9))
    assert report.accepted
    assert [(found.name, found.severity) for found in report.warnings] == [("label_balance", "warn")]
    assert check(report, "label_balance").examples[0].message == "one of 2 values stands in 95.5% of 22 training rows"
    assert report.summary.endswith("accepted: 21 checks passed on 26 rows, 3 had nothing to judge; with a warning: label_balance (1 label)")


def test_a_label_value_that_training_never_shows_warns(tmp_path: Path) -> None:
    rows = sample_rows()
    rows[24]["metadata"]["labels"]["crisis"] = "critical"
    report = report_on(sample_release(tmp_path, rows))
    assert check(report, "label_balance").examples[0].message == "1 of its values are held out and in no training row"


def test_a_mixture_off_its_plan_is_refused_with_both_shares(tmp_path: Path) -> None:
    rows = sample_rows()
    for row in rows[:5]:
        row["metadata"]["source_family"] = "cptsd"
    folder = sample_release(tmp_path, rows)
    plan = {"professional_therapeutic": 17.0, "cptsd": 5.0}
    assert report_on(folder, shipped_policy(mixture=plan)).accepted
    report = report_on(folder, shipped_policy(mixture={"professional_therapeutic": 3.0, "cptsd": 1.0}))
    assert [found.name for found in report.failed] == ["mixture"]
    assert [problem.message for problem in check(report, "mixture").examples] == [
        "22.7% of the training rows, planned 25.0%", "77.3% of the training rows, planned 75.0%",
    ]  # fmt: skip
    assert check(report, "mixture").observed == pytest.approx(0.0227, abs=1e-4)


def test_without_a_plan_or_an_earlier_version_the_checks_say_so(tmp_path: Path) -> None:
    report = report_on(sample_release(tmp_path))
    assert check(report, "mixture").note == "no mixture is planned"
    assert check(report, "drift").note == "no version before this one was accepted"


def test_drift_against_the_version_before_warns_with_both_numbers(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    accept(sample_release(tmp_path), suites=SUITES, state=state).sealed()
    rows = sample_rows()
    for row in rows[:11]:
        row["metadata"]["source_family"] = "cptsd"
    for number in range(11, 22):
        rows[number] = make_row([("user", f"{number} " + "word " * 90), ("assistant", f"{number} tell me more")], split="train")
    report = preview(sample_release(tmp_path, rows, version="v1.1.0"), suites=SUITES, state=state).report
    assert report.accepted
    messages = [problem.message for problem in check(report, "drift").examples]
    assert messages == [
        "the mix of families moved by 42.3% against the version before", "55.8 words a dialogue, 27.0 in the version before",
    ]  # fmt: skip


def test_lengths_are_not_compared_with_a_version_that_kept_none(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    before = accept(sample_release(tmp_path), suites=SUITES, state=state).sealed().model_copy(update={"statistics": None})
    found = check(judge(read(sample_release(tmp_path)), shipped_policy(), previous=before), "drift")
    assert (found.passed, found.judged) == (True, True)
    assert found.note == "lengths are not compared: the version before was sealed without its means"


def test_what_has_nothing_to_judge_is_not_counted_as_passed(tmp_path: Path) -> None:
    rows = sample_rows()
    for row in rows:
        del row["metadata"]["labels"]
        row["metadata"]["source_family"] = "cptsd"
    report = report_on(sample_release(tmp_path, rows))
    assert {found.name: found.note for found in report.checks if not found.judged} == {
        "holdout_families": "the manifest holds no family out for testing",
        "family_lengths": "no family with an expected length has 20 rows",
        "label_balance": "no row has a label",
        "mixture": "no mixture is planned",
        "drift": "no version before this one was accepted",
    }
    assert report.passed == len(report.checks) - 5


def test_a_label_that_is_free_text_is_left_out_and_named_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pe_training.datasets.row_table.MAX_LABEL_VALUES", 5)
    rows = sample_rows()
    for number, row in enumerate(rows):
        row["metadata"]["labels"]["remark"] = f"remark {number}"
    found = check(report_on(sample_release(tmp_path, rows)), "label_balance")
    assert (found.passed, found.note) == (True, "not looked at, as free text: 1")
