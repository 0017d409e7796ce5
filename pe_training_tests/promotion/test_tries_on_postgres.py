"""On PostgreSQL, where two may judge at once, the second waits and counts the first one's try."""

from __future__ import annotations

from pathlib import Path

import pytest

from pe_training.core.errors import PeError
from pe_training.promotion.verdict import require_follows
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training_tests.postgres_server import PostgresServer, beside
from pe_training_tests.promotion import factory
from pe_training_tests.promotion.test_requirements import HEAD

pytestmark = pytest.mark.slow


def test_two_who_judge_at_once_are_two_tries(postgres: PostgresServer, tmp_path: Path) -> None:
    state = State(Settings(home=tmp_path / "home", artifacts_url="", database_url=postgres.new_database(tmp_path.name)))
    one, other = (factory.make_chain(state, seed=seed, text=HEAD + "tries: {alpha: 0.05}\n") for seed in (1, 2))
    first, second = beside(postgres, lambda: factory.judged(state, one), lambda: factory.judged(state, other))
    assert not isinstance(second, PeError)
    assert (first.attempt, second.attempt) == (1, 2)
    for decision in (first, second):
        require_follows(decision, state=state)
