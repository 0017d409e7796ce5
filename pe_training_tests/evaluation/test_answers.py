"""Kept answers: what damages, doubles and outlives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pe_training.core.ids import canonical_json
from pe_training.evaluation.answers import AnswerBook
from pe_training.evaluation.identity import ModelIdentity
from pe_training.settings import Settings
from pe_training.storage import tables as t
from pe_training.storage.state import State
from pe_training_tests.postgres_server import PostgresServer, beside

MODEL = ModelIdentity(subject="sha256:s", digest="sha256:m")


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(Settings(home=tmp_path))


def book(state: State, model: ModelIdentity = MODEL) -> AnswerBook:
    return AnswerBook(model, state)


def files(state: State) -> list[Path]:
    return sorted(path for path in (state.settings.root / "artifacts").rglob("*") if path.is_file())


def named(count: int, of: AnswerBook) -> dict[str, Any]:
    return {of.key({"number": number}): f"reply {number}" for number in range(count)}


def test_answers_come_back_as_they_were(state: State) -> None:
    here = book(state)
    answers = {here.key({"n": 1}): "Hi \u2603", here.key({"n": 2}): 0.1 + 0.2, here.key({"n": 3}): "", here.key({"n": 4}): 1e-300}
    here.keep(answers)
    assert book(state).known([*answers, here.key({"n": 5})]) == answers
    assert here.known([]) == {}


def test_more_answers_than_one_statement_takes(state: State) -> None:
    many = named(1_203, book(state))
    book(state).keep(many)
    assert book(state).known(list(many)) == many
    assert len(files(state)) == 1


def test_another_model_or_another_question_is_another_key() -> None:
    one = AnswerBook(MODEL, None)  # type: ignore[arg-type]
    other = AnswerBook(ModelIdentity(subject="sha256:s", digest="sha256:other"), None)  # type: ignore[arg-type]
    assert len({one.key({"n": 1}), one.key({"n": 2}), other.key({"n": 1})}) == 3


@pytest.mark.parametrize("damage", ["flipped", "torn", "gone", "emptied"])
def test_a_damaged_file_of_answers_is_forgotten_and_kept_anew(state: State, damage: str) -> None:
    answers, others = named(3, book(state)), {book(state).key({"of": "another batch"}): "x"}
    book(state).keep(answers)
    (path,) = files(state)
    book(state).keep(others)
    data = path.read_bytes()
    path.chmod(0o644)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"flipped": data[:9] + bytes([data[9] ^ 1]) + data[10:], "torn": data[:-7], "emptied": b""}[damage])
    assert book(state).known([*answers, *others]) == others
    assert not path.exists()
    book(state).keep(answers)
    assert path.read_bytes() == data
    assert book(state).known([*answers, *others]) == answers | others


def test_a_file_that_does_not_hold_what_the_registry_says_is_forgotten(state: State) -> None:
    answers = named(2, book(state))
    book(state).keep(answers)
    stray = {"question": book(state).key({"n": "stray"}), "subject": MODEL.subject, "model": MODEL.digest}
    with state.registry.writing() as connection:
        digest = connection.execute(sa.select(t.answers.c.digest)).scalars().first()
        connection.execute(sa.insert(t.answers).values(**stray, digest=digest))
    assert book(state).known([*answers, stray["question"]]) == {}
    assert files(state) == []


def test_two_processes_that_answer_the_same_leave_one_answer_and_no_file_without_one(state: State) -> None:
    first, second = named(3, book(state)), named(3, book(state))
    book(state).keep(first)
    book(state).keep({key: f"{value}, later" for key, value in second.items()})
    assert book(state).known(list(first)) == first
    assert len(files(state)) == 1
    more = named(5, book(state))
    book(state).keep(more)  # some of it is new
    assert book(state).known(list(more)) == more
    assert len(files(state)) == 2


def test_a_kill_between_bytes_and_facts_leaves_a_file_that_the_same_batch_takes_as_its_own(state: State) -> None:
    answers = named(3, book(state))
    state.artifacts.put_bytes(canonical_json(answers))
    assert book(state).known(list(answers)) == {}
    book(state).keep(answers)
    assert len(files(state)) == 1


def test_what_older_code_answered_for_the_same_model_goes_and_that_of_other_models_stays(state: State) -> None:
    older = book(state, ModelIdentity(subject=MODEL.subject, digest="sha256:older"))
    other = book(state, ModelIdentity(subject="sha256:another", digest="sha256:another"))
    of_older, of_other, of_newer = named(3, older), named(4, other), named(2, book(state))
    older.keep(of_older)
    other.keep(of_other)
    book(state).keep(of_newer)
    assert older.known(list(of_older)) == {}
    assert other.known(list(of_other)) == of_other
    assert book(state).known(list(of_newer)) == of_newer
    assert len(files(state)) == 2


def test_bytes_that_a_record_also_holds_stay(state: State) -> None:
    answers = named(2, book(state))
    book(state).keep(answers)
    with state.registry.writing() as connection:
        digest = connection.execute(sa.select(t.answers.c.digest)).scalars().first()
        connection.execute(sa.insert(t.attachments).values(record_id="ev_1", path="x", digest=digest, size_bytes=1))
    newer = book(state, ModelIdentity(subject=MODEL.subject, digest="sha256:newer"))
    newer.keep(named(1, newer))
    assert book(state).known(list(answers)) == {}
    assert len(files(state)) == 2


@pytest.mark.slow
def test_on_a_shared_database_two_machines_that_answer_the_same_at_once_leave_one_answer(postgres: PostgresServer, tmp_path: Path) -> None:
    state = State(Settings(home=tmp_path, database_url=postgres.new_database(tmp_path.name)))
    first = named(3, book(state))
    second = {key: f"{value}, later" for key, value in first.items()}
    assert book(state).known(list(first)) == {}  # the database is open
    assert beside(postgres, lambda: book(state).keep(first), lambda: book(state).keep(second)) == (None, None)
    assert book(state).known(list(first)) in (first, second)
    assert len(files(state)) == 1
    state.registry.close()
