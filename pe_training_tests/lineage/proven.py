"""A home in which every chained table has rows and whose chain holds a stage, and how to change it one bit at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pe_training.core.errors import PeError
from pe_training.core.ids import digest_bytes
from pe_training.costs.ledger import settle
from pe_training.costs.rates import load_rates
from pe_training.datasets.recall import parse_selector
from pe_training.lineage.recall import lift, recall
from pe_training.promotion.events import note_in
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.stages import apply_decision, promote
from pe_training.storage import tables as t
from pe_training.storage.state import State
from pe_training.training.events import record_event
from pe_training_tests.lineage import factory
from pe_training_tests.promotion import factory as promotion

WHO = {"actor": "ada", "reason": "a test"}


@dataclass(frozen=True)
class Proven:
    """The chain of the model that holds staging and production; beside it another of the same data, which was taken back for a while."""

    state: State
    chain: promotion.Chain
    decision: PromotionDecision
    production: PromotionDecision


def proven(state: State, folder: Path) -> Proven:
    """Every kind of fact once, by the doors that they come in by."""
    chain, decision = factory.whole_chain(state, folder)
    apply_decision(decision, state=state)
    production = promotion.judged(state, promotion.again_under(state, chain, "production"))
    promote(chain.checkpoint.id, stage="production", decision_id=production.id, state=state, **WHO)
    record_event(state, chain.run.id, "started", {"manifest": chain.manifest.id})
    record_event(state, chain.run.id, "finished")
    rates = load_rates(state.settings.rates_file)
    settle(state, subject=chain.run.id, step="training", instance="cpu-local", duration_s=1.5, rates=rates)
    other = promotion.judged(state, promotion.make_chain(state, line="other", seed=2, dataset=chain.dataset))
    said = {"digest": digest_bytes(b"{}"), "decision_id": "pd_0", "body": "{}", "seal": "{}", "at": "2026-01-01T00:00:00Z"}
    with state.registry.writing() as connection:
        note_in(connection, chain.run.line, "production", version=1, kind="drill", body={}, actor="me")
        connection.execute(sa.insert(t.statements).values(**said))  # what people say is in promotion/test_approvals.py
    taken = recall(state, parse_selector(chain.dataset.id, state=state), **WHO)
    with pytest.raises(PeError, match="recall"):
        apply_decision(other, state=state)
    assert taken.seq is not None
    lift(state, taken.seq, **WHO)
    return Proven(state, chain, decision, production)


@contextmanager
def database(state: State) -> Iterator[sqlite3.Connection]:
    """The registry's database, without this code and without waiting for the disk."""
    connection = sqlite3.connect(state.settings.root / "registry.sqlite", isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    yield connection
    connection.close()


def rows(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    """``(rowid, *columns)`` of a table."""
    return connection.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid").fetchall()  # noqa: S608


def flipped(value: Any, bit: int) -> Any:
    """The value with one bit changed: of its number, or of the character in its middle."""
    if isinstance(value, int):
        return value ^ (1 << bit)
    middle = len(value) // 2
    return value[:middle] + chr(ord(value[middle]) ^ (1 << bit)) + value[middle + 1 :] if value else "x"


def flip(connection: sqlite3.Connection, table: str, rowid: int, column: str, value: Any) -> None:
    """Change one bit of one value, the lowest that the table's own rules allow to change."""
    for bit in range(7):
        changed = f"x{rowid}" if value is None else flipped(value, bit)
        try:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (changed, rowid))  # noqa: S608
        except sqlite3.IntegrityError:
            continue
        return
    raise AssertionError((table, rowid, column))


def columns(table: str) -> list[str]:
    """Names, in the order of the table."""
    return [column.name for column in t.metadata.tables[table].c]


def restore(connection: sqlite3.Connection, table: str, kept: list[tuple[Any, ...]]) -> None:
    """Lay the rows of a table as they were."""
    connection.execute("BEGIN")
    connection.execute(f"DELETE FROM {table}")  # noqa: S608
    named, marks = ", ".join(["rowid", *columns(table)]), ", ".join("?" * (1 + len(columns(table))))
    connection.executemany(f"INSERT INTO {table} ({named}) VALUES ({marks})", kept)  # noqa: S608
    connection.execute("COMMIT")
