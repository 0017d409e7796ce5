"""The page, the tables and the Markdown of a real finished run."""

from __future__ import annotations

import re
from html import unescape
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from pe_training.promotion.record import PromotionDecision
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.views import console, markdown
from pe_training.views.evidence import Evidence
from pe_training.views.page import render_page
from pe_training.views.publish import SAMPLES_PER_SUITE, evidence_of
from pe_training_tests.e2e.chain import Ended

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def evidence(finished: tuple[Path, Ended]) -> Evidence:
    state = State(Settings(home=finished[0]))
    return evidence_of(state.registry.get(finished[1].json["decision"], PromotionDecision), state=state)


def test_the_page_holds_every_reason_and_every_whole_id(evidence: Evidence) -> None:
    html = render_page(evidence)
    text = unescape(html).replace("\N{NO-BREAK SPACE}", " ")
    for outcome in evidence.decision.outcomes:
        assert outcome.reason in text
    for identifier in (evidence.decision.id, evidence.checkpoint.id, evidence.report.id, evidence.dataset.id, evidence.manifest.id):
        assert identifier in html


def test_the_page_is_one_file_that_asks_nobody_for_anything(evidence: Evidence) -> None:
    html = render_page(evidence)
    assert "<script" not in html
    assert not re.search(r"""src\s*=|href="[^#]|url\(|@import""", html)
    assert render_page(evidence) == html


def test_every_reply_is_shown_with_the_prompt_it_answers(evidence: Evidence) -> None:
    assert {"safety", "fairness", "therapeutic"} <= {suite for suite, samples in evidence.samples.items() if samples}
    for samples in evidence.samples.values():
        assert len(samples) <= SAMPLES_PER_SUITE
        assert all(sample.messages and sample.base is not None for sample in samples)


def test_held_out_dialogues_are_nobodys_to_read(evidence: Evidence) -> None:
    assert evidence.samples["accuracy"] == ()


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_every_reason_at_any_width(evidence: Evidence, width: int) -> None:
    recorder = Console(width=width, record=True, file=StringIO())
    recorder.print(console.rules_table(evidence.decision))
    text = " ".join(recorder.export_text().split())
    for outcome in evidence.decision.outcomes:
        assert " ".join(outcome.reason.split()) in text


def test_markdown_begins_with_the_answer(evidence: Evidence) -> None:
    assert markdown.decision_markdown(evidence.decision).startswith("**PASS** May go to training.")
