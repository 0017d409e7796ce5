"""The registry: write-once facts, links by index, and nothing believed that was changed behind its back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import KINDS, short
from pe_training.storage.registry import Registry
from pe_training_tests.storage.things import PAGE, RESTORE, Thing, refused


def test_a_record_is_found_by_id_beginning_answer_label_and_kind(registry: Registry) -> None:
    thing = Thing(number=1, question="q", pages=(PAGE,))
    registry.put(thing)
    registry.put(thing)
    assert registry.get(thing.id, Thing) == registry.answer("q", Thing) == registry.latest(Thing, label="odd") == thing
    assert [row.id for row in registry.rows("ck")] == [thing.id]
    assert registry.attachments(thing.id) == [PAGE]
    assert registry.body(thing.id) == thing.to_json()


def test_what_is_not_there_is_none_or_named(registry: Registry) -> None:
    missing = Thing(number=1).id
    assert registry.find(missing, Thing) is registry.answer("q", Thing) is registry.latest(Thing, label="odd") is None
    assert registry.rows("ck") == []
    assert registry.parents(missing) == {}
    assert registry.children(missing) == registry.attachments(missing) == []
    line = f"no checkpoint {short(missing)} (`pe ls ck` lists those there are)"
    assert refused(lambda: registry.get(missing, Thing)) == (Kind.NOT_FOUND, line)
    assert refused(lambda: registry.body(missing)) == (Kind.NOT_FOUND, f"no record {short(missing)} (`pe ls` lists the kinds)")
    kind, line = refused(lambda: registry.the_answer("q", Thing))
    assert (kind, line) == (
        Kind.INFRASTRUCTURE,
        "q: the work ended well and left no checkpoint for the question that was asked "
        "(was the code changed meanwhile? run the same command again)",
    )


@pytest.mark.parametrize("kind", ["cck", "", "records"])
def test_a_kind_that_does_not_exist_is_refused(registry: Registry, kind: str) -> None:
    assert refused(lambda: registry.rows(kind))[0] is Kind.INPUT


def test_a_question_has_one_answer_for_ever(registry: Registry) -> None:
    first, second = Thing(number=1, question="q"), Thing(number=2, question="q")
    registry.put(first)
    assert refused(lambda: registry.put(second)) == (
        Kind.CONFLICT,
        f"{first.id}: {short(first.id)} already answers this question; {short(second.id)} differs and is not kept "
        "(answers are write-once: change the inputs to ask a new question)",
    )
    assert registry.answer("q", Thing) == first
    assert len(registry.rows("ck")) == 1


def test_links_are_walked_both_ways(registry: Registry) -> None:
    first = Thing(number=1)
    made = [Thing(number=number, parent=first.id) for number in (2, 3)]
    registry.put(first)
    for thing in made:
        registry.put(thing)
    assert [registry.parents(thing.id) for thing in made] == [{"from": first.id}] * 2
    assert registry.children(first.id) == sorted(("from", thing.id) for thing in made)
    assert registry.children(first.id, limit=1) == registry.children(first.id)[:1]
    assert registry.parents(first.id) == {}


def test_pages_follow_each_other_without_gap(registry: Registry) -> None:
    for number in range(7):
        registry.put(Thing(number=number))
    pages, before = [], None
    while page := registry.rows("ck", limit=3, before=before):
        pages.append([row.seq for row in page])
        before = page[-1].seq
    assert pages == [[7, 6, 5], [4, 3, 2], [1]]
    assert [row.seq for row in registry.rows("ck", label="odd")] == [6, 4, 2]
    assert registry.latest(Thing, label="odd") == Thing(number=5)


def test_a_beginning_stands_for_the_one_id_that_it_begins(registry: Registry) -> None:
    things = [Thing(number=number) for number in range(17)]  # of seventeen ids, two share their first digit
    for thing in things:
        registry.put(thing)
    for thing in things:
        assert registry.resolve(thing.id) == thing.id
        assert registry.resolve(short(thing.id)) == thing.id
    shared = next(text for text in {thing.id[:4] for thing in things} if sum(thing.id.startswith(text) for thing in things) > 1)
    found = sorted(thing.id for thing in things if thing.id.startswith(shared))[:3]
    line = f"{shared} stands for several ids (give more digits: {', '.join(map(short, found))} ...)"
    assert refused(lambda: registry.resolve(shared)) == (Kind.INPUT, line)


@pytest.mark.parametrize(
    ("text", "kind", "error"),
    [
        ("ck_zz", Kind.NOT_FOUND, "no checkpoint ck_zz (`pe ls ck` lists those there are)"),
        ("ev_", Kind.NOT_FOUND, "no evaluation report ev_ (`pe ls ev` lists those there are)"),
        ("what", Kind.INPUT, "'what' is not an id (ids begin with ds_, mf_, run_, ck_, im_, jc_, ev_, pd_)"),
        ("ck", Kind.INPUT, "'ck' is not an id (ids begin with ds_, mf_, run_, ck_, im_, jc_, ev_, pd_)"),
        ("zz_1", Kind.INPUT, "'zz_1' is not an id (ids begin with ds_, mf_, run_, ck_, im_, jc_, ev_, pd_)"),
        ("", Kind.INPUT, "'' is not an id (ids begin with ds_, mf_, run_, ck_, im_, jc_, ev_, pd_)"),
    ],
)
def test_a_beginning_that_names_nothing_is_refused(registry: Registry, text: str, kind: Kind, error: str) -> None:
    registry.put(Thing(number=1))
    assert refused(lambda: registry.resolve(text)) == (kind, error)


@given(st.text() | st.tuples(st.sampled_from(sorted(KINDS)), st.text(st.characters())).map("_".join))
@example("ck_\U0010ffff")
@example("ck_\ud7ff")
@example("ck_\0")
@example("ck_%")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_an_id_or_one_of_our_errors(registry: Registry, text: str) -> None:
    registry.put(Thing(number=1))
    try:
        assert registry.resolve(text).startswith(text)
    except PeError as error:
        assert error.kind in {Kind.INPUT, Kind.NOT_FOUND}  # noqa: PT017 (either outcome is right)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE records SET body = replace(body, '7', '8')", "{id} does not match its content"),
        ("UPDATE records SET body = replace(body, 'number', 'numbre')", "{short} is stored as something that is no checkpoint"),
        ("UPDATE records SET body = substr(body, 1, 9)", "{short} is stored as something that is no checkpoint"),
        ("UPDATE records SET body = ''", "{short} is stored as something that is no checkpoint"),
        ("UPDATE records SET body = replace(body, '7', 'NaN')", "{short} is stored as something that is no checkpoint"),
    ],
)
def test_a_record_that_was_changed_in_the_database_is_not_believed(registry: Registry, tmp_path: Path, change: str, message: str) -> None:
    thing = Thing(number=7, question="q")
    registry.put(thing)
    tamper(tmp_path, change)
    expected = (Kind.CORRUPT, f"{thing.id}: {message.format(id=thing.id, short=short(thing.id))} ({RESTORE})")
    for load in (lambda: registry.get(thing.id, Thing), lambda: registry.answer("q", Thing), lambda: registry.latest(Thing, label="odd")):
        assert refused(load) == expected


def test_a_record_that_was_given_another_name_is_not_believed(registry: Registry, tmp_path: Path) -> None:
    thing, other = Thing(number=1), Thing(number=2)
    registry.put(thing)
    tamper(tmp_path, "UPDATE records SET id = ?", other.id)
    assert refused(lambda: registry.get(other.id, Thing)) == (
        Kind.CORRUPT,
        f"{other.id}: {other.id} does not match its content ({RESTORE})",
    )


def test_an_answer_that_was_moved_to_another_question_is_not_believed(registry: Registry, tmp_path: Path) -> None:
    thing = Thing(number=1, question="asked of a good model")
    registry.put(thing)
    tamper(tmp_path, "UPDATE records SET key = 'asked of a bad model'")
    assert refused(lambda: registry.answer("asked of a bad model", Thing)) == (
        Kind.CORRUPT,
        f"{thing.id}: {short(thing.id)} is filed under a question that it does not answer ({RESTORE})",
    )


def tamper(folder: Path, statement: str, *values: str) -> None:
    """Change the database behind the registry's back."""
    connection = sqlite3.connect(folder / "r.sqlite")
    with connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


def test_a_file_of_a_record_is_write_once(registry: Registry) -> None:
    thing = Thing(number=1)
    registry.put(thing)
    with registry.writing() as connection:
        registry.attach_in(connection, thing.id, PAGE)
        registry.attach_in(connection, thing.id, PAGE)

    def replace() -> None:
        with registry.writing() as connection:
            registry.attach_in(connection, thing.id, PAGE.model_copy(update={"path": "other"}))
            registry.attach_in(connection, thing.id, PAGE.model_copy(update={"digest": "sha256:" + "1" * 64}))

    line = f"{short(thing.id)} already has another file 'page' (attachments are write-once)"
    assert refused(replace) == (Kind.CONFLICT, line)
    assert registry.attachments(thing.id) == [PAGE]  # nothing of the refused transaction stayed


def test_a_transaction_that_fails_leaves_nothing(registry: Registry) -> None:
    thing = Thing(number=1, parent="ck_0", pages=(PAGE,))

    def fail() -> None:
        with registry.writing() as connection:
            registry.put_in(connection, thing)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert registry.find(thing.id, Thing) is None
    assert registry.parents(thing.id) == {}
    assert registry.attachments(thing.id) == []


def test_a_record_that_would_not_come_back_is_not_stored(registry: Registry) -> None:
    class Forgetful(Thing):
        @classmethod
        def from_json(cls, text: str) -> Forgetful:
            return Forgetful(number=0)

    with pytest.raises(AssertionError, match="would not come back"):
        registry.put(Forgetful(number=1))
