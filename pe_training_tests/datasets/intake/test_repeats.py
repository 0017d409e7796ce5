"""Of records that say the same one stays, where it is guarded most; every other is counted as dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pe_training.core.ids import digest_json
from pe_training.datasets.intake.convert import convert_source
from pe_training.datasets.intake.repeats import REPEATED
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
