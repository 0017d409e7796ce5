"""What a release is made of is counted exactly, and holds no word of its dialogues."""

from __future__ import annotations

from pathlib import Path

import pytest

from pe_training.datasets.makeup import BAR, MAX_VALUES, OTHERS, Makeup, makeup_of, without_words
from pe_training_tests.datasets.samples import CANARY, read, sample_release, sample_rows
from pe_training_tests.releases import make_row


def makeup(folder: Path, rows: list[dict[str, object]] | None = None) -> Makeup:
    return makeup_of(read(sample_release(folder, rows)).rows)


def test_rows_are_counted_by_family_licence_label_and_split(tmp_path: Path) -> None:
    rows = sample_rows()
    rows[0]["metadata"] |= {"source_family": "cptsd", "license_tag": "reddit_cc"}
    found = makeup(tmp_path, rows)
    assert found.families == {"cptsd": {"train": 1}, "professional_therapeutic": {"train": 21, "val": 2, "test": 2}}
    assert found.licences == {"reddit_cc": {"train": 1}, "synthetic": {"train": 21, "val": 2, "test": 2}}
    assert found.labels == {"crisis": {"routine": {"train": 22, "val": 2, "test": 2}}}
    assert found.labels_left_out == 0


def test_lengths_are_exact_and_every_row_is_in_one_bin(tmp_path: Path) -> None:
    rows = [make_row([("user", "word " * words), ("assistant", "so")], split="train") for words in (0, 1, 2, 6, 30)]
    rows += [make_row([("user", f"{at}"), ("assistant", "b")] * at, split="test") for at in (1, 2, 30)]
    found = makeup(tmp_path, rows)
    assert (found.words["train"].mean, found.words["train"].quartiles) == (8.8, (2.0, 3.0, 7.0))
    assert [(each.label, each.rows) for each in found.words["train"].bins] == [
        ("1", 1),
        ("2 to 3", 2),
        ("4 to 7", 1),
        ("8 to 15", 0),
        ("16 to 31", 1),
        ("32 to 63", 0),  # of the test split
    ]
    assert [each.label for each in found.words["test"].bins] == [each.label for each in found.words["train"].bins]
    turns = found.turns["test"].bins
    assert (turns[0].label, turns[-1].label, len(turns)) == ("2", "20 or more", 19)
    assert {each.label: each.rows for each in turns if each.rows} == {"2": 1, "4": 1, "20 or more": 1}


def test_no_word_of_a_dialogue_and_no_value_that_may_be_one_is_kept(tmp_path: Path) -> None:
    rows = sample_rows()
    for number, row in enumerate(rows):
        row["metadata"]["labels"] = {"note": f"I am {CANARY} {number % 3}", f"a {CANARY}": "x", "topic": "grief"}
        row["metadata"]["source_family"] = f"family of {CANARY}"
    found = makeup(tmp_path, rows)
    assert CANARY not in found.model_dump_json()
    assert list(found.families) == ["(not a name)"]
    assert found.labels["note"] == {"(not a name)": {"train": 22, "val": 2, "test": 2}}
    assert found.labels_left_out == 1
    assert all(turn.shown and not any(letter.isalnum() for letter in turn.shown) for row in found.examples for turn in row.turns)


def test_rare_values_are_pooled(tmp_path: Path) -> None:
    rows = sample_rows()
    for number, row in enumerate(rows):
        row["metadata"]["labels"] = {"topic": f"t{min(number, 20)}"}
    values = makeup(tmp_path, rows).labels["topic"]
    assert len(values) == MAX_VALUES + 1
    assert sum(sum(of.values()) for of in values.values()) == 26
    assert sum(values[OTHERS].values()) == 26 - 6 - (MAX_VALUES - 1)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("I can't, ok?\nCall 988.", f"{BAR} {BAR}'{BAR}, {BAR}?\n{BAR} {BAR}."),
        ("\u00e9t\u00e9 \u4f60\u597d _x_", f"{BAR} {BAR} {BAR}"),
        ("", ""),
        ("a " * 300, f"{BAR} " * 200 + " ..."),
    ],
)
def test_words_become_bars_and_lines_stay(text: str, shown: str) -> None:
    assert without_words(text) == shown


def test_the_same_rows_in_other_files_give_the_same_examples(tmp_path: Path) -> None:
    one, other = makeup(tmp_path / "a"), makeup_of(read(sample_release(tmp_path / "b", sample_rows()[::-1], rows_per_shard=4)).rows)
    assert [row.row_digest for row in one.examples] == [row.row_digest for row in other.examples]
    assert one.model_copy(update={"examples": ()}) == other.model_copy(update={"examples": ()})


def test_a_release_without_rows_has_an_empty_makeup(tmp_path: Path) -> None:
    found = makeup(tmp_path, [])
    assert (found.families, found.words, found.examples) == ({}, {}, ())
