"""Two dataset versions differ by exactly the rows that were changed, and rows that changed their split are said first."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

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
Facts = tuple[int, str, str, int, str]  # talk, split, family, source key, a label's value
KINDS = ("same", "added", "removed", "changed", "reworded")
FAMILIES = ("professional_therapeutic", "cptsd")
facts = st.lists(
    st.tuples(
        st.integers(0, 4), st.sampled_from(["train", "val", "test"]), st.sampled_from(FAMILIES), st.integers(0, 3), st.sampled_from("xy")
    ),
    min_size=1,
    max_size=8,
)  # few values, so that rows, contents and keys repeat
fates = st.lists(st.sampled_from(["same", "removed", "changed", "reworded", "moved"]), min_size=26, max_size=26)


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


def test_two_copies_of_a_row_are_not_the_same_as_one(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    one, other = keyed()[:2]
    before, after = sealed(tmp_path / "a", [one, one, other], state), sealed(tmp_path / "b", [one, other, other], state)
    found = compare(before, after, state=state)
    assert (found.same, found.total("same"), found.total("added"), found.total("removed")) == (False, 2, 1, 1)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[State, Callable[[Rows], DatasetVersion]]:
    """A state, and what seals rows into it."""
    state = fresh_state(tmp_path_factory.mktemp("home"))

    def make(rows: Rows) -> DatasetVersion:
        with tempfile.TemporaryDirectory() as folder:
            return sealed(Path(folder), rows, state)

    return state, make


def rows_of(drawn: list[Facts]) -> Rows:
    return [
        make_row(talk(number), split=split, source_family=family, source_key=f"part/{key}", labels={"topic": topic})
        for number, split, family, key, topic in drawn
    ]


@settings(max_examples=15)
@given(facts)
def test_a_version_does_not_differ_from_itself(versions: tuple[State, Callable[[Rows], DatasetVersion]], drawn: list[Facts]) -> None:
    state, make = versions
    version = make(rows_of(drawn))
    found = compare(version, version, state=state)
    assert found.same
    assert [found.total(kind) for kind in KINDS] == [len(drawn), 0, 0, 0, 0]
    assert (found.moved, found.relicensed, found.labels) == ((), (), ())
    assert all(shift.before == shift.after for shift in found.lengths)


@settings(max_examples=25)
@given(facts, facts)
def test_every_row_counts_once_and_the_way_back_is_the_mirror_image(
    versions: tuple[State, Callable[[Rows], DatasetVersion]], old: list[Facts], new: list[Facts]
) -> None:
    state, make = versions
    before, after = make(rows_of(old)), make(rows_of(new))
    found, back = compare(before, after, state=state), compare(after, before, state=state)
    assert found.same == back.same == (Counter(old) == Counter(new))
    assert found.total("same") == (Counter(old) & Counter(new)).total()
    assert found.total("added") + sum(found.total(kind) for kind in ("same", "changed", "reworded")) == len(new)
    assert found.total("removed") + sum(found.total(kind) for kind in ("same", "changed", "reworded")) == len(old)
    assert [found.total(kind) for kind in KINDS] == [back.total(kind) for kind in ("same", "removed", "added", "changed", "reworded")]
    now = Counter((split, family) for _, split, family, _, _ in new)
    assert {(c.split, c.family): n for c in found.cells if (n := c.same + c.added + c.changed + c.reworded)} == now
    assert {(m.before, m.after, m.rows) for m in found.moved} == {(m.after, m.before, m.rows) for m in back.moved}
    assert {(s.name, s.before, s.after) for s in found.labels} == {(s.name, s.after, s.before) for s in back.labels}
    assert [(s.before, s.after) for s in found.lengths] == [(s.after, s.before) for s in back.lengths]


@settings(max_examples=20)
@given(fates, st.integers(0, 3))
def test_what_happened_to_each_row_is_what_is_counted(
    versions: tuple[State, Callable[[Rows], DatasetVersion]], happened: list[str], extra: int
) -> None:
    state, make = versions
    rows: Rows = [make_row(talk(200 + number), split="val", source_key=f"new/{number}") for number in range(extra)]
    for number, (row, fate) in enumerate(zip(keyed(), happened, strict=True)):
        meta = row["metadata"]
        if fate == "changed":
            meta["quality_score"] = 0.1
        elif fate == "moved":
            meta["split"] = {"train": "val", "val": "test", "test": "train"}[meta["split"]]
        reworded = make_row(talk(100 + number), split=meta["split"], source_key=meta["source_key"])
        if fate != "removed":
            rows.append(reworded if fate == "reworded" else row)
    assume(rows)  # a version has at least one
    fate_of = Counter(happened)
    found = compare(make(keyed()), make(rows), state=state)
    changed = fate_of["changed"] + fate_of["moved"]
    assert [found.total(kind) for kind in KINDS] == [fate_of["same"], extra, fate_of["removed"], changed, fate_of["reworded"]]
    assert sum(move.rows for move in found.moved) == fate_of["moved"]


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
