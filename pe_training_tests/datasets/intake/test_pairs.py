"""Preference pairs: the rejected answer is part of the row, of its digest, of the checks and of the sealed shards."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from pe_training.core.errors import PeError
from pe_training.datasets.read import read_rows, verify_dataset
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.rows import Row, row_digest
from pe_training.datasets.seal import seal
from pe_training.storage.state import State
from pe_training_tests.datasets.samples import CANARY, NAME, fresh_state, read, report_on, sample_release, sample_rows
from pe_training_tests.datasets.test_checks import require_refused

WORSE = f"Everybody is nervous before exams. {CANARY}"
FIRST = "train/part-00000.jsonl:1"


def pairs(first: Any = None) -> list[dict[str, Any]]:
    """The sample rows as pairs; ``first`` is the rejected side of the first."""
    rows = [row | {"rejected": [{"role": "assistant", "content": f"{WORSE} {number}"}]} for number, row in enumerate(sample_rows())]
    for row in rows:
        row["metadata"] |= {"purpose": "preference"}
    if first is not None:
        rows[0]["rejected"] = first
    return rows


def answer(content: str, role: str = "assistant") -> dict[str, str]:
    return {"role": role, "content": content}


def test_pairs_pass_every_check(tmp_path: Path) -> None:
    assert report_on(sample_release(tmp_path, pairs())).accepted


CHOSEN = sample_rows()[0]["messages"][-1]["content"]
WRONG = {
    "no rejected answer": [],
    "two rejected answers": [answer(WORSE), answer(WORSE + " Really.")],
    "a blank one": [answer(" \n")],
    "a client's turn": [answer(WORSE, role="user")],
    "the chosen one again": [answer(CHOSEN)],
    "the chosen one again but for blanks": [answer(f"  {CHOSEN}\n")],
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_pair_that_shows_no_preference_fails_the_order_of_roles(tmp_path: Path, fault: str) -> None:
    require_refused(report_on(sample_release(tmp_path, pairs(WRONG[fault]))), {"role_order"}, FIRST, "messages")


def test_a_pair_must_say_that_it_is_one_and_nothing_else_may(tmp_path: Path) -> None:
    rows = pairs()
    del rows[0]["metadata"]["purpose"]
    require_refused(report_on(sample_release(tmp_path / "a", rows)), {"role_order", "one_purpose"}, FIRST, "messages")
    rows = pairs()
    del rows[0]["rejected"]
    require_refused(report_on(sample_release(tmp_path / "b", rows)), {"role_order"}, FIRST, "messages")


def test_personal_data_in_a_rejected_answer_is_found(tmp_path: Path) -> None:
    rows = pairs([answer("Write to jane.miller@example.com instead.")])
    require_refused(report_on(sample_release(tmp_path, rows)), {"personal_data"}, FIRST, "messages")


def test_the_row_digest_sees_the_rejected_answer() -> None:
    rows = [Row.model_validate_json(Row.model_validate(row, strict=False).model_dump_json()) for row in (sample_rows()[0], *pairs()[:1])]
    other = rows[1].model_copy(update={"rejected": (rows[1].messages[-1],)})
    assert len({row_digest(row) for row in (*rows, other)}) == 3


def sealed(folder: Path, state: State, rows: list[dict[str, Any]]) -> DatasetVersion:
    return seal(read(sample_release(folder, rows)).rows, name=NAME, store=state.artifacts)


def test_pairs_are_sealed_verified_and_read_like_other_rows(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    dataset = sealed(tmp_path, state, pairs())
    assert verify_dataset(dataset, state=state) == 26
    read = read_rows(dataset, "train", state=state)
    assert [len(row.rejected or ()) for row in read] == [1] * 22
    assert all(row.rejected[0]["content"].startswith(WORSE) for row in read if row.rejected)
    changed = pairs([answer("Another one.")])
    assert sealed(tmp_path / "other", state, changed).id != dataset.id


def rewritten(dataset: DatasetVersion, state: State, change: Any) -> DatasetVersion:
    """The same record with the first shard's table changed."""
    import pyarrow.parquet as pq

    shard = dataset.shards[0]
    sink = io.BytesIO()
    pq.write_table(change(pq.read_table(io.BytesIO(state.artifacts.get(shard.digest)))), sink)
    data = sink.getvalue()
    forged = shard.model_copy(update={"digest": state.artifacts.put_bytes(data), "size_bytes": len(data)})
    return dataset.model_copy(update={"shards": (forged, *dataset.shards[1:])})


def test_shards_from_before_there_were_pairs_still_verify(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    older = rewritten(sealed(tmp_path, state, sample_rows()), state, lambda table: table.drop_columns(["rejected"]))
    assert verify_dataset(older, state=state) == 26
    assert [row.rejected for row in read_rows(older, "train", state=state)] == [None] * 22


def test_a_shard_whose_rejected_answers_were_taken_away_or_exchanged_is_found(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    dataset = sealed(tmp_path, state, pairs())

    def turned(table: Any) -> Any:
        at = table.schema.get_field_index("rejected")
        return table.set_column(at, table.schema.field("rejected"), [table["rejected"].to_pylist()[::-1]])

    for change in (lambda table: table.drop_columns(["rejected"]), turned):
        with pytest.raises(PeError, match="a row does not match its digest"):
            verify_dataset(rewritten(dataset, state, change), state=state)
