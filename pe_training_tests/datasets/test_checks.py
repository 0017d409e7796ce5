"""Every check refuses the release that it is there for, names the place and repeats no text."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pe_training.datasets.report import CHECKS, ValidationReport
from pe_training.datasets.rows import content_hash
from pe_training.datasets.suite_prompts import SuitePrompts
from pe_training_tests.datasets.samples import CANARY, PROMPT, report_on, sample_release, sample_rows, talk
from pe_training_tests.releases import make_row, write_manifest

Rows = list[dict[str, Any]]
FIRST = "train/part-00000.jsonl:1"


def edit(row: int, **metadata: Any) -> Callable[[Rows], Rows]:
    """Change metadata of one row (22 and 23 are val, 24 and 25 test)."""

    def apply(rows: Rows) -> Rows:
        rows[row]["metadata"] |= metadata
        return rows

    return apply


def say(row: int, messages: list[tuple[str, str]], **metadata: Any) -> Callable[[Rows], Rows]:
    """Give one row other messages, with the right hash and length."""

    def apply(rows: Rows) -> Rows:
        rows[row] = make_row(messages, split=rows[row]["metadata"]["split"], **metadata)
        return rows

    return apply


def both(*changes: Callable[[Rows], Rows]) -> Callable[[Rows], Rows]:
    def apply(rows: Rows) -> Rows:
        for change in changes:
            rows = change(rows)
        return rows

    return apply


def tale(day: str) -> list[tuple[str, str]]:
    """A dialogue of some length, in which only one word depends on the day."""
    told = (
        f"My sister called me {day} and said that she would not come to the wedding, because our father had not answered her letter. "
        f"I did not know what to say to her, so I hung up and walked around the lake until it was dark. {CANARY}"
    )
    return [("user", told), ("assistant", "Walking until dark sounds lonely. What would you have liked to tell her on the telephone?")]


BROKEN: dict[str, tuple[Callable[[Rows], Rows], set[str], str, str]] = {
    "an unknown key": (edit(0, licence="x"), {"schema", "manifest_counts"}, FIRST, "metadata.licence"),
    "a hash of other words": (edit(0, content_hash=content_hash(["other"])), {"content_hash"}, FIRST, "metadata.content_hash"),
    "a row twice": (say(0, talk(1)), {"unique_rows"}, FIRST, "messages"),
    "a row twice, said in another order": (
        say(0, [talk(1)[0], ("user", talk(1)[2][1]), ("assistant", talk(1)[1][1])]), {"unique_rows"}, FIRST, "messages",
    ),
    "a row in two splits": (say(22, talk(0)), {"unique_rows", "splits_disjoint", "near_duplicates"}, FIRST, "messages"),
    "one dialogue as a whole file": (
        say(22, talk(23)), {"unique_rows", "distinct_content"}, "val/part-00000.jsonl", "messages",
    ),
    "a licence that is not allowed": (edit(0, license_tag="custom"), {"licences"}, FIRST, "metadata.license_tag"),
    "personal data to be reviewed": (
        edit(25, pii_status="requires_review"), {"pii_status"}, "test/part-00000.jsonl:2", "metadata.pii_status",
    ),
    "the client has the last word": (say(0, talk(0)[:2]), {"role_order"}, FIRST, "messages"),
    "two systems": (say(0, [talk(0)[0], *talk(0)]), {"role_order"}, FIRST, "messages"),
    "the therapist begins": (say(0, talk(0)[2:]), {"role_order"}, FIRST, "messages"),
    "an empty message": (say(0, [talk(0)[0], ("user", " \n"), talk(0)[2]]), {"role_order"}, FIRST, "messages"),
    "no test split": (lambda rows: rows[:24], {"splits_present"}, "manifest.json", "splits.test"),
    "a score above one": (edit(0, quality_score=1.01), {"quality_score"}, FIRST, "metadata.quality_score"),
    "an unknown family": (edit(0, source_family="profesional"), {"known_families"}, FIRST, "metadata.source_family"),
    "a wrong length": (edit(0, conversation_length=3), {"conversation_length"}, FIRST, "metadata.conversation_length"),
    "a difficult client among therapists": (edit(0, purpose="difficult_client"), {"one_purpose"}, FIRST, "metadata.purpose"),
    "a test row told almost alike in training": (
        both(say(0, tale("on Sunday")), say(24, tale("on Monday"))), {"near_duplicates"}, "test/part-00000.jsonl:1", "messages",
    ),
    "a prompt of evaluation in training": (
        say(0, [("user", f"Hello. {PROMPT.upper()} What now?"), ("assistant", f"A whole night of counting. {CANARY}")]),
        {"contamination"}, FIRST, "messages",
    ),
    "an address in the text": (
        say(0, [("user", f"Write to jo.lee@mail.example.com. {CANARY}"), ("assistant", "What should it say?")]),
        {"personal_data"}, FIRST, "messages",
    ),
    "sentences that were cut away": (
        say(0, [("user", f"[REDACTED]. [REDACTED]. I could not sleep. {CANARY}"), ("assistant", "[NAME]! What kept you awake?")]),
        {"redaction"}, FIRST, "messages",
    ),
    "a row in German": (
        say(0, [("user", f"Seit der Trennung schlafe ich kaum noch und esse nicht mehr richtig. {CANARY}"),
                ("assistant", "Das klingt nach sehr langen Nächten. Was hilft Ihnen wenigstens ein bisschen?")]),
        {"language"}, FIRST, "metadata.language",
    ),
    "English that is declared as German": (edit(0, language="de"), {"language"}, FIRST, "metadata.language"),
}  # fmt: skip


def set_in(path: str, value: Any) -> Callable[[Path], None]:
    """Change one value of a finished manifest."""

    def apply(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        *parents, last = path.split("/")
        node = manifest
        for part in parents:
            node = node[int(part)] if part.isdigit() else node[part]
        node[last] = value
        write_manifest(folder, manifest)

    return apply


MISSTATED: dict[str, tuple[Callable[[Path], None], set[str], str, str]] = {
    "the total": (set_in("total_conversations", 27), {"manifest_counts"}, "manifest.json", "total_conversations"),
    "a split's count": (set_in("splits/val/conversations", 3), {"manifest_counts"}, "manifest.json", "splits.val.conversations"),
    "a shard's count": (
        set_in("splits/val/shards/0/conversation_count", 1), {"manifest_counts"}, "manifest.json", "val-part-00000.conversation_count",
    ),
    "a shard's families": (
        set_in("splits/val/shards/0/source_families", ["cptsd"]), {"manifest_counts"}, "manifest.json", "val-part-00000.source_families",
    ),
    "a family's count": (
        set_in("source_families/professional_therapeutic/splits", {"train": 26}), {"manifest_counts"}, "manifest.json",
        "source_families.professional_therapeutic.splits.train",
    ),
    "no families": (set_in("source_families", {}), {"manifest_counts"}, "manifest.json", "source_families"),
    "a digest": (set_in("splits/val/shards/0/sha256", "0" * 64), {"shard_digests"}, "val/part-00000.jsonl", "sha256"),
    "a size": (set_in("splits/val/shards/0/size_bytes", 5), {"shard_digests"}, "val/part-00000.jsonl", "size_bytes"),
    "a file that is gone": (
        lambda folder: (folder / "val" / "part-00000.jsonl").unlink(), {"shard_digests", "manifest_counts", "splits_present"},
        "val/part-00000.jsonl", "s3_path",
    ),
    "a family held out that has no rows": (
        set_in("holdout_families", {"sarcasm": {"test_split_only": True, "rationale": "tone"}}), {"holdout_families"}, "manifest.json",
        "holdout_families.sarcasm",
    ),
}  # fmt: skip


def require_refused(report: ValidationReport, failed: set[str], where: str, field: str) -> None:
    assert not report.accepted
    assert {check.name for check in report.failed} == failed
    assert (where, field) in [(p.where, p.field) for check in report.failed for p in check.examples]
    assert all(check.failing > 0 and check.observed != check.threshold for check in report.failed)
    assert CANARY not in report.model_dump_json()


@pytest.mark.parametrize("fault", BROKEN)
def test_a_release_with_a_broken_row_is_refused_with_the_place(tmp_path: Path, fault: str) -> None:
    change, failed, where, field = BROKEN[fault]
    require_refused(report_on(sample_release(tmp_path, change(sample_rows()))), failed, where, field)


@pytest.mark.parametrize("fault", MISSTATED)
def test_a_release_that_is_not_as_its_manifest_says_is_refused(tmp_path: Path, fault: str) -> None:
    change, failed, where, field = MISSTATED[fault]
    folder = sample_release(tmp_path)
    change(folder)
    require_refused(report_on(folder), failed, where, field)


def test_a_held_out_family_in_training_is_refused(tmp_path: Path) -> None:
    rows = both(edit(3, source_family="sarcasm"), edit(24, source_family="sarcasm"))(sample_rows())
    report = report_on(sample_release(tmp_path, rows, holdout_families={"sarcasm": "tone"}))
    require_refused(report, {"holdout_families"}, "train/part-00000.jsonl:4", "metadata.split")


def test_a_row_in_the_shard_of_another_split_is_refused(tmp_path: Path) -> None:
    folder = sample_release(tmp_path)
    train, test = (folder / split / "part-00000.jsonl" for split in ("train", "test"))
    first, rest = train.read_text().split("\n", 1)
    train.write_text(test.read_text().splitlines()[0] + "\n" + rest)
    test.write_text(first + "\n" + test.read_text().splitlines()[1] + "\n")
    require_refused(report_on(folder), {"manifest_counts", "shard_digests"}, "train/part-00000.jsonl:1", "metadata.split")


def test_every_check_has_a_broken_release_above() -> None:
    shown = {name for _, failed, _, _ in (*BROKEN.values(), *MISSTATED.values()) for name in failed}
    assert shown == set(CHECKS) - {"family_lengths", "label_balance", "mixture", "drift"}, "those four stand in test_balance.py"


def test_a_correct_release_passes_every_check_with_numbers(tmp_path: Path) -> None:
    report = report_on(sample_release(tmp_path))
    assert report.accepted
    assert tuple(check.name for check in report.checks) == CHECKS
    assert {check.name: (check.observed, check.threshold) for check in report.checks if check.bound == "at_least"} == {
        "distinct_content": (1.0, 0.9),
        "splits_present": (3.0, 3.0),
    }
    assert all((check.observed, check.failing) == (0, 0) for check in report.checks if check.bound == "at_most")
    assert report.summary == "release sample-dialogues v1.0.0 accepted: 22 checks passed on 26 rows, 3 had nothing to judge"


def test_where_no_suite_asks_anything_contamination_is_not_taken_for_granted(tmp_path: Path) -> None:
    report = report_on(sample_release(tmp_path), suites=SuitePrompts(prompts={}, digests={}))
    assert [check.tally for check in report.failed] == ["contamination (1 suite)"]
    assert report.refusal().hint == "no evaluation suite here asks anything, so nobody can say what must not be trained on"


def test_optional_values_may_all_be_absent(tmp_path: Path) -> None:
    rows = sample_rows()
    for row in rows:
        for key in ("quality_score", "conversation_length", "labels", "group", "bias_flags"):
            del row["metadata"][key]
    assert report_on(sample_release(tmp_path, rows)).accepted


def test_a_release_without_rows_is_refused(tmp_path: Path) -> None:
    report = report_on(sample_release(tmp_path, []))
    assert {check.name for check in report.failed} == {"splits_present", "distinct_content"}
    assert report.rows == 0


def test_a_report_shows_twenty_places_and_counts_them_all(tmp_path: Path) -> None:
    rows = sample_rows()
    for row in rows:
        row["metadata"]["license_tag"] = "custom"
    (check,) = report_on(sample_release(tmp_path, rows)).failed
    assert (check.name, check.failing, check.observed, len(check.examples)) == ("licences", 26, 26.0, 20)
    assert check.where[:2] == (FIRST, "train/part-00000.jsonl:2")


def test_the_refusal_reads_like_this(tmp_path: Path) -> None:
    rows = both(edit(4, license_tag="custom"), *(edit(i, content_hash=content_hash([str(i)])) for i in range(3)))(sample_rows())
    assert str(report_on(sample_release(tmp_path, rows)).refusal()) == (
        "train/part-00000.jsonl:1:metadata.content_hash: release sample-dialogues v1.0.0 refused: "
        "2 of 25 checks failed: content_hash (3 rows), licences (1 row) (is not the hash of these messages)"
    )


def test_the_same_release_always_gets_the_same_report(tmp_path: Path) -> None:
    folder = sample_release(tmp_path, BROKEN["a row twice"][0](sample_rows()))
    assert report_on(folder).model_dump_json() == report_on(folder).model_dump_json()


def test_the_list_of_checks_needs_no_heavy_import() -> None:
    code = (
        "import sys; import pe_training.datasets.report, pe_training.datasets.accept, pe_training.datasets.read; "
        "sys.exit(bool({'great_expectations', 'pandas', 'pyarrow', 'torch', 'dagster'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
