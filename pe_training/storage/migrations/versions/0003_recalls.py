"""Recalls, what they taint, alerts that are owed, attempts that were refused; and what a release knows of the one before it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TEXT, INT = sa.String, sa.Integer


def _sequence() -> sa.Column[int]:
    return sa.Column("seq", INT, primary_key=True, autoincrement=True)


def upgrade() -> None:
    """Create them, and say of each version that is there which one came before it."""
    op.add_column("releases", sa.Column("previous_id", TEXT(64)))
    op.create_index("releases_by_dataset", "releases", ["dataset_id", "seq"])
    op.execute(
        "UPDATE releases SET previous_id = (SELECT p.dataset_id FROM releases AS p WHERE p.name = releases.name AND p.outcome = 'accepted' "
        "AND p.seq < (SELECT min(f.seq) FROM releases AS f WHERE f.dataset_id = releases.dataset_id AND f.outcome = 'accepted') "
        "ORDER BY p.seq DESC LIMIT 1) WHERE outcome = 'accepted'"
    )
    op.create_table(
        "recalls", _sequence(), sa.Column("kind", TEXT(16), nullable=False), sa.Column("value", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False), sa.Column("actor", TEXT(128), nullable=False),
        sa.Column("at", TEXT(20), nullable=False), sa.Column("lifted_at", TEXT(20)), sa.Column("lifted_by", TEXT(128)),
        sa.Column("lift_reason", sa.Text), sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_table(
        "taints", sa.Column("record_id", TEXT(64), primary_key=True),
        sa.Column("recall_seq", INT, primary_key=True, autoincrement=False),
    )  # fmt: skip
    op.create_index("taints_by_recall", "taints", ["recall_seq", "record_id"])
    op.create_table(
        "owed_alerts", _sequence(), sa.Column("kind", TEXT(32), nullable=False), sa.Column("severity", TEXT(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False), sa.Column("at", TEXT(20), nullable=False), sa.Column("delivered_at", TEXT(20)),
        sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_index("alerts_by_delivery", "owed_alerts", ["delivered_at", "seq"])
    op.create_table(
        "refused_attempts", _sequence(), sa.Column("route", TEXT(32), nullable=False), sa.Column("subject", TEXT(128), nullable=False),
        sa.Column("dataset_id", TEXT(64)), sa.Column("message", sa.Text, nullable=False), sa.Column("actor", TEXT(128), nullable=False),
        sa.Column("at", TEXT(20), nullable=False), sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_index("attempts_by_subject", "refused_attempts", ["subject", "seq"])


def downgrade() -> None:
    """Refused: records are evidence."""
    raise RuntimeError("the registry holds evidence; restore a backup instead of downgrading")
