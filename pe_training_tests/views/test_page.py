"""The evidence page and the terminal views, from a real finished run and from hostile text."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pe_training.promotion.record import PromotionDecision
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.views import console, markdown, numbers
from pe_training.views.page import Evidence, plain, render_page
from pe_training.views.publish import evidence_of
from pe_training_tests.e2e.chain import Ended

pytestmark = pytest.mark.slow
HOSTILE = '<script>alert(1)</script>\x1b[31m"quoted" & [bold]{{ 7*7 }}'


@pytest.fixture(scope="module")
def evidence(finished: tuple[Path, Ended]) -> Evidence:
    state = State(Settings(home=finished[0]))
    return evidence_of(state.registry.get(finished[1].json["decision"], PromotionDecision), state=state)


def test_the_page_is_one_file_that_asks_nobody_for_anything(evidence: Evidence) -> None:
    html = render_page(evidence)
    assert "<script" not in html
    assert not re.search(r"""(src|href)\s*=|url\(|@import""", html)
    assert render_page(evidence) == html


def test_the_page_holds_every_reason_and_every_whole_id(evidence: Evidence) -> None:
    html = render_page(evidence)
    for outcome in evidence.decision.outcomes:
        assert outcome.reason in unescape(html)
    for identifier in (evidence.decision.id, evidence.checkpoint.id, evidence.report.id, evidence.dataset.id, evidence.manifest.id):
        assert identifier in html


def test_what_a_model_says_cannot_become_markup(evidence: Evidence) -> None:
    row = {"id": "x", "tuned_reply": HOSTILE, "base_reply": HOSTILE}
    html = render_page(replace(evidence, samples={"safety": (row,)}))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script" not in html
    assert "\x1b" not in html
    assert "{{ 7*7 }}" in html


def test_the_title_and_headings_hold_no_reply(evidence: Evidence) -> None:
    html = render_page(replace(evidence, samples={"safety": ({"id": "x", "tuned_reply": "CANARY"},)}))
    for heading in re.findall(r"<(?:title|h1|h2|h3|summary)>(.*?)</", html):
        assert "CANARY" not in heading


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_every_reason_at_any_width(evidence: Evidence, width: int) -> None:
    recorder = Console(width=width, record=True, file=StringIO())
    recorder.print(console.rules_table(evidence.decision))
    text = " ".join(recorder.export_text().split())
    for outcome in evidence.decision.outcomes:
        assert " ".join(outcome.reason.split()) in text


def test_terminal_text_from_data_is_plain() -> None:
    assert console.plain(HOSTILE).plain == plain(HOSTILE)
    assert "\x1b" not in console.plain(HOSTILE).plain


def test_markdown_fits_inline_and_begins_with_the_answer(evidence: Evidence) -> None:
    assert markdown.decision_markdown(evidence.decision).startswith("**PASS** for training by policy `dev`")
    many = evidence.decision.model_copy(update={"outcomes": evidence.decision.outcomes * 20})
    for text in (
        markdown.decision_markdown(many), markdown.report_markdown(evidence.report), markdown.dataset_markdown(evidence.dataset),
        markdown.checkpoint_markdown(evidence.checkpoint),
    ):  # fmt: skip
        assert len(text) < 1000
    assert re.search(r"and \d+ more$", markdown.decision_markdown(many))


@given(st.floats(0, 1))
def test_a_share_that_is_not_whole_never_reads_as_nothing_or_everything(share: float) -> None:
    text = numbers.percent(share)
    if 0.0006 <= share <= 0.9994:
        assert text not in ("0", "100")
    assert abs(float(text) - share * 100) <= 0.5


def test_durations_and_money_read_as_people_say_them() -> None:
    assert [numbers.duration(s) for s in (4, 59.6, 200, 41_400)] == ["4 s", "1 min 0 s", "3 min 20 s", "11 h 30 min"]
    assert [numbers.usd(a) for a in (0.00123, 1.5)] == ["0.0012 USD", "1.50 USD"]
