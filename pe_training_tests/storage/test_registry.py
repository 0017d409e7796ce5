"""The registry: write-once facts, links by index, and no half-made beginnings."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from pe_training.core.errors import Kind, PeError
from pe_training.core.records import Attachment, Record
from pe_training.storage import database
from pe_training.storage.registry import Registry
from pe_training.storage.tables import SCHEMA_VERSION, metadata


class Thing(Record):
    kind: ClassVar[str] = "ck"
    number: int
    question: str | None = None
    parent: str | None = None

    def key(self) -> str | None:
        return self.question

    def parents(self) -> dict[str, str]:
        return {"from": self.parent} if self.parent else {}

    def label(self) -> str:
        return "thing"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(f"sqlite:///{tmp_path}/r.sqlite", lock=tmp_path / "lock")


def test_a_record_is_found_by_id_beginning_answer_label_and_kind(registry: Registry) -> None:
    thing = Thing(number=1, question="q")
    registry.put(thing)
    registry.put(thing)
    assert registry.get(thing.id, Thing) == registry.answer("q", Thing) == registry.latest(Thing, label="thing") == thing
    assert registry.resolve(thing.id[:8]) == thing.id
    assert [row.id for row in registry.rows("ck")] == [thing.id]


def test_a_question_has_one_answer_for_ever(registry: Registry) -> None:
    registry.put(Thing(number=1, question="q"))
    with pytest.raises(PeError, match="already answers this question") as caught:
        registry.put(Thing(number=2, question="q"))
    assert caught.value.kind is Kind.CONFLICT
    assert len(registry.rows("ck")) == 1


def test_links_are_walked_both_ways(registry: Registry) -> None:
    first = Thing(number=1)
    second = Thing(number=2, parent=first.id)
    registry.put(first)
    registry.put(second)
    assert registry.parents(second.id) == {"from": first.id}
    assert registry.children(first.id) == [("from", second.id)]


def test_pages_follow_each_other_without_gap(registry: Registry) -> None:
    for number in range(7):
        registry.put(Thing(number=number))
    first = registry.rows("ck", limit=3)
    second = registry.rows("ck", limit=3, before=first[-1].seq)
    assert [row.seq for row in first + second] == [7, 6, 5, 4, 3, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ck_", "ck_ stands for several ids"),
        ("ck_zz", "no checkpoint ck_zz"),
        ("what", "'what' is not an id"),
        ("zz_1", "'zz_1' is not an id"),
    ],
)
def test_a_beginning_that_names_nothing_or_too_much_is_refused(registry: Registry, text: str, message: str) -> None:
    registry.put(Thing(number=1))
    registry.put(Thing(number=2))
    with pytest.raises(PeError) as caught:
        registry.resolve(text)
    assert caught.value.message == message


def test_a_record_that_was_changed_in_the_database_is_not_believed(registry: Registry, tmp_path: Path) -> None:
    thing = Thing(number=1)
    registry.put(thing)
    with sqlite3.connect(tmp_path / "r.sqlite") as connection:
        connection.execute("UPDATE records SET body = replace(body, '1', '2')")
    with pytest.raises(PeError, match="does not match its content"):
        registry.get(thing.id, Thing)


def test_a_file_of_a_record_is_write_once(registry: Registry) -> None:
    thing = Thing(number=1)
    registry.put(thing)
    file = Attachment(path="page", digest="sha256:" + "0" * 64, size_bytes=1)
    with registry.writing() as connection:
        registry.attach_in(connection, thing.id, file)
        registry.attach_in(connection, thing.id, file)
    with pytest.raises(PeError, match="already has another file"), registry.writing() as connection:
        registry.attach_in(connection, thing.id, file.model_copy(update={"digest": "sha256:" + "1" * 64}))


def test_eight_first_users_of_a_fresh_home_all_live(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pe_training.storage.registry import Registry\n"
        "Registry('sqlite:///' + sys.argv[1] + '/r.sqlite', lock=Path(sys.argv[1]) / 'lock').rows('ck')"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(8)]
    assert [process.wait() for process in started] == [0] * 8


def test_a_database_that_stays_locked_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 50)
    registry = Registry(f"sqlite:///{tmp_path}/r.sqlite", lock=tmp_path / "lock")
    other = sqlite3.connect(tmp_path / "r.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(PeError, match="database is locked") as caught:
        registry.put(Thing(number=1))
    assert caught.value.hint == "another process is writing for a long time; run this again"
    other.close()
    registry.close()


def test_a_file_that_is_no_database_is_never_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "r.sqlite").write_bytes(b"not a database at all, but long enough to be read as one" * 20)
    with pytest.raises(PeError, match="file is not a database"):
        Registry(f"sqlite:///{tmp_path}/r.sqlite", lock=tmp_path / "lock")


def test_migrations_make_the_tables_that_the_code_believes_in(registry: Registry, tmp_path: Path) -> None:
    assert ScriptDirectory(str(database.MIGRATIONS)).get_current_head() == SCHEMA_VERSION
    engine = sa.create_engine(f"sqlite:///{tmp_path}/r.sqlite")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_every_common_question_is_answered_by_an_index(registry: Registry) -> None:
    questions = [
        "SELECT id FROM records WHERE id >= 'ck_1' AND id < 'ck_2'",
        "SELECT id FROM records WHERE kind = 'ck' AND key = 'q'",
        "SELECT seq FROM records WHERE kind = 'ck' AND label = 'x' ORDER BY seq DESC LIMIT 50",
        "SELECT parent FROM edges WHERE child = 'ck_1'",
        "SELECT child FROM edges WHERE parent = 'ck_1' ORDER BY child",
        "SELECT path FROM attachments WHERE record_id = 'ck_1'",
    ]
    with registry.reading() as connection:
        for question in questions:
            plan = " ".join(str(row) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {question}"))
            assert "SCAN" not in plan, question
            assert "TEMP B-TREE" not in plan, question
