"""The eight traps that the predecessor fell into, by name, and traps that come together: each is refused by its check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pe_training.datasets.report import ValidationReport
from pe_training_tests.datasets.samples import CANARY, PROMPT, report_on, sample_release, sample_rows, talk
from pe_training_tests.datasets.test_checks import both, edit, say, tale
from pe_training_tests.releases import make_row

Rows = list[dict[str, Any]]
Change = Callable[[Rows], Rows]
HELD_OUT = {"sarcasm": "tone is judged on dialogues that nothing has seen"}


def whole_file_of_one_dialogue(rows: Rows) -> Rows:
    """300 rows, one distinct."""
    return [make_row(talk(100), split="train") for _ in range(300)] + rows[22:]


def head_of_training_as_evaluation(rows: Rows) -> Rows:
    """The test split was cut from the head of the training file."""
    for row, copied in zip(rows[24:], rows[:2], strict=True):
        row["messages"] = copied["messages"]
        row["metadata"]["content_hash"] = copied["metadata"]["content_hash"]
    return rows


def without_families(rows: Rows) -> Rows:
    """A pipeline dropped the family: the leakage check has nothing to look at."""
    for row in rows:
        row["metadata"]["source_family"] = "professional_therapeutic"
    return rows


def scrubbed_to_death(rows: Rows) -> Rows:
    for number in range(5):
        rows = say(number, [("user", f"[REDACTED]. [REDACTED]. {number} [NAME] left. {CANARY}"), ("assistant", "[REDACTED]. Go on.")])(rows)
    return rows


def all_as(*, turns: int) -> Change:
    """Content of another kind than the family says: long monologues as edge cases."""

    def apply(rows: Rows) -> Rows:
        return [
            make_row(
                [
                    (("user", "assistant")[at % 2], f"Row {number}, turn {at}: " + f"step {number}-{at} of the plan. " * 30)
                    for at in range(turns)
                ],
                split=row["metadata"]["split"],
                source_family="edge_cases",
            )
            for number, row in enumerate(rows)
        ]

    return apply


SPANISH = "Llevo semanas sin dormir bien y no encuentro la manera de hablar con mi familia sobre lo que pasa."
TRAPS: dict[str, tuple[Change, str, str]] = {  # name -> how to fall into it, the check that must refuse, the place it names
    "1 one dialogue repeated as a whole file": (whole_file_of_one_dialogue, "distinct_content", "train/part-00000.jsonl"),
    "2 evaluation rows from the head of the training file": (head_of_training_as_evaluation, "splits_disjoint", "train/part-00000.jsonl:1"),
    "2 the same content in two splits": (say(23, talk(4)), "splits_disjoint", "train/part-00000.jsonl:5"),
    "2 near-duplicates across splits": (
        both(say(3, tale("at noon")), say(22, tale("at dusk"))), "near_duplicates", "val/part-00000.jsonl:1",
    ),
    "2 a prompt of an evaluation suite in training": (
        say(5, [("user", PROMPT), ("assistant", f"Which nights are the longest? {CANARY}")]), "contamination", "train/part-00000.jsonl:6",
    ),
    "3 a holdout family in training": (
        both(edit(1, source_family="sarcasm"), edit(25, source_family="sarcasm")), "holdout_families", "train/part-00000.jsonl:2",
    ),
    "3 metadata dropped, so that leakage cannot be looked for": (without_families, "holdout_families", "manifest.json"),
    "4 rows that still require a review": (edit(2, pii_status="requires_review"), "pii_status", "train/part-00000.jsonl:3"),
    "4 rows with an unknown licence": (edit(2, license_tag="custom"), "licences", "train/part-00000.jsonl:3"),
    "5 a scrubber that replaced whole sentences": (scrubbed_to_death, "redaction", "train/part-00000.jsonl:1"),
    "6 a difficult client as the assistant": (edit(7, purpose="difficult_client"), "one_purpose", "train/part-00000.jsonl:8"),
    "7 another language than declared": (
        say(6, [("user", f"{SPANISH} {CANARY}"), ("assistant", "Suena agotador. ¿Qué noche fue la más difícil de esta semana?")]),
        "language", "train/part-00000.jsonl:7",
    ),
    "8 content that is not what the family says": (all_as(turns=4), "family_lengths", "manifest.json"),
}  # fmt: skip


def judged(folder: Path, rows: Rows, name: str = "") -> ValidationReport:
    held_out = HELD_OUT if "holdout" in name or "leakage" in name else None
    return report_on(sample_release(folder, rows, holdout_families=held_out))


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_of_the_predecessor_is_refused_by_its_check_with_the_place_and_what_to_do(tmp_path: Path, name: str) -> None:
    change, check, where = TRAPS[name]
    report = judged(tmp_path, change(sample_rows()), name)
    found = {failed.name: failed for failed in report.failed}
    assert not report.accepted
    assert where in found[check].where
    assert all(problem.message for problem in found[check].examples)
    assert check in str(report.refusal())
    assert CANARY not in report.model_dump_json()


def test_every_one_of_the_eight_is_here() -> None:
    assert {name.split()[0] for name in TRAPS} == set("12345678")


TOGETHER = [
    ("4 rows with an unknown licence", "4 rows that still require a review"),
    ("6 a difficult client as the assistant", "7 another language than declared", "4 rows with an unknown licence"),
    ("5 a scrubber that replaced whole sentences", "6 a difficult client as the assistant"),
    ("2 the same content in two splits", "2 near-duplicates across splits", "2 a prompt of an evaluation suite in training"),
    ("1 one dialogue repeated as a whole file", "4 rows with an unknown licence"),
]


@pytest.mark.parametrize("names", TOGETHER, ids=" and ".join)
def test_traps_that_come_together_are_each_named(tmp_path: Path, names: tuple[str, ...]) -> None:
    report = judged(tmp_path, both(*(TRAPS[name][0] for name in names))(sample_rows()))
    assert {TRAPS[name][1] for name in names} <= {check.name for check in report.failed}


def test_without_its_trap_the_release_passes_with_no_warning(tmp_path: Path) -> None:
    report = judged(tmp_path, sample_rows())
    assert report.accepted
    assert report.warnings == ()
