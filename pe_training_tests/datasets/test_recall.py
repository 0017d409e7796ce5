"""Looking for recalled rows in sealed shards, and recalls that meet a version accepted after them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.datasets import recalled as room
from pe_training.datasets import seal as sealing
from pe_training.datasets.accept import accept
from pe_training.datasets.gate import require_trainable
from pe_training.datasets.read import read_rows, verify_dataset
from pe_training.datasets.recall import Selector, holders
from pe_training.datasets.record import DatasetVersion
from pe_training.lineage.recall import recall, taints_of
from pe_training.storage.state import State
from pe_training_tests.datasets.samples import SUITES, fresh_state, sample_release, sample_rows
from pe_training_tests.lineage import recalling

WHO = {"actor": "ada", "reason": "a test"}


@pytest.fixture
def state(tmp_path: Path) -> State:
    return fresh_state(tmp_path / "home")


def test_a_row_is_looked_for_only_where_it_can_be(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "ROW_GROUP_ROWS", 1)
    dataset = recalling.accepted(state, tmp_path / "releases", "one")
    look, looks = room._possible, []

    def noted(group: Any, column: str, values: set[str]) -> set[str]:
        answer = look(group, column, values)
        looks.append((column, len(answer)))
        return answer

    monkeypatch.setattr(room, "_possible", noted)
    digest = read_rows(dataset, "test", state=state)[0].row_digest
    assert holders(Selector(kind="record", value=digest), state=state) == (dataset.id,)
    assert sum(answer for column, answer in looks if column == "row_digest") == 1
    assert len(looks) >= 5


def test_a_shard_without_the_column_of_source_keys_is_searched_and_verifies(state: State, tmp_path: Path) -> None:
    dataset = recalling.accepted(state, tmp_path / "releases", "one")
    older = tuple(without_column(state, shard) for shard in dataset.shards)
    old_state = fresh_state(tmp_path / "old")
    for shard in older:
        old_state.artifacts.put_bytes(state.artifacts.get(shard.digest))
    old = dataset.model_copy(update={"shards": older})
    old_state.registry.put(old)
    recalling.accepted(old_state, tmp_path / "again", "one")  # the release; its record is the one that is there
    assert old_state.registry.get(old.id, DatasetVersion).shards == older
    assert verify_dataset(old, state=old_state) == 5
    assert holders(Selector(kind="source_key", value=recalling.SHARED), state=old_state) == (old.id,)
    with pytest.raises(PeError):
        holders(Selector(kind="source_key", value="s3://nowhere"), state=old_state)


def test_a_damaged_shard_is_told_and_nothing_is_guessed(state: State, tmp_path: Path) -> None:
    dataset = recalling.accepted(state, tmp_path / "releases", "one")
    path = state.artifacts.local_path(dataset.shards[0].digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(PeError) as caught:
        holders(Selector(kind="source_key", value="s3://nowhere"), state=state)
    assert caught.value.kind == Kind.CORRUPT


def test_a_version_that_brings_recalled_rows_back_is_accepted_and_tainted(state: State, tmp_path: Path) -> None:
    rows = sample_rows()
    rows[0]["metadata"]["source_key"] = "s3://withdrawn/part.jsonl"
    first = accept(sample_release(tmp_path / "a", rows), suites=SUITES, state=state).sealed()
    recall(state, Selector(kind="source_key", value="s3://withdrawn/part.jsonl"), **WHO)
    rows[1]["metadata"]["quality_score"] = 0.7
    second = accept(sample_release(tmp_path / "b", rows, version="v1.1.0"), suites=SUITES, state=state).sealed()
    third = accept(sample_release(tmp_path / "c", rows[1:], version="v1.2.0"), suites=SUITES, state=state).sealed()
    assert [bool(taints_of(state, dataset.id)) for dataset in (first, second, third)] == [True, True, False]
    with pytest.raises(PeError, match="is recalled: recall 1 of source key"):
        require_trainable(second, state=state, route="test", subject="x")
    require_trainable(third, state=state, route="test", subject="x")


def test_a_record_forged_under_the_id_of_a_release_is_found_when_the_release_comes(state: State, tmp_path: Path) -> None:
    path = sample_release(tmp_path / "a")
    honest = accept(path, suites=SUITES, state=fresh_state(tmp_path / "elsewhere")).sealed()
    other = recalling.accepted(fresh_state(tmp_path / "third"), tmp_path / "releases", "one")
    shards = [shard.model_copy(update={"digest": state.artifacts.put_bytes(b"other rows"), "size_bytes": 10}) for shard in other.shards]
    state.registry.put(honest.model_copy(update={"shards": tuple(shards)}))
    with pytest.raises((PeError, OSError, ValueError)):
        accept(path, suites=SUITES, state=state)
    with pytest.raises(PeError, match="no accepted release"):
        require_trainable(honest, state=state, route="test", subject="x")


def without_column(state: State, shard: Any) -> Any:
    table = pq.read_table(io.BytesIO(state.artifacts.get(shard.digest))).drop_columns(["source_key"])
    sink = io.BytesIO()
    pq.write_table(table, sink)
    data = sink.getvalue()
    return shard.model_copy(update={"digest": state.artifacts.put_bytes(data), "size_bytes": len(data)})
