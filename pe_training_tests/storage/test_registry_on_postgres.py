"""On PostgreSQL, where two may store the same record at once, the second is told what it would have been told a moment later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.storage.registry import Registry
from pe_training_tests.postgres_server import PostgresServer, beside
from pe_training_tests.storage.things import Thing

pytestmark = pytest.mark.slow


@pytest.fixture
def registry(postgres: PostgresServer, tmp_path: Path) -> Iterator[Registry]:
    opened = Registry(postgres.new_database(tmp_path.name), lock=tmp_path / "lock")
    yield opened
    opened.close()


def test_the_same_record_stored_twice_at_once_is_stored_once(postgres: PostgresServer, registry: Registry) -> None:
    thing = Thing(number=1, parent="run_1")
    assert beside(postgres, lambda: registry.put(thing), lambda: registry.put(thing)) == (None, None)
    assert registry.get(thing.id, Thing) == thing
    assert registry.parents(thing.id) == {"from": "run_1"}


def test_of_two_answers_given_at_once_the_second_is_a_conflict(postgres: PostgresServer, registry: Registry) -> None:
    one, other = (Thing(number=number, question="which?") for number in (1, 2))
    _, error = beside(postgres, lambda: registry.put(one), lambda: registry.put(other))
    assert isinstance(error, PeError)
    assert error.kind == Kind.CONFLICT
    assert registry.answer("which?", Thing) == one
