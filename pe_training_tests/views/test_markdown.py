"""Markdown for Dagster: the answer first, and never longer than what is shown inline."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from pe_training.promotion.pointers import Pointer
from pe_training.views import markdown, reproduction
from pe_training_tests.views import factory
from pe_training_tests.views.factory import Outcome, evidence
from pe_training_tests.views.hostile import HOSTILE, texts

POINTER = Pointer(line="empathy-sft", stage="staging", checkpoint_id="ck_" + "a" * 32, decision_id=None, version=1)
VIEWS = {
    "decision": lambda: markdown.decision_markdown(evidence().decision),
    "report": lambda: markdown.report_markdown(evidence().report),
    "checkpoint": lambda: markdown.checkpoint_markdown(evidence().checkpoint),
    "dataset": lambda: markdown.dataset_markdown(factory.dataset()),
    "refused": lambda: markdown.validation_markdown(factory.refused()),
    "accepted": lambda: markdown.validation_markdown(factory.accepted()),
    "plan": lambda: markdown.plan_markdown(factory.plan()),
    "stages": lambda: markdown.stages_markdown([POINTER]),
    "no-stages": lambda: markdown.stages_markdown([]),
    "costs": lambda: markdown.costs_markdown(evidence().charges),
    "reproduction": lambda: reproduction.reproduction_markdown(factory.reproduced(), determinism="tolerance"),
}


@pytest.mark.parametrize("name", list(VIEWS))
def test_a_summary_looks_as_it_was_approved(name: str, snapshot: SnapshotAssertion) -> None:
    assert VIEWS[name]() == snapshot


@pytest.mark.parametrize("outcome", ["pass", "fail", "inconclusive"])
def test_a_decision_begins_with_its_verdict_and_what_it_allows(outcome: Outcome) -> None:
    text = markdown.decision_markdown(evidence(outcome).decision)
    assert text.startswith(f"**{outcome.upper()}** May {'' if outcome == 'pass' else 'not '}go to staging. ")


@given(st.integers(1, 60), texts, texts)
def test_a_decision_fits_whatever_its_policy_holds(rules: int, title: str, line: str) -> None:
    decision = evidence().decision
    outcomes = tuple(decision.outcomes[i % 9].model_copy(update={"title": title}) for i in range(rules))
    text = markdown.decision_markdown(decision.model_copy(update={"outcomes": outcomes, "policy_name": line, "stage": line}))
    assert len(text) < 1000
    rows = re.findall(r"^\| (?:FAIL|PASS|INCONCLUSIVE|not applicable) \|", text, re.MULTILINE)
    left = re.search(r"and (\d+) more$", text)
    assert len(rows) + (int(left[1]) if left else 0) == rules


@given(texts)
def test_everything_else_fits_whatever_it_is_called(name: str) -> None:
    found = evidence()
    base = found.checkpoint.base.model_copy(update={"ref": name})
    version = found.dataset.model_copy(update={"name": name, "families": {f"{name}{i}": {"train": i} for i in range(40)}})
    check = factory.refused().checks[1]
    place = check.examples[0].model_copy(update={"where": name})
    refused = factory.refused().model_copy(
        update={"name": name, "version": name, "checks": (check.model_copy(update={"name": name, "examples": (place,)}),) * 30}
    )
    for text in (
        markdown.checkpoint_markdown(found.checkpoint.model_copy(update={"line": name, "base": base})),
        markdown.report_markdown(found.report.model_copy(update={"line": name, "suites": {name: found.report.suites["safety"]}})),
        markdown.dataset_markdown(version),
        markdown.validation_markdown(refused),
        markdown.plan_markdown(factory.plan().model_copy(update={"name": name, "base": name, "policy": name})),
        markdown.stages_markdown([Pointer(line=name, stage=name, checkpoint_id=name, decision_id=None, version=1)] * 50),
    ):
        assert len(text) < 1000
        text.encode()


def test_text_from_data_cannot_become_markup_or_a_column() -> None:
    outcomes = tuple(o.model_copy(update={"title": HOSTILE}) for o in evidence().decision.outcomes)
    text = markdown.decision_markdown(evidence().decision.model_copy(update={"outcomes": outcomes}))
    assert not set("<>`[]\x1b") & set(text)
    assert {line.count("|") for line in text.splitlines() if line.startswith("|")} == {5}
