"""A registry of an older version of this code is brought up to date with everything in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from pe_training.evaluation.record import _role
from pe_training.storage import database
from pe_training.storage.ledger import key_text, row_digest
from pe_training.storage.registry import Registry
from pe_training.storage.tables import CHAINED, SCHEMA_VERSION, edges, ledger, metadata, records, releases
from pe_training_tests.storage.things import Thing

# (seq, digest, name, version, outcome, dataset): a gap in the numbers, two datasets, a refusal, one version from two releases
RELEASES = [
    (2, "sha256:1", "tiny", "v1", "accepted", "ds_1"),
    (5, "sha256:2", "tiny", "v2", "refused", None),
    (6, "sha256:3", "other", "v1", "accepted", "ds_9"),
    (7, "sha256:4", "tiny", "v3", "accepted", "ds_3"),
    (8, "sha256:5", "tiny", "v1.1", "accepted", "ds_1"),
]
JUDGED_AGAIN = (9, "sha256:2", "tiny", "v2", "accepted", "ds_2")  # what the second schema allows


def old_registry(url: str, schema: str, *things: Thing) -> None:
    """What the code of that version left behind."""
    engine, config = sa.create_engine(url), Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, schema)
    with engine.begin() as connection:
        for thing in things:
            row = {"id": thing.id, "kind": "ck", "key": thing.key(), "label": thing.label(), "body": thing.to_json(), "created_at": "2026"}
            connection.execute(sa.insert(records).values(**row))
            for role, parent in thing.parents().items():
                connection.execute(sa.insert(edges).values(child=thing.id, role=role, parent=parent))
        for row in [*RELEASES, JUDGED_AGAIN] if schema == "0002" else RELEASES:
            named = dict(zip(("seq", "digest", "name", "version", "outcome", "dataset_id"), row, strict=True))
            connection.execute(sa.insert(releases).values(**named, report_digest="r", at="2026"))
    engine.dispose()


def test_links_with_names_too_long_for_other_databases_are_renamed(tmp_path: Path) -> None:
    url, calibration = f"sqlite:///{tmp_path}/r.sqlite", "jc_0123456789abcdef"
    old_registry(url, "0004")
    engine = sa.create_engine(url)
    roles = ("calibration of lexical-v3", "calibration of judge-explorations ck_0123456789", "checkpoint")
    with engine.begin() as connection:
        for role in roles:
            connection.execute(sa.insert(edges).values(child="ev_1", role=role, parent=calibration))
    engine.dispose()
    registry = Registry(url, lock=tmp_path / "lock")
    assert set(registry.parents("ev_1")) == {roles[0], "calibration jc_0123456789", roles[2]}
    assert _role("judge-explorations ck_0123456789", calibration) == "calibration jc_0123456789"
    registry.close()


@pytest.mark.parametrize("schema", ["0001", "0002", "0003", "0004", "0005"])
def test_an_older_registry_keeps_its_data_and_gets_the_new_tables(tmp_path: Path, schema: str) -> None:
    url = f"sqlite:///{tmp_path}/r.sqlite"
    first = Thing(number=1)
    old_registry(url, schema, first, Thing(number=2, parent=first.id, question="q"))
    registry = Registry(url, lock=tmp_path / "lock")
    assert registry.get(first.id, Thing) == first
    assert registry.the_answer("q", Thing).parent == first.id
    with registry.reading() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == SCHEMA_VERSION != schema
        kept = connection.execute(sa.select(releases).order_by(releases.c.seq)).all()
        for table in ("recalls", "taints", "owed_alerts", "refused_attempts", "answers", "statements"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0  # noqa: S608
    before = {2: None, 5: None, 6: None, 7: "ds_1", 8: None} | ({9: "ds_1"} if schema == "0002" else {})
    before |= {7: None} if schema in {"0003", "0004", "0005"} else {}  # that code said it itself; what it did not say stays unsaid
    assert {row.seq: row.previous_id for row in kept} == before
    assert [tuple(row)[:6] for row in kept] == [*RELEASES, *([JUDGED_AGAIN] if schema == "0002" else [])]
    registry.put(Thing(number=3, parent=first.id))
    registry.close()


def test_what_an_older_registry_holds_is_chained_as_it_is_found(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/r.sqlite"
    old_registry(url, "0004", *(Thing(number=number, parent="run_1") for number in range(600)))  # more rows than a page
    registry = Registry(url, lock=tmp_path / "lock")
    registry.put(Thing(number=1000))
    with registry.reading() as connection:
        first, *rest = connection.execute(sa.select(ledger).order_by(ledger.c.seq)).all()
        there = {
            (name, key_text([row[column.name] for column in metadata.tables[name].primary_key])): row_digest(row)
            for name in CHAINED
            for row in connection.execute(sa.select(metadata.tables[name])).mappings()
        }
    registry.close()
    assert (first.what, '"rows":1206' in first.key) == ("begun", True)
    assert {(row.what, row.key): row.digest for row in rest} == there
    assert [row.seq for row in rest] == list(range(2, 1209))
    assert rest[-1].previous == rest[-2].hash
