"""What people say about decisions, and a name for this registry that their signatures hold."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

TEXT = sa.String


def upgrade() -> None:
    """Create both tables, and draw the name."""
    op.create_table("registry_identity", sa.Column("id", TEXT(36), primary_key=True))
    op.bulk_insert(sa.table("registry_identity", sa.column("id")), [{"id": str(uuid.uuid4())}])  # the ledger begins with it
    op.create_table(
        "statements", sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("digest", TEXT(71), nullable=False, unique=True), sa.Column("decision_id", TEXT(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False), sa.Column("seal", sa.Text, nullable=False), sa.Column("at", TEXT(20), nullable=False),
        sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_index("statements_by_decision", "statements", ["decision_id", "seq"])


def downgrade() -> None:
    """Refused: records are evidence."""
    raise RuntimeError("the registry holds evidence; restore a backup instead of downgrading")
