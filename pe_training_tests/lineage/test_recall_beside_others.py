"""On PostgreSQL, where several transactions write at once, a recall and whatever runs beside it see each other in either order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

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
from pe_training_tests.postgres_server import PATIENCE_S, PostgresServer
from pe_training_tests.promotion import factory as promotion
from pe_training_tests.releases import make_row

pytestmark = pytest.mark.slow
ORDERS = pytest.mark.parametrize("recall_first", [True, False], ids=["the recall first", "the recall second"])
FirstT = TypeVar("FirstT")
SecondT = TypeVar("SecondT")


@pytest.fixture
def state(postgres: PostgresServer, tmp_path: Path) -> State:
    return State(Settings(home=tmp_path / "home", database_url=postgres.new_database(tmp_path.name)))


def taken_back(state: State) -> RecallOutcome:
    return recall(state, Selector(kind="family", value="cptsd"), reason="consent was withdrawn", actor="ada")


def beside(postgres: PostgresServer, first: Callable[[], FirstT], second: Callable[[], SecondT]) -> tuple[FirstT, SecondT | PeError]:
    """What both return. ``first`` is held just before its commit until ``second`` is seen to wait for it."""
    arrived, go = threading.Event(), threading.Event()
    holder: list[int] = []

    def run_first() -> FirstT:
        holder.append(threading.get_ident())
        return first()

    def run_second() -> SecondT | PeError:
        try:
            return second()
        except PeError as error:
            return error

    def hold(connection: sa.Connection) -> None:
        if [threading.get_ident()] == holder and not connection.get_execution_options().get("read_only") and not arrived.is_set():
            arrived.set()
            assert go.wait(PATIENCE_S)

    sa.event.listen(sa.Engine, "commit", hold)
    try:
        with ThreadPoolExecutor(2) as threads:
            one = threads.submit(run_first)
            assert arrived.wait(PATIENCE_S), one.exception()
            two = threads.submit(run_second)
            try:
                deadline = time.monotonic() + PATIENCE_S
                while not postgres.waiting():
                    assert not two.done(), "nobody waited for the first"
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
            finally:
                go.set()
            return one.result(), two.result()
    finally:
        sa.event.remove(sa.Engine, "commit", hold)


def in_order(postgres: PostgresServer, state: State, act: Callable[[], Any], *, recall_first: bool) -> tuple[RecallOutcome, Any]:
    """The outcome of the recall, and what the other one came to."""
    if recall_first:
        return beside(postgres, lambda: taken_back(state), act)
    other, outcome = beside(postgres, act, lambda: taken_back(state))
    assert isinstance(outcome, RecallOutcome), outcome
    return outcome, other


def day_talks(state: State, folder: Path, version: str, *, more: int = 0) -> Any:
    """A release of the recalled family, accepted."""
    rows = [*sample_rows(), *(make_row(talk(100 + number), split="train") for number in range(more))]
    for row in rows:
        row["metadata"]["source_family"] = "cptsd"
    return accept(sample_release(folder, rows, name="day-talks", version=version), suites=SUITES, state=state).sealed()


@ORDERS
def test_a_record_that_is_stored_beside_a_recall_is_tainted(
    postgres: PostgresServer, state: State, tmp_path: Path, recall_first: bool
) -> None:
    dataset = day_talks(state, tmp_path, "v1.0.0")
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
    day_talks(state, tmp_path, "v1.0.0")
    outcome, accepted = in_order(postgres, state, lambda: day_talks(state, tmp_path, "v2.0.0", more=2), recall_first=recall_first)
    assert [found.seq for found in taints_of(state, accepted.id)] == [outcome.seq]
    assert (accepted.id in outcome.tainted["ds"]) is not recall_first


@ORDERS
def test_a_stage_that_is_taken_beside_a_recall_is_refused_or_named(
    postgres: PostgresServer, state: State, tmp_path: Path, recall_first: bool
) -> None:
    decision = promotion.judged(state, promotion.make_chain(state, line="one", dataset=day_talks(state, tmp_path, "v1.0.0")))
    outcome, moved = in_order(postgres, state, lambda: apply_decision(decision, state=state), recall_first=recall_first)
    if recall_first:
        assert isinstance(moved, PeError)
        assert moved.kind == Kind.REFUSED
        assert [attempt.route for attempt in attempts(state)] == ["promotion"]
        assert current(state) == outcome.stages == ()
    else:
        assert [stage.stage for stage in outcome.stages] == [pointer.stage for pointer in current(state)] == ["training", "staging"]
