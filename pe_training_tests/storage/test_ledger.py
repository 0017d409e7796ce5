"""Every row of a chained table has its entry, written with it, in a chain that any change breaks."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pe_training.core.ids import digest_json
from pe_training.storage import tables as t
from pe_training.storage.ledger import NOTHING, Head, head_in, key_text, row_digest
from pe_training.storage.registry import Registry
from pe_training_tests.postgres_server import PostgresServer, beside
from pe_training_tests.storage.things import PAGE, Thing

EVENT = {"run_id": "run_1", "kind": "started", "body": "{}", "at": "2026-01-01T00:00:00Z"}
POINTER = {"line": "empathy", "stage": "staging", "checkpoint_id": "ck_1", "decision_id": None, "version": 1}
POINTED = sa.select(t.stages.c.line, t.stages.c.version)


def entries(registry: Registry) -> list[Any]:
    """All entries after the first and that of the registry's name, each shown to follow the one before."""
    with registry.reading() as connection:
        found = connection.execute(sa.select(t.ledger).order_by(t.ledger.c.seq)).all()
        head = head_in(connection)
    previous = NOTHING
    for number, row in enumerate(found, start=1):
        said = {"seq": number, "previous": previous, "what": row.what, "key": row.key, "digest": row.digest}
        assert dict(row._mapping) == said | {"hash": digest_json(said)}
        previous = row.hash
    assert head == Head(seq=len(found), hash=previous)
    assert [row.what for row in found[:2]] == ["begun", "registry_identity"]
    return list(found[2:])


def stored(registry: Registry, table: sa.Table) -> list[tuple[str, str]]:
    """Key and digest of every row, as its entry must name them."""
    with registry.reading() as connection:
        rows = [dict(row._mapping) for row in connection.execute(sa.select(table))]
    return [(key_text([row[column.name] for column in table.primary_key]), row_digest(row)) for row in rows]


def test_every_table_is_chained_or_says_why_it_is_not() -> None:
    assert t.CHAINED | t.NOT_CHAINED.keys() == t.metadata.tables.keys()
    assert not t.CHAINED & t.NOT_CHAINED.keys()
    assert all(reason.strip() for reason in t.NOT_CHAINED.values())


@pytest.mark.parametrize("name", sorted(t.CHAINED))
def test_a_chained_row_is_what_was_given_for_it(name: str) -> None:
    columns = t.metadata.tables[name].c
    assert [column.name for column in columns if column.default is not None or column.server_default is not None] == []


def test_a_new_registry_begins_its_chain_and_says_that_nothing_was_there(registry: Registry) -> None:
    assert entries(registry) == []
    with registry.reading() as connection:
        first, _ = connection.execute(sa.select(t.ledger).order_by(t.ledger.c.seq)).all()
    assert first.what == "begun"
    assert '"rows":1' in first.key  # its name


def test_a_record_its_links_and_its_files_are_entered_together(registry: Registry) -> None:
    thing = Thing(number=1, question="q", parent="ck_0", pages=(PAGE,))
    registry.put(thing)
    assert [(row.what, row.key) for row in entries(registry)] == [
        ("records", "[1]"), ("edges", f'["{thing.id}","from"]'), ("attachments", f'["{thing.id}","{PAGE.path}"]'),
    ]  # fmt: skip
    for table in (t.records, t.edges, t.attachments):
        assert stored(registry, table) == [(row.key, row.digest) for row in entries(registry) if row.what == table.name]


def test_what_is_stored_already_is_not_entered_again(registry: Registry) -> None:
    registry.put(Thing(number=1, pages=(PAGE,)))
    before = entries(registry)
    registry.put(Thing(number=1, pages=(PAGE,)))
    assert entries(registry) == before


def test_a_transaction_that_is_given_up_leaves_no_entry(registry: Registry) -> None:

    def give_up() -> None:
        with registry.writing() as connection:
            registry.put_in(connection, Thing(number=1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        give_up()
    assert entries(registry) == []


def test_what_a_savepoint_takes_back_is_not_entered(registry: Registry) -> None:
    def give_up(connection: sa.Connection) -> None:
        with connection.begin_nested():
            connection.execute(sa.insert(t.run_events).values(EVENT))
            raise ZeroDivisionError

    with registry.writing() as connection:
        connection.execute(sa.insert(t.run_events).values(EVENT))
        with pytest.raises(ZeroDivisionError):
            give_up(connection)
        with connection.begin_nested():
            connection.execute(sa.insert(t.stages).values(POINTER))
    assert [(row.what, row.key) for row in entries(registry)] == [("run_events", "[1]"), ("stages", '["empathy","staging"]')]


def test_a_change_is_entered_with_the_row_as_it_is_then_and_a_change_of_nothing_is_not(registry: Registry) -> None:
    s = t.stages.c
    with registry.writing() as connection:
        connection.execute(sa.insert(t.stages).values(POINTER))
    for expected in (1, 7):
        with registry.writing() as connection:
            query = sa.update(t.stages).where(s.line == "empathy", s.stage == "staging", s.version == expected)
            connection.execute(query.values(checkpoint_id="ck_2", version=2))
    found = entries(registry)
    assert [row.digest for row in found] == [row_digest(POINTER), row_digest(POINTER | {"checkpoint_id": "ck_2", "version": 2})]
    assert stored(registry, t.stages) == [(found[1].key, found[1].digest)]


def test_many_rows_at_once_are_entered_one_by_one(registry: Registry) -> None:
    rows = [{"record_id": f"ck_{number}", "recall_seq": 3} for number in range(5)]
    with registry.writing() as connection:
        connection.execute(sa.insert(t.taints), rows)
    assert sorted((row.key, row.digest) for row in entries(registry)) == sorted(stored(registry, t.taints))


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (sa.delete(t.records).where(t.records.c.id == "ck_1"), "never deleted"),
        (sa.update(t.stages).where(t.stages.c.line == "empathy").values(version=2), "an update names its row by stage too"),
        (sa.update(t.stages).values(version=2), "an update names its row by line, stage too"),
        (sa.insert(t.taints).from_select(["record_id", "recall_seq"], POINTED), "read the rows first"),
    ],
    ids=["delete", "part of a key", "no key", "from a query"],
)  # fmt: skip
def test_what_could_not_be_chained_is_refused_where_it_is_written(registry: Registry, statement: Any, said: str) -> None:
    with registry.writing() as connection:
        connection.execute(sa.insert(t.stages).values(POINTER))

    def write() -> None:
        with registry.writing() as connection:
            registry.put_in(connection, Thing(number=1))
            connection.execute(statement)

    with pytest.raises(AssertionError, match=said):
        write()
    assert [row.what for row in entries(registry)] == ["stages"]


def test_a_transaction_that_does_not_chain_cannot_write_what_is_chained(registry: Registry) -> None:
    with pytest.raises(AssertionError, match=r"through Registry\.writing"), registry._engine.begin() as connection:
        connection.execute(sa.insert(t.run_events).values(EVENT))
    with registry._engine.begin() as connection:
        connection.execute(sa.insert(t.owed_alerts).values(kind="x", severity="y", body="{}", at="2026"))
    assert entries(registry) == []


def test_a_table_may_gain_a_column_and_old_entries_stay_true() -> None:
    assert row_digest(POINTER) == row_digest(POINTER | {"new": None}) != row_digest(POINTER | {"new": 0})


def write_beside(url: str, folder: Path, *, writers: int, each: int) -> Registry:
    """What ``writers`` threads with registries of their own leave behind."""
    opened = [Registry(url, lock=folder / "lock") for _ in range(writers)]

    def write(number: int) -> None:
        for count in range(each):
            opened[number].put(Thing(number=number * each + count, parent="run_1", pages=(PAGE,)))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for registry in opened[1:]:
        registry.close()
    return opened[0]


def test_writers_beside_each_other_make_one_chain(tmp_path: Path) -> None:
    registry = write_beside(f"sqlite:///{tmp_path}/r.sqlite", tmp_path, writers=4, each=5)
    assert len(entries(registry)) == 60
    registry.close()


@pytest.mark.slow
def test_writers_beside_each_other_make_one_chain_on_postgres(postgres: PostgresServer, tmp_path: Path) -> None:
    registry = write_beside(postgres.new_database(tmp_path.name), tmp_path, writers=8, each=10)
    assert len(entries(registry)) == 240
    registry.close()


@pytest.mark.slow
def test_on_postgres_a_writer_waits_for_the_entry_of_another_and_follows_it(postgres: PostgresServer, tmp_path: Path) -> None:
    registry = Registry(postgres.new_database(tmp_path.name), lock=tmp_path / "lock")
    first, second = Thing(number=1, parent="run_1"), Thing(number=2, parent="run_2")
    assert beside(postgres, lambda: registry.put(first), lambda: registry.put(second)) == (None, None)
    assert [row.key for row in entries(registry) if row.what == "edges"] == [f'["{thing.id}","from"]' for thing in (first, second)]
    registry.close()
