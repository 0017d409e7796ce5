"""A stage can be withdrawn, and what was tried and found at a stage is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column, and create the table."""
    op.add_column("stages", sa.Column("withdrawn", sa.Text, nullable=True))
    op.create_table(
        "stage_events", sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("line", sa.String(128), nullable=False), sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer, nullable=False), sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False), sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("at", sa.String(20), nullable=False),
        sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_index("stage_events_by_stage", "stage_events", ["line", "stage", "kind", "seq"])


def downgrade() -> None:
    """Refused: records are evidence."""
    raise RuntimeError("the registry holds evidence; restore a backup instead of downgrading")
