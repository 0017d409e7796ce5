"""The registry's tables. Records and their links never change; pointers change by compare-and-swap; the rest is appended.

Two facts close once: a recall when it is lifted, an owed alert when it is delivered. States of runs and answers of models are kept so that
work need not be done twice; losing them costs time and no evidence.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

SCHEMA_VERSION = "0006"  # the newest file in migrations/versions
metadata = MetaData()

records = Table(
    "records", metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("kind", String(8), nullable=False),
    Column("key", String(128), nullable=True),
    Column("label", String(256), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", String(20), nullable=False),
    UniqueConstraint("kind", "key", name="one_answer_per_question"),
    Index("records_by_kind", "kind", "seq"),
    Index("records_by_label", "kind", "label", "seq"),
    Index("records_by_time", "created_at", "seq"),  # which record was the newest at a moment
    sqlite_autoincrement=True,
)  # fmt: skip

edges = Table(
    "edges", metadata,
    Column("child", String(64), primary_key=True),
    Column("role", String(32), primary_key=True),
    Column("parent", String(64), nullable=False),
    Index("edges_by_parent", "parent", "child"),
)  # fmt: skip

attachments = Table(
    "attachments", metadata,
    Column("record_id", String(64), primary_key=True),
    Column("path", String(256), primary_key=True),
    Column("digest", String(71), nullable=False, index=True),
    Column("size_bytes", Integer, nullable=False),
)  # fmt: skip

releases = Table(
    "releases", metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("digest", String(71), nullable=False),
    Column("name", String(128), nullable=False, index=True),
    Column("version", String(64), nullable=False),
    Column("outcome", String(16), nullable=False),  # accepted | refused
    Column("dataset_id", String(64), nullable=True),
    Column("report_digest", String(71), nullable=False),
    Column("at", String(20), nullable=False),
    Column("previous_id", String(64), nullable=True),  # the version of this name that was the newest before
    Index("releases_by_dataset", "dataset_id", "seq"),
    Index("releases_by_digest", "digest", "seq"),  # one row a judgement; the newest counts
    sqlite_autoincrement=True,
)  # fmt: skip

run_events = Table(
    "run_events", metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("run_id", String(64), nullable=False, index=True),
    Column("kind", String(16), nullable=False),  # started | resumed | stopped | failed | finished
    Column("body", Text, nullable=False),
    Column("at", String(20), nullable=False),
    sqlite_autoincrement=True,
)  # fmt: skip

run_states = Table(
    "run_states", metadata,
    Column("run_id", String(64), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("digest", String(71), nullable=False),
)  # fmt: skip

answers = Table(
    "answers", metadata,
    Column("question", String(71), primary_key=True),  # digest of model, question and decoding
    Column("subject", String(71), nullable=False),  # the model as it is asked on this kind of machine
    Column("model", String(71), nullable=False),  # the same with the code that asks it
    Column("digest", String(71), nullable=False, index=True),  # the file that holds this answer among others
    Index("answers_by_subject", "subject", "model"),
)  # fmt: skip

charges = Table(
    "charges", metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("subject", String(64), nullable=False, index=True),
    Column("step", String(16), nullable=False),  # training | evaluation | reproduction
    Column("instance", String(64), nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("cost_usd", String(32), nullable=False),
    Column("rates_digest", String(71), nullable=False),
    Column("at", String(20), nullable=False),
    sqlite_autoincrement=True,
)  # fmt: skip

stages = Table(
    "stages", metadata,
    Column("line", String(128), primary_key=True),
    Column("stage", String(32), primary_key=True),
    Column("checkpoint_id", String(64), nullable=False),
    Column("decision_id", String(64), nullable=True),
    Column("version", Integer, nullable=False),
)  # fmt: skip

stage_moves = Table(
    "stage_moves", metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("line", String(128), nullable=False),
    Column("stage", String(32), nullable=False),
    Column("action", String(16), nullable=False),  # enter | promote | rollback
    Column("from_id", String(64), nullable=True),
    Column("to_id", String(64), nullable=False),
    Column("decision_id", String(64), nullable=True),
    Column("actor", String(128), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", String(20), nullable=False),
    Index("moves_by_stage", "line", "stage", "seq"),
    sqlite_autoincrement=True,
)  # fmt: skip

recalls = Table(
    "recalls", metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),  # record | source_key | family | licence | version
    Column("value", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("at", String(20), nullable=False),
    Column("lifted_at", String(20), nullable=True),  # without it the recall holds
    Column("lifted_by", String(128), nullable=True),
    Column("lift_reason", Text, nullable=True),
    sqlite_autoincrement=True,
)  # fmt: skip

taints = Table(
    "taints", metadata,
    Column("record_id", String(64), primary_key=True),
    Column("recall_seq", Integer, primary_key=True, autoincrement=False),
    Index("taints_by_recall", "recall_seq", "record_id"),
)  # fmt: skip

owed_alerts = Table(
    "owed_alerts", metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(32), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("body", Text, nullable=False),  # JSON; never conversation text
    Column("at", String(20), nullable=False),
    Column("delivered_at", String(20), nullable=True),
    Index("alerts_by_delivery", "delivered_at", "seq"),
    sqlite_autoincrement=True,
)  # fmt: skip

refused_attempts = Table(
    "refused_attempts", metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("route", String(32), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("dataset_id", String(64), nullable=True),
    Column("message", Text, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("at", String(20), nullable=False),
    Index("attempts_by_subject", "subject", "seq"),
    sqlite_autoincrement=True,
)  # fmt: skip
