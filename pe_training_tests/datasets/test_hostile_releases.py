"""Releases that somebody made to slip through, to fill the machine, or to make errors repeat a dialogue."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.datasets import accept as room
from pe_training.datasets.accept import accept
from pe_training.datasets.gate import require_trainable
from pe_training.datasets.parse import NotARowError, parse_row
from pe_training.datasets.shard_lines import MAX_BLANK_LINES, UnreadableError, shard_lines
from pe_training.storage.tables import releases
from pe_training_tests.datasets.samples import CANARY, SUITES, fresh_state, report_on, sample_release, sample_rows, talk
from pe_training_tests.releases import make_row
from pe_training_tests.tampering import past_the_ledger

LINE = json.dumps(sample_rows()[0])


def rewritten(folder: Path, data: bytes, *, shard: str = "train/part-00000.jsonl") -> Path:
    """The sample release with other bytes in its first shard, truly described."""
    path = sample_release(folder)
    (path / shard).write_bytes(data)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["splits"]["train"]["shards"][0] |= {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace('"split": "train"', '"split": "test", "split": "train"'),
        LINE.replace('{"messages"', '{"messages": [{"role": "user", "content": "x"}], "messages"', 1),
        LINE.replace("Exam", "\\u0022\\u0022 Exam").replace('"content": ', '"content": "", "content": ', 1),
    ],
)
def test_a_key_that_stands_twice_in_a_row_is_refused(line: str) -> None:
    with pytest.raises(NotARowError, match="stands twice in one object") as caught:
        parse_row(line.encode())
    assert CANARY not in caught.value.message


def test_a_row_with_nulls_or_quotes_in_its_text_is_a_row() -> None:
    assert parse_row(LINE.replace('"quality_score": 0.8', '"quality_score": null').encode()).quality_score is None
    assert parse_row(LINE.replace("Exam", 'The \\"\\u0022 exam').encode()).turns[1][1].startswith('The "" exam')


def changed_manifest(folder: Path, change: Callable[[str], str]) -> Path:
    path = sample_release(folder)
    (path / "manifest.json").write_text(change((path / "manifest.json").read_text()))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"total_conversations"', '"total_conversations": 1, "total_conversations"', 1), "stands twice"),
        (lambda text: text.replace('"val": {', '"validation": {"conversations": 0, "shards": []}, "val": {', 1), "stands twice"),
        (lambda text: text.replace('"sample-dialogues"', '"sample-dialogues\\n"'), "cannot be the name"),
        (lambda text: text.replace('"v1.0.0"', '"v1.0.0\\n"'), "cannot be the name"),
        (lambda text: text.replace("train/part-00000", "x" * 300, 1).replace("train/part-00000", "x" * 300), "is not a plain path"),
        (lambda text: text.replace("train/part-00000", "s3://[bad/part-00000"), None),
        (lambda text: text.replace('"total_conversations": 26', '"total_conversations": 26.0'), "valid integer"),
    ],
)
def test_an_odd_manifest_is_one_clear_error_or_a_failed_check(tmp_path: Path, change: Callable[[str], str], message: str | None) -> None:
    path = changed_manifest(tmp_path, change)
    if message is None:
        assert not report_on(path).accepted
        return
    with pytest.raises(PeError, match=message) as caught:
        report_on(path)
    assert caught.value.kind == Kind.INPUT


def test_thousands_of_families_take_no_square(tmp_path: Path) -> None:
    rows = [make_row(talk(number), split="train", source_family=f"family-{number}") for number in range(4_000)]
    path = sample_release(tmp_path, rows)
    began = time.perf_counter()

    assert not report_on(path).accepted
    assert time.perf_counter() - began < 15  # it took a minute


def test_a_text_where_a_name_belongs_reaches_no_report(tmp_path: Path) -> None:
    said = f"He told me {CANARY}"
    rows = sample_rows()
    for row in rows:
        row["metadata"]["source_family"] = said
        row["metadata"]["labels"] = {said: row["metadata"]["split"]}
        row["messages"][1]["content"] += " [REDACTED]." * 9
    path = sample_release(tmp_path, rows, holdout_families={said: "x", said + "2": "y"})
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["source_families"] = {said + "3": {"conversations": 1, "splits": {}}}
    manifest["splits"]["train"]["shards"][0] |= {"shard_id": said, "conversation_count": 3}
    (path / "manifest.json").write_text(json.dumps(manifest))
    report = report_on(path)

    assert {"manifest_counts", "holdout_families", "redaction", "known_families"} <= {check.name for check in report.failed}
    assert "label_balance" in {check.name for check in report.warnings}
    assert CANARY not in report.model_dump_json()


def test_a_file_of_blank_lines_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n" * MAX_BLANK_LINES + b"{}\n" + b"\n" * (MAX_BLANK_LINES + 1) + b"{}\n")
    lines = shard_lines(path)

    assert next(lines) == (MAX_BLANK_LINES + 1, b"{}\n")
    with pytest.raises(UnreadableError, match="blank lines"):
        next(lines)


def test_a_row_of_parquet_is_no_longer_than_one_of_json(tmp_path: Path) -> None:
    pq.write_table(pa.table({"messages": ["x" * (17 << 20)]}), tmp_path / "a.parquet")
    with pytest.raises(UnreadableError, match="longer than 16 MiB"):
        list(shard_lines(tmp_path / "a.parquet"))


@pytest.mark.parametrize("nested", ["at the top", "in a struct"])
def test_a_column_that_stands_twice_is_refused(tmp_path: Path, nested: str) -> None:
    column = pa.array(["x"])
    if nested == "in a struct":
        table = pa.table({"messages": pa.array([[{"role": "user"}]]), "metadata": pa.StructArray.from_arrays([column] * 2, ["split"] * 2)})
    else:
        table = pa.Table.from_arrays([column, column], ["messages", "messages"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UnreadableError, match="stands twice"):
        list(shard_lines(tmp_path / "a.parquet"))


def test_a_release_that_unpacks_into_many_times_its_rows_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = rewritten(tmp_path, (LINE.encode() + b"\n") * 20_000)
    with pytest.raises(PeError, match="more than 10 times the 26 rows") as caught:
        report_on(path)
    assert caught.value.kind == Kind.INPUT


def test_a_release_that_changes_between_two_looks_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, path = fresh_state(tmp_path / "home"), sample_release(tmp_path)
    looked = room.read_head

    def then_changed(folder: Path) -> Any:
        head = looked(folder)
        text = (path / "manifest.json").read_text()
        (path / "manifest.json").write_text(text + " ")
        return head

    monkeypatch.setattr(room, "read_head", then_changed)
    with pytest.raises(PeError, match="changed while it was read"):
        accept(path, suites=SUITES, state=state)


@pytest.mark.parametrize("forged", ["another report", "a refusal"])
def test_a_row_that_claims_an_acceptance_which_its_report_does_not_is_refused(tmp_path: Path, forged: str) -> None:
    state = fresh_state(tmp_path / "home")
    good = accept(sample_release(tmp_path), suites=SUITES, state=state).sealed()
    rows = sample_rows()
    if forged == "a refusal":
        rows[0]["metadata"]["license_tag"] = "custom"
    other = accept(sample_release(tmp_path, rows, version="v2", name="other-dialogues"), suites=SUITES, state=state)
    mine, digest = releases.c.dataset_id == good.id, releases.c.digest == other.release_digest
    with past_the_ledger(state.registry) as connection:
        report = connection.execute(sa.select(releases.c.report_digest).where(digest)).scalar()
        connection.execute(sa.update(releases).where(mine, releases.c.digest != other.release_digest).values(report_digest=report))

    with pytest.raises(PeError, match="does not say so") as caught:
        require_trainable(good, state=state, route="test", subject="x")
    assert caught.value.kind == Kind.REFUSED


def test_a_therapist_who_answers_in_another_language_is_noticed_behind_long_questions(tmp_path: Path) -> None:
    question = "Since my brother moved away I have been sleeping badly and I cannot concentrate on anything at work any more. " * 5
    reply = "Parece que la marcha de su hermano ha dejado un vacío muy grande, y que el cansancio hace todo más difícil. Tema {}."
    rows = [
        make_row([("user", f"{question} Day {number}."), ("assistant", reply.format(number))], split=row["metadata"]["split"])
        for number, row in enumerate(sample_rows())
    ]
    report = report_on(sample_release(tmp_path, rows))

    assert "language" in {check.name for check in report.failed}
