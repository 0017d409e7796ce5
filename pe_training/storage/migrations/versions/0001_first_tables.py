"""The first tables: records, links, attachments, releases, runs, money and stages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TEXT, INT = sa.String, sa.Integer


def _sequence() -> sa.Column[int]:
    return sa.Column("seq", INT, primary_key=True, autoincrement=True)


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "records", _sequence(), sa.Column("id", TEXT(64), nullable=False, unique=True), sa.Column("kind", TEXT(8), nullable=False),
        sa.Column("key", TEXT(128)), sa.Column("label", TEXT(256), nullable=False), sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", TEXT(20), nullable=False), sa.UniqueConstraint("kind", "key", name="one_answer_per_question"),
        sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_index("records_by_kind", "records", ["kind", "seq"])
    op.create_index("records_by_label", "records", ["kind", "label", "seq"])
    op.create_table(
        "edges", sa.Column("child", TEXT(64), primary_key=True), sa.Column("role", TEXT(32), primary_key=True),
        sa.Column("parent", TEXT(64), nullable=False),
    )  # fmt: skip
    op.create_index("edges_by_parent", "edges", ["parent", "child"])
    op.create_table(
        "attachments", sa.Column("record_id", TEXT(64), primary_key=True), sa.Column("path", TEXT(256), primary_key=True),
        sa.Column("digest", TEXT(71), nullable=False, index=True), sa.Column("size_bytes", INT, nullable=False),
    )  # fmt: skip
    op.create_table(
        "releases", _sequence(), sa.Column("digest", TEXT(71), nullable=False, unique=True),
        sa.Column("name", TEXT(128), nullable=False, index=True), sa.Column("version", TEXT(64), nullable=False),
        sa.Column("outcome", TEXT(16), nullable=False),
        sa.Column("dataset_id", TEXT(64)), sa.Column("report_digest", TEXT(71), nullable=False), sa.Column("at", TEXT(20), nullable=False),
        sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_table(
        "run_events", _sequence(), sa.Column("run_id", TEXT(64), nullable=False, index=True), sa.Column("kind", TEXT(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False), sa.Column("at", TEXT(20), nullable=False), sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_table(
        "run_states", sa.Column("run_id", TEXT(64), primary_key=True), sa.Column("step", INT, primary_key=True, autoincrement=False),
        sa.Column("digest", TEXT(71), nullable=False),
    )  # fmt: skip
    op.create_table(
        "charges", _sequence(), sa.Column("subject", TEXT(64), nullable=False, index=True), sa.Column("step", TEXT(16), nullable=False),
        sa.Column("instance", TEXT(64), nullable=False), sa.Column("duration_ms", INT, nullable=False),
        sa.Column("cost_usd", TEXT(32), nullable=False), sa.Column("rates_digest", TEXT(71), nullable=False),
        sa.Column("at", TEXT(20), nullable=False), sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_table(
        "stages", sa.Column("line", TEXT(128), primary_key=True), sa.Column("stage", TEXT(32), primary_key=True),
        sa.Column("checkpoint_id", TEXT(64), nullable=False), sa.Column("decision_id", TEXT(64)), sa.Column("version", INT, nullable=False),
    )  # fmt: skip
    op.create_table(
        "stage_moves", _sequence(), sa.Column("line", TEXT(128), nullable=False), sa.Column("stage", TEXT(32), nullable=False),
        sa.Column("action", TEXT(16), nullable=False), sa.Column("from_id", TEXT(64)), sa.Column("to_id", TEXT(64), nullable=False),
        sa.Column("decision_id", TEXT(64)), sa.Column("actor", TEXT(128), nullable=False), sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", TEXT(20), nullable=False), sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_index("moves_by_stage", "stage_moves", ["line", "stage", "seq"])


def downgrade() -> None:
    """Refused: records are evidence."""
    raise RuntimeError("the registry holds evidence; restore a backup instead of downgrading")
