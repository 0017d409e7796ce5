"""A version is named by its rows: no way of writing them down changes the id, and no change of what they say keeps it."""

from __future__ import annotations

import copy
import gzip
import json
import random
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pe_training.datasets.seal import seal
from pe_training.storage.state import State
from pe_training_tests.datasets.samples import NAME, fresh_state, read, sample_release, sample_rows
from pe_training_tests.releases import Format

Rows = list[dict[str, Any]]


def version_id(rows: Rows, **options: Any) -> str:
    with tempfile.TemporaryDirectory() as name:
        return _sealed(sample_release(Path(name), rows, **options), Path(name))


def _sealed(release: Path, folder: Path) -> str:
    state: State = fresh_state(folder / "home")
    return seal(read(release).rows, name=NAME, store=state.artifacts).id


PLAIN = version_id(sample_rows())


def turned(value: Any, of: random.Random) -> Any:
    """The same JSON with its keys in another order."""
    if isinstance(value, dict):
        items = [(key, turned(item, of)) for key, item in value.items()]
        of.shuffle(items)
        return dict(items)
    return [turned(item, of) for item in value] if isinstance(value, list) else value


@given(of=st.randoms(use_true_random=False), format=st.sampled_from(["jsonl", "jsonl.gz", "parquet"]), rows_per_shard=st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_the_order_of_rows_and_keys_files_and_formats_keep_the_id(of: random.Random, format: Format, rows_per_shard: int) -> None:
    rows = [turned(row, of) for row in sample_rows()]
    of.shuffle(rows)
    assert version_id(rows, format=format, rows_per_shard=rows_per_shard) == PLAIN


@given(
    level=st.integers(0, 9),
    escaped=st.sampled_from([True, False]),
    indented=st.sampled_from([" ", ""]),
    crlf=st.sampled_from(["\n", "\r\n"]),
)
@settings(max_examples=20, deadline=None)
def test_compression_escapes_blanks_and_line_ends_keep_the_id(level: int, escaped: bool, indented: str, crlf: str) -> None:
    rows = sample_rows()
    rows[0]["messages"][1]["content"] += " café 🙂"
    with tempfile.TemporaryDirectory() as name:
        folder = sample_release(Path(name), rows, format="jsonl.gz")
        for split in ("train", "val", "test"):
            chosen = [row for row in rows if row["metadata"]["split"] == split]
            lines = [json.dumps(row, ensure_ascii=escaped, separators=(f",{indented}", f":{indented}")) + crlf for row in chosen]
            (folder / split / "part-00000.jsonl.gz").write_bytes(gzip.compress("".join(lines).encode(), level))
        assert _sealed(folder, Path(name)) == version_id(rows)


def change(rows: Rows, row: int, turn: int, what: str, at: int) -> Rows:
    """One small change, after which the rows still are rows."""
    changed = copy.deepcopy(rows)
    messages = changed[row]["messages"]
    if what == "character":
        text = messages[turn]["content"]
        at %= len(text)
        messages[turn]["content"] = text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :]
    elif what == "role":
        messages[turn]["role"] = {"system": "user", "user": "assistant", "assistant": "user"}[messages[turn]["role"]]
    elif what == "order":
        messages[turn], messages[turn - 1] = messages[turn - 1], messages[turn]
    elif what == "split":
        changed[row]["metadata"]["split"] = {"train": "val", "val": "test", "test": "train"}[changed[row]["metadata"]["split"]]
    elif what == "case":
        messages[turn]["content"] = messages[turn]["content"].swapcase()
    else:
        assert what == "left out"
        del changed[row]
    return changed


@given(
    row=st.integers(0, 25), turn=st.integers(0, 2), at=st.integers(0, 500),
    what=st.sampled_from(["character", "role", "order", "split", "case", "left out"]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_one_character_role_place_or_row_changes_the_id(row: int, turn: int, what: str, at: int) -> None:
    assert version_id(change(sample_rows(), row, turn, what, at)) != PLAIN


def test_a_row_twice_is_not_a_row_once() -> None:
    rows = sample_rows()
    assert version_id([*rows, rows[0]]) != PLAIN
