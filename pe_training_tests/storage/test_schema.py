"""The schema: what migrations make is what the code believes in, and every common question is answered by an index."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from pe_training.core.ids import short
from pe_training.storage import database
from pe_training.storage.registry import Registry
from pe_training.storage.tables import SCHEMA_VERSION, metadata
from pe_training_tests.storage.things import PAGE, Thing


def test_the_schema_is_the_newest_and_the_tables_are_those_that_the_code_believes_in(registry: Registry, tmp_path: Path) -> None:
    assert ScriptDirectory(str(database.MIGRATIONS)).get_heads() == [SCHEMA_VERSION]
    engine = sa.create_engine(f"sqlite:///{tmp_path}/r.sqlite")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert context.get_current_revision() == SCHEMA_VERSION
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_comparison_of_tables_would_notice_a_column_an_index_and_a_type(registry: Registry, tmp_path: Path) -> None:
    changed = sa.MetaData()
    for table in metadata.tables.values():
        table.to_metadata(changed)
    records = changed.tables["records"]
    records.append_column(sa.Column("extra", sa.Integer))
    records.c.created_at.type = sa.Integer()
    sa.Index("one_more", records.c.label)
    engine = sa.create_engine(f"sqlite:///{tmp_path}/r.sqlite")
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), changed)
    engine.dispose()
    assert sorted(step[0] if isinstance(step, tuple) else step[0][0] for step in found) == ["add_column", "add_index", "modify_type"]


QUESTIONS: dict[str, Callable[[Registry, Thing], object]] = {
    "find": lambda registry, thing: registry.find(thing.id, Thing),
    "answer": lambda registry, thing: registry.answer("q", Thing),
    "body": lambda registry, thing: registry.body(thing.id),
    "resolve": lambda registry, thing: registry.resolve(short(thing.id)),
    "rows": lambda registry, thing: registry.rows("ck"),
    "rows of a label": lambda registry, thing: registry.rows("ck", label="odd"),
    "the next page of rows": lambda registry, thing: registry.rows("ck", before=99),
    "the next page of a label": lambda registry, thing: registry.rows("ck", label="odd", before=99),
    "latest": lambda registry, thing: registry.latest(Thing, label="odd"),
    "parents": lambda registry, thing: registry.parents(thing.id),
    "children": lambda registry, thing: registry.children("ck_0"),
    "attachments": lambda registry, thing: registry.attachments(thing.id),
    "put": lambda registry, thing: registry.put(Thing(number=2, question="p", parent="ck_0", pages=(PAGE,))),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_cost_of_an_answer_does_not_grow_with_history(registry: Registry, tmp_path: Path, question: str) -> None:
    thing = Thing(number=1, question="q", parent="ck_0", pages=(PAGE,))
    registry.put(thing)
    asked: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *rest: object) -> None:
        asked.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        assert QUESTIONS[question](registry, thing) or question == "put"
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    selects = [(statement, parameters) for statement, parameters in asked if statement.startswith("SELECT")]
    assert selects
    connection = sqlite3.connect(tmp_path / "r.sqlite")
    for statement, parameters in selects:
        plan = " ".join(str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))
        assert "SEARCH" in plan, statement
        assert "SCAN" not in plan, (statement, plan)
        assert "TEMP B-TREE" not in plan, (statement, plan)
    connection.close()


def test_a_registry_of_the_first_schema_keeps_its_rows_and_gains_a_second_judgement(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.sqlite"
    columns = ("digest", "name", "version", "outcome", "dataset_id", "report_digest", "at")
    first = ("sha256:a", "talks", "v1", "refused", None, "sha256:r", "2026-01-01T00:00:00Z")
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(sa.insert(metadata.tables["releases"]).values(seq=7, **dict(zip(columns, first, strict=True))))
    engine.dispose()
    registry = Registry(url, lock=tmp_path / "lock")
    with registry.writing() as connection:
        again = dict(zip(columns, first, strict=True)) | {"outcome": "accepted"}
        connection.execute(sa.insert(metadata.tables["releases"]).values(**again))
        kept = connection.execute(sa.text("SELECT seq, outcome FROM releases ORDER BY seq")).all()
    registry.close()
    assert [tuple(row) for row in kept] == [(7, "refused"), (8, "accepted")]
