"""Of records that say the same one stays, where it is guarded most, alone or with the labels of all; every other is counted as dropped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pe_training.core.ids import digest_json
from pe_training.datasets.intake.convert import convert_source
from pe_training.datasets.intake.repeats import INCOMPLETE, JOINED, REPEATED
from pe_training.datasets.release import read_head
from pe_training_tests.datasets.intake.shapes import source_of, write_lines


def turn(text: str, label: int, split: str) -> dict[str, Any]:
    return {"text": text, "label": label, "split": split}


RECORDS = [
    turn("How are you?", 0, "train"), turn("how are you? ", 1, "test"), turn("How are you?", 1, "test"), turn("So it hurts.", 1, "dev"),
    turn("So it hurts.", 0, "train"), turn("Call me.", 0, "train"), turn("Call me.", 0, "train"),
]  # fmt: skip


def test_of_equal_contents_one_stays_in_the_split_that_is_guarded_most(tmp_path: Path) -> None:
    write_lines(tmp_path / "notes.jsonl", RECORDS)
    source = source_of("labelled_text", split={"field": "split"}, repeats="drop")
    folder = convert_source(tmp_path, source, into=tmp_path / "home")
    rows = [json.loads(line) for path in folder.glob("*/*.jsonl") for line in path.read_text().splitlines()]
    kept = {(row["metadata"]["split"], row["messages"][0]["content"], row["metadata"]["labels"]["label"]) for row in rows}
    assert kept == {("test", "how are you? ", 1), ("val", "So it hurts.", 1), ("train", "Call me.", 0)}
    conversion = read_head(folder).manifest.conversion
    assert conversion
    assert (conversion.counts.read, conversion.counts.converted, conversion.counts.dropped) == (7, 3, {REPEATED: 4})


def test_without_being_told_every_record_stays_and_a_declaration_is_what_it_was(tmp_path: Path) -> None:
    write_lines(tmp_path / "notes.jsonl", RECORDS)
    source = source_of("labelled_text", split={"field": "split"})
    conversion = read_head(convert_source(tmp_path, source, into=tmp_path / "home")).manifest.conversion
    assert conversion
    assert conversion.counts.converted == 7
    assert "repeats" not in source.content()
    assert digest_json(source.content()) != digest_json(source_of("labelled_text", split={"field": "split"}, repeats="drop").content())


def of_two_files(folder: Path, warm: Sequence[dict[str, Any]], asks: Sequence[dict[str, Any]], *, incomplete: int) -> list[dict[str, Any]]:
    """The rows of a source whose files label the same texts for two things."""
    write_lines(folder / "warm.jsonl", warm)
    write_lines(folder / "asks.jsonl", asks)
    files = [{"path": "warm.jsonl", "label": "warmth"}, {"path": "asks.jsonl", "label": "question"}]
    source = source_of("labelled_text", files=files, split={"field": "split"}, repeats="join")
    converted = convert_source(folder, source, into=folder / "home")
    conversion = read_head(converted).manifest.conversion
    assert conversion
    dropped = len(warm) + len(asks) - conversion.counts.converted
    assert conversion.counts.dropped == {JOINED: dropped - incomplete, INCOMPLETE: incomplete}
    return [json.loads(line)["metadata"] for path in converted.glob("*/*.jsonl") for line in path.read_text().splitlines()]


def test_files_that_label_the_same_texts_become_rows_with_the_labels_of_all(tmp_path: Path) -> None:
    rows = of_two_files(
        tmp_path,
        [
            turn("How are you?", 2, "train"),
            turn("Call me.", 0, "train"),
            turn("So it hurts.", 1, "train"),
            turn("Call me.", 2, "train"),
            turn("So it hurts. ", 0, "train"),
        ],
        [turn("how are you? ", 1, "dev"), turn("So it hurts.", 0, "train"), turn("And then?", 1, "train")],
        incomplete=3,  # two calls, and what then
    )
    labels = {row["source_key"]: (row["split"], row["labels"]) for row in rows}
    assert labels == {
        "notes/warm.jsonl#1": ("val", {"warmth": 2, "question": 1}),  # where it is guarded most
        "notes/warm.jsonl#3": ("train", {"warmth": 1, "question": 0}),  # the first that was read
    }
    steps = {row["source_key"]: row["provenance"]["processing_steps"] for row in rows}
    assert steps["notes/warm.jsonl#3"] == ["convert: labelled_text", "labels joined from notes/asks.jsonl#2"]


def test_a_label_is_that_of_the_split_which_is_guarded_most_and_turns_are_not_mixed_up(tmp_path: Path) -> None:
    rows = of_two_files(
        tmp_path,
        [
            turn("I see.", 0, "train") | {"context": "Why?"},
            turn("Why?", 2, "train") | {"context": "I see."},
            turn("I see.", 1, "test") | {"context": "Why?"},
        ],
        [turn("I see.", 1, "train") | {"context": "Why?"}],
        incomplete=1,  # the same words by others
    )
    assert [(row["split"], row["labels"]) for row in rows] == [("test", {"warmth": 1, "question": 1})]


def test_joining_and_labels_by_file_are_for_labelled_texts() -> None:
    with pytest.raises(ValidationError, match="repeats: join is for the format labelled_text"):
        source_of("chat", repeats="join")
    with pytest.raises(ValidationError, match=r"files\.label is for the format labelled_text"):
        source_of("chat", files=[{"path": "a.jsonl", "label": "warmth"}])
    with pytest.raises(ValidationError, match=r"files\.label goes with repeats: join or keep"):
        source_of("labelled_text", files=[{"path": "a.jsonl", "label": "warmth"}], repeats="drop")
    plain = source_of("labelled_text").content()
    assert "label" not in plain["files"][0]  # a declaration written before is what it was
