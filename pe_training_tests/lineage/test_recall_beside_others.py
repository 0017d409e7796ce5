"""On PostgreSQL, where several transactions write at once, a recall and whatever runs beside it see each other in either order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.accept import accept
from pe_training.datasets.gate import attempts
from pe_training.datasets.recall import Selector
from pe_training.lineage.recall import RecallOutcome, recall, taints_of
from pe_training.promotion.pointers import current
from pe_training.promotion.stages import apply_decision
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training_tests.datasets.samples import SUITES, sample_release, sample_rows, talk
from pe_training_tests.postgres_server import PostgresServer, beside
from pe_training_tests.promotion import factory as promotion
from pe_training_tests.releases import make_row

pytestmark = pytest.mark.slow
ORDERS = pytest.mark.parametrize("recall_first", [True, False], ids=["the recall first", "the recall second"])


@pytest.fixture
def state(postgres: PostgresServer, tmp_path: Path) -> State:
    return State(Settings(home=tmp_path / "home", database_url=postgres.new_database(tmp_path.name)))


def taken_back(state: State) -> RecallOutcome:
    return recall(state, Selector(kind="family", value="cptsd"), reason="consent was withdrawn", actor="ada")


def in_order(postgres: PostgresServer, state: State, act: Callable[[], Any], *, recall_first: bool) -> tuple[RecallOutcome, Any]:
    """The outcome of the recall, and what the other one came to."""
    if recall_first:
        return beside(postgres, lambda: taken_back(state), act)
    other, outcome = beside(postgres, act, lambda: taken_back(state))
    assert isinstance(outcome, RecallOutcome), outcome
    return outcome, other


def talks(state: State, folder: Path, version: str, *, name: str = "day-talks", more: int = 0) -> Any:
    """A release of the recalled family, accepted."""
    rows = [*sample_rows(), *(make_row(talk(100 + number), split="train") for number in range(more))]
    for row in rows:
        row["metadata"]["source_family"] = "cptsd"
    return accept(sample_release(folder, rows, name=name, version=version), suites=SUITES, state=state).sealed()


@ORDERS
def test_a_record_that_is_stored_beside_a_recall_is_tainted(
    postgres: PostgresServer, state: State, tmp_path: Path, recall_first: bool
) -> None:
    dataset = talks(state, tmp_path, "v1.0.0")
    manifest = promotion.make_manifest(state, line="one", seed=1, policy="staging", dataset=dataset)

    def store() -> Any:
        return promotion.make_manifest(state, line="one", seed=2, policy="staging", dataset=dataset)

    outcome, stored = in_order(postgres, state, store, recall_first=recall_first)
    assert [len(taints_of(state, identifier)) for identifier in (dataset.id, manifest.id, stored.id)] == [1, 1, 1]
    assert (stored.id in outcome.tainted["mf"]) is not recall_first


@ORDERS
def test_a_version_that_is_accepted_beside_a_recall_is_tainted(
    postgres: PostgresServer, state: State, tmp_path: Path, recall_first: bool
) -> None:
    talks(state, tmp_path, "v1.0.0")
    outcome, accepted = in_order(postgres, state, lambda: talks(state, tmp_path, "v2.0.0", more=2), recall_first=recall_first)
    assert [found.seq for found in taints_of(state, accepted.id)] == [outcome.seq]
    assert (accepted.id in outcome.tainted["ds"]) is not recall_first


def test_a_version_that_is_numbered_before_and_accepted_after_another_is_tainted(
    postgres: PostgresServer, state: State, tmp_path: Path
) -> None:
    talks(state, tmp_path, "v1.0.0")

    def another_and_a_recall() -> RecallOutcome:
        talks(state, tmp_path, "v1.0.0", name="night-talks", more=1)  # its row has a higher number, and is committed first
        return taken_back(state)

    accepted, outcome = beside(postgres, lambda: talks(state, tmp_path, "v2.0.0", more=2), another_and_a_recall)
    assert isinstance(outcome, RecallOutcome)
    assert len(outcome.tainted["ds"]) == 3
    assert [found.seq for found in taints_of(state, accepted.id)] == [outcome.seq]


@ORDERS
def test_a_stage_that_is_taken_beside_a_recall_is_refused_or_named(
    postgres: PostgresServer, state: State, tmp_path: Path, recall_first: bool
) -> None:
    decision = promotion.judged(state, promotion.make_chain(state, line="one", dataset=talks(state, tmp_path, "v1.0.0")))
    outcome, moved = in_order(postgres, state, lambda: apply_decision(decision, state=state), recall_first=recall_first)
    if recall_first:
        assert isinstance(moved, PeError)
        assert moved.kind == Kind.REFUSED
        assert [attempt.route for attempt in attempts(state)] == ["promotion"]
        assert current(state) == outcome.stages == ()
    else:
        assert [stage.stage for stage in outcome.stages] == [pointer.stage for pointer in current(state)] == ["training", "staging"]
