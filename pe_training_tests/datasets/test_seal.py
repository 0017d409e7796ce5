"""Sealing: the id and the bytes depend on the rows and on nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_bytes
from pe_training.datasets import seal as sealing
from pe_training.datasets.read import read_rows, read_training, verify_dataset
from pe_training.datasets.record import DatasetVersion, Shard
from pe_training.datasets.seal import root_of, seal
from pe_training.storage.state import State
from pe_training_tests.datasets.samples import NAME, fresh_state, read, sample_release, sample_rows
from pe_training_tests.releases import Format


def sealed(folder: Path, state: State, rows: list[dict[str, Any]] | None = None, **options: Any) -> DatasetVersion:
    return seal(read(sample_release(folder, rows, **options)).rows, name=NAME, store=state.artifacts)


@pytest.mark.parametrize("format", ["jsonl", "jsonl.gz", "parquet"])
def test_other_files_order_and_format_give_the_same_id_and_bytes(tmp_path: Path, format: Format) -> None:
    state = fresh_state(tmp_path / "home")
    rows = sample_rows()
    shuffled = rows[1::2] + rows[-2::-2]
    assert sealed(tmp_path / "a", state, shuffled, format=format, rows_per_shard=7) == sealed(tmp_path / "b", state)


@pytest.mark.parametrize("key", ["quality_score", "labels", "source_key"])
def test_any_change_of_a_row_gives_another_id(tmp_path: Path, key: str) -> None:
    state, rows = fresh_state(tmp_path / "home"), sample_rows()
    rows[3]["metadata"][key] = {"quality_score": 0.81, "labels": {"crisis": "elevated", "turn": 3}, "source_key": "other"}[key]
    assert sealed(tmp_path / "a", state, rows).id != sealed(tmp_path / "b", state).id


def test_another_name_is_another_dataset(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    rows = read(sample_release(tmp_path)).rows
    assert seal(rows, name="a", store=state.artifacts).id != seal(rows, name="b", store=state.artifacts).id


def test_the_record_counts_rows_families_and_licences(tmp_path: Path) -> None:
    rows = sample_rows()
    rows[0]["metadata"] |= {"source_family": "cptsd", "license_tag": "reddit_cc"}
    dataset = sealed(tmp_path, fresh_state(tmp_path / "home"), rows)
    assert {name: split.rows for name, split in dataset.splits.items()} == {"train": 22, "val": 2, "test": 2}
    assert dataset.families == {"cptsd": {"train": 1}, "professional_therapeutic": {"test": 2, "train": 21, "val": 2}}
    assert dataset.licenses == {"reddit_cc": 1, "synthetic": 25}
    assert [shard.path for shard in dataset.shards] == [f"data/{split}-00000.parquet" for split in ("train", "val", "test")]


def test_the_record_says_what_its_training_rows_are_and_old_versions_are_counted_from_their_shards(tmp_path: Path) -> None:
    state = fresh_state(tmp_path)
    dataset = sealed(tmp_path, state)
    rows = [row["metadata"] for row in sample_rows() if row["metadata"]["split"] == "train"]
    expected: dict[str, dict[str, dict[str, int]]] = {}
    for row in rows:
        licences = expected.setdefault(row["phase"], {}).setdefault(row["source_family"], {})
        licences[row["license_tag"]] = licences.get(row["license_tag"], 0) + 1
    assert rows
    assert dataset.training == expected
    before = dataset.model_copy(update={"training": None})
    assert "training" not in before.content()
    assert before.id == dataset.id
    assert read_training(before, state=state) == expected == read_training(dataset, state=state)
    assert verify_dataset(before, state=state) == dataset.rows


def test_shards_are_cut_at_a_fixed_size_and_read_back_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "MAX_SHARD_ROWS", 10)
    state = fresh_state(tmp_path / "home")
    dataset = sealed(tmp_path, state)
    assert [shard.rows for shard in dataset.shards] == [10, 10, 2, 2, 2]
    digests = [row.row_digest for row in read_rows(dataset, "train", state=state)]
    assert digests == sorted(digests)
    assert root_of(digests) == dataset.splits["train"].root
    assert verify_dataset(dataset, state=state) == 26


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    rows = read_rows(sealed(tmp_path, state), "val", state=state)
    expected = {row["messages"][1]["content"]: row for row in sample_rows()}
    assert len(rows) == 2
    for row in rows:
        source = expected[row.messages[1]["content"]]
        assert row.messages == source["messages"]
        assert (row.labels, row.group) == (source["metadata"]["labels"], source["metadata"]["group"])
        assert row.family == "professional_therapeutic"


def test_an_unknown_split_is_told_with_the_known_ones(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    with pytest.raises(PeError, match="has no split 'valid'") as caught:
        read_rows(sealed(tmp_path, state), "valid", state=state)
    assert caught.value.hint == "did you mean 'val'?"


def test_a_changed_shard_is_not_read(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    dataset = sealed(tmp_path, state)
    flip_a_byte(stored(state, dataset.shards[0]))
    for use in (lambda: read_rows(dataset, "train", state=state), lambda: verify_dataset(dataset, state=state)):
        with pytest.raises(PeError, match="does not match its digest") as caught:
            use()
        assert caught.value.kind == Kind.CORRUPT


def test_a_shard_that_was_rewritten_with_a_fitting_digest_is_found_by_its_rows(tmp_path: Path) -> None:
    import io

    import pyarrow.parquet as pq

    state = fresh_state(tmp_path / "home")
    dataset = sealed(tmp_path, state)
    shard = dataset.shards[1]
    wrong = {"messages": "a row does not match its digest"} | {
        name: f"column '{name}' does not follow" for name in ("family", "source_key")
    }
    for column, message in wrong.items():
        table = pq.read_table(io.BytesIO(state.artifacts.get(shard.digest)))
        values = table[column].to_pylist()
        values[0] = values[0][::-1]
        place = table.schema.get_field_index(column)
        sink = io.BytesIO()
        pq.write_table(table.set_column(place, table.schema.field(column), [values]), sink)
        data = sink.getvalue()
        forged = shard.model_copy(update={"digest": state.artifacts.put_bytes(data), "size_bytes": len(data)})
        with pytest.raises(PeError, match=message):
            verify_dataset(dataset.model_copy(update={"shards": (dataset.shards[0], forged, dataset.shards[2])}), state=state)


def test_a_record_whose_counts_do_not_follow_from_the_rows_is_found(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    dataset = sealed(tmp_path, state)
    val = dataset.splits["val"]
    wrong: dict[str, dict[str, Any]] = {
        "val has 2 rows, the record says 3": {"splits": dataset.splits | {"val": val.model_copy(update={"rows": 3})}},
        "the rows of val do not give its root": {"splits": dataset.splits | {"val": val.model_copy(update={"root": digest_bytes(b"")})}},
        "the families are not as recorded": {"families": {}},
        "the licences are not as recorded": {"licenses": {"synthetic": 25}},
        "the phases of training rows are not as recorded": {"training": {}},
        "val has 0 rows": {"shards": (dataset.shards[0], dataset.shards[2])},
        "a row lies in another split's file": {"shards": (dataset.shards[0].model_copy(update={"split": "val"}), *dataset.shards[1:])},
    }
    for message, update in wrong.items():
        with pytest.raises(PeError, match=message) as caught:
            verify_dataset(dataset.model_copy(update=update), state=state)
        assert caught.value.kind == Kind.CORRUPT


def stored(state: State, shard: Shard) -> Path:
    return state.artifacts.local_path(shard.digest)


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
