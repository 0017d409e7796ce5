"""Two dataset versions differ by exactly the rows that were changed, and rows that changed their split are said first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.accept import named_version
from pe_training.datasets.diff import Cell, DatasetDiff, Move, compare
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.seal import seal
from pe_training.storage.state import State
from pe_training.views.dataset_diff import diff_view, summary
from pe_training_tests.datasets.samples import CANARY, NAME, fresh_state, read, sample_release, sample_rows, talk
from pe_training_tests.releases import make_row
from pe_training_tests.views.test_console import shown as text_of

Rows = list[dict[str, Any]]


def sealed(folder: Path, rows: Rows, state: State) -> DatasetVersion:
    return seal(read(sample_release(folder, rows)).rows, name=NAME, store=state.artifacts)


def keyed() -> Rows:
    """The sample rows, each with a source key of its own."""
    rows = sample_rows()
    for number, row in enumerate(rows):
        row["metadata"]["source_key"] = f"part/{number}"
    return rows


@pytest.fixture
def against(tmp_path: Path) -> Callable[[Rows], DatasetDiff]:
    state = fresh_state(tmp_path / "home")
    before = sealed(tmp_path / "a", keyed(), state)
    return lambda rows: compare(before, sealed(tmp_path / "b", rows, state), state=state)


def test_the_same_rows_in_another_order_do_not_differ(against: Callable[[Rows], DatasetDiff]) -> None:
    found = against(keyed()[::-1])
    assert (found.same, found.total("same"), found.total("changed"), found.moved) == (True, 26, 0, ())
    assert summary(found) == "the same 26 rows in the same splits"


def test_every_kind_of_change_is_counted_where_it_is(against: Callable[[Rows], DatasetDiff]) -> None:
    rows = keyed()
    del rows[1]  # removed
    rows.append(make_row(talk(77), split="val", source_key="part/77", source_family="cptsd"))  # added
    rows[2]["metadata"]["quality_score"] = 0.1  # changed
    rows[3] = make_row(talk(99), split="train", source_key=rows[3]["metadata"]["source_key"])  # reworded
    found = against(rows)
    assert not found.same
    assert found.cells == (
        Cell(split="test", family="professional_therapeutic", same=2),
        Cell(split="train", family="professional_therapeutic", same=19, removed=1, changed=1, reworded=1),
        Cell(split="val", family="cptsd", added=1),
        Cell(split="val", family="professional_therapeutic", same=2),
    )
    assert summary(found) == "they differ: 1 added, 1 removed, 1 changed, 1 reworded, 23 the same; 0 moved to another split"


def test_rows_that_left_training_for_the_test_are_said_first_and_what_it_means(against: Callable[[Rows], DatasetDiff]) -> None:
    rows = keyed()
    rows[24]["metadata"]["split"] = "train"
    for row in rows[:2]:
        row["metadata"]["split"] = "test"
    found = against(rows)
    assert found.moved == (Move(before="train", after="test", rows=2), Move(before="test", after="train", rows=1))
    shown = text_of(diff_view(found))
    assert "ROWS MOVED BETWEEN SPLITS" in shown
    assert "2 rows went from train to test: a model trained on the version before has seen them" in shown
    assert CANARY not in shown


def test_licences_labels_and_lengths_are_compared(against: Callable[[Rows], DatasetDiff]) -> None:
    rows = keyed()
    rows[0]["metadata"]["license_tag"] = "public_domain"
    for row in rows[:13]:
        row["metadata"]["labels"]["crisis"] = "elevated"
    rows[5] = make_row([("user", "word " * 300), ("assistant", "so")], split="train", source_key="part/5")
    found = against(rows)
    assert found.relicensed == (Move(before="synthetic", after="public_domain", rows=1),)
    assert {shift.name: (shift.before, shift.after) for shift in found.labels} == {
        "crisis = elevated": (0.0, 48.0),
        "crisis = routine": (100.0, 52.0),
    }
    assert [shift.name for shift in found.lengths] == ["mean words a dialogue", "mean turns a dialogue"]
    assert found.lengths[0].after is not None
    assert found.lengths[0].before is not None
    assert found.lengths[0].after > found.lengths[0].before + 10
    assert found.lengths[1].before == found.lengths[1].after == 2


def test_of_several_rows_with_one_source_key_none_is_guessed(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    rows = sample_rows()  # all of one key
    before = sealed(tmp_path / "a", rows, state)
    rows[0], rows[1] = make_row(talk(70), split="train"), make_row(talk(71), split="train")
    found = compare(before, sealed(tmp_path / "b", rows, state), state=state)
    assert (found.total("added"), found.total("removed"), found.total("reworded")) == (2, 2, 0)


def test_free_text_in_labels_is_not_shown(against: Callable[[Rows], DatasetDiff]) -> None:
    rows = keyed()
    rows[0]["metadata"]["labels"] = {"note": f"I am {CANARY}"}
    assert CANARY not in against(rows).model_dump_json()


def test_a_damaged_shard_is_not_compared(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    before = sealed(tmp_path / "a", keyed(), state)
    state.artifacts.local_path(before.shards[0].digest).chmod(0o644)
    path = state.artifacts.local_path(before.shards[0].digest)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(PeError) as caught:
        compare(before, before, state=state)
    assert caught.value.kind == Kind.CORRUPT


def test_an_unknown_version_is_one_error_with_the_known_ones(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    with pytest.raises(PeError, match="no accepted version of dataset 'nobody'"):
        named_version(state, "nobody@v1")
    with pytest.raises(PeError, match="no dataset version ds_00"):
        named_version(state, "ds_00")
