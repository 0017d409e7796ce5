"""Terminal views at the widths that people have, and with text that wants to be markup."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from rich.console import Console, RenderableType
from syrupy.assertion import SnapshotAssertion

from pe_training.lineage.check import Verification
from pe_training.lineage.trace import Tree
from pe_training.views import console, lists, reproduction
from pe_training.views.layout import plain
from pe_training_tests.views import factory
from pe_training_tests.views.factory import Outcome, evidence
from pe_training_tests.views.hostile import HOSTILE, LINES, texts

MOVE = {
    "line": "empathy-sft", "stage": "staging", "action": "promote", "from_id": None, "to_id": "ck_" + "a" * 32,
    "decision_id": "pd_" + "b" * 32, "actor": "reviewer", "reason": "read the page", "applied": True, "at": "2026-11-23T08:30:00Z",
}  # fmt: skip
POINTER = {"line": "empathy-sft", "stage": "staging", "checkpoint_id": "ck_" + "a" * 32, "decision_id": None, "version": 1}
RECORD = {
    "id": "ck_" + "a" * 32, "content": {"line": "empathy-sft", "step": 40}, "parents": {"run": "run_" + "c" * 32},
    "files": [{"path": "history.jsonl", "size_bytes": 4096, "digest": "sha256:" + "d" * 64}],
}  # fmt: skip
CHECKS = [
    {"what": "torch", "ok": True, "found": "torch 2.13.0", "hint": None},
    {"what": "rates", "ok": False, "found": "no such file", "hint": "repair the file that PE_RATES names"},
]
HAPPENED = {
    "determinism": "bitwise",
    "events": [
        {"at": "2026-11-23T08:30:00Z", "kind": "started", "body": {"manifest": "mf_" + "4" * 32}},
        {"at": "2026-11-23T08:40:00Z", "kind": "rollback", "body": {"spike_step": 7, "to_step": 5, "loss": "nan", "lr_factor": 0.5}},
    ],
    "environment": {
        "packages": {"alembic": "1.20.1", "numpy": "2.4.6", "torch": "2.13.0"},
        "python": "CPython 3.11.7", "os": "Linux-6.18-x86_64-with-glibc2.36",
        "code": "sha256:" + "e" * 64, "sources": {"tasks.py": "sha256:0123456789"},
        "git": {"commit": "f" * 40, "dirty": True, "changed": ["pe_training/training/tasks.py"]},
        "machine": {"cpu": "AMD EPYC", "cores": 2, "memory_gib": 24, "gpus": []},
    },
}  # fmt: skip
VIEWS: dict[str, Callable[[], RenderableType]] = {
    "verdict": lambda: console.verdict_panel(evidence().decision),
    "rules": lambda: console.rules_table(evidence().decision),
    "comparison": lambda: console.comparison_table(evidence().report),
    "lineage": lambda: console.lineage_tree(evidence().lineage),
    "refused": lambda: console.validation_table(factory.refused()),
    "accepted": lambda: console.acceptance_view(factory.dataset(), factory.accepted()),
    "records": lambda: lists.records_table(rows := factory.rows(), {rows[0].id: (3,)}),
    "record": lambda: lists.record_view(RECORD),
    "costs": lambda: lists.cost_table(evidence().charges),
    "plan": lambda: lists.plan_view(factory.plan()),
    "damage": lambda: lists.verification_view(factory.damaged()),
    "stages": lambda: lists.stages_view([POINTER], [MOVE]),
    "move": lambda: lists.move_view(MOVE),
    "doctor": lambda: lists.doctor_view(CHECKS),
    "reproduction": lambda: reproduction.reproduction_view(factory.reproduced(), determinism="tolerance"),
    "run": lambda: reproduction.run_facts(HAPPENED),
}


def shown(*views: RenderableType, width: int = 120) -> str:
    """What a terminal without colours shows."""
    recorder = Console(width=width, file=StringIO(), color_system=None, highlight=False, record=True)
    recorder.print(*views, sep="\n")
    return "\n".join(line.rstrip() for line in recorder.export_text().splitlines())


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", list(VIEWS))
def test_a_view_looks_as_it_was_approved(name: str, width: int, snapshot: SnapshotAssertion) -> None:
    text = shown(VIEWS[name](), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert text == snapshot


@pytest.mark.parametrize("outcome", ["pass", "fail", "inconclusive"])
def test_the_verdict_is_a_word_and_not_a_colour(outcome: Outcome) -> None:
    text = shown(console.verdict_panel(evidence(outcome).decision))
    assert outcome.upper() in text
    assert ("May go to staging" if outcome == "pass" else "May not go to staging") in text


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_word_of_a_reason_is_lost_at_any_width(width: int) -> None:
    decision = evidence().decision
    text = "".join(shown(console.rules_table(decision), width=width).split())
    for outcome in decision.outcomes:
        assert all(word in text for word in outcome.reason.split())


@pytest.mark.parametrize(("outcome", "step"), [("pass", "--to production"), ("fail", "--full")])
def test_a_run_ends_with_the_verdict_and_what_to_do_next(outcome: Outcome, step: str) -> None:
    found = evidence(outcome)
    page, manifest = Path("reports/page.html"), Path("manifest.yaml")
    text = shown(
        *console.run_view(
            found.decision, found.report, found.lineage, cost_usd=Decimal("0.006071"), page=page, reused=True, manifest_path=manifest
        )
    )
    assert text.startswith("Nothing changed")
    assert text.index("where it comes from") < text.index(outcome.upper()) < text.index("0.0061 USD") < text.index(step)
    assert "reports/page.html" in text


def test_markup_and_control_characters_are_shown_and_not_obeyed() -> None:
    tree = Tree(id="ck_" + "a" * 32, kind="ck", label=HOSTILE, role="")
    text = shown(console.lineage_tree(tree), width=400)
    assert "[bold red]" in text
    assert not set("\x1b\x00\u202e\ud800") & set(text)


@given(texts)
def test_plain_text_is_one_printable_line(text: str) -> None:
    result = plain(text).plain
    assert "\n" not in result
    assert all(c.isprintable() or c in "\u200c\u200d\u00a0" for c in result)
    assert not plain(text).spans


def test_line_breaks_and_tabs_become_spaces() -> None:
    assert plain(LINES).plain == "one two    three\N{REPLACEMENT CHARACTER}"


def test_a_missing_and_a_cut_branch_are_named() -> None:
    lost = Tree(id="mf_" + "1" * 32, kind="mf", label="(not in the registry)", role="manifest", missing=True)
    text = shown(console.lineage_tree(Tree(id="pd_" + "2" * 32, kind="pd", label="x", role="", children=(lost,), truncated=True)))
    assert "manifest  mf_1111111111  (not in the registry)" in text
    assert "(there is more)" in text


def test_lists_without_rows_say_so() -> None:
    assert shown(lists.records_table([], {})) == "none yet"
    assert "no model line holds a stage yet" in shown(lists.stages_view([], []))
    assert "nothing to verify" in shown(lists.verification_view(Verification(records=0, compared=0, checks=())))
    assert "0.00 USD" in shown(lists.cost_table([]))


def test_proof_without_damage_is_one_line() -> None:
    text = shown(lists.verification_view(Verification(records=6, compared=1_204, checks=())))
    assert text == "\N{CHECK MARK} everything holds: 1,204 comparisons over 6 records"
