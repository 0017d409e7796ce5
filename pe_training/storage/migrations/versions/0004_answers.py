"""Answers of models, so that nothing is asked twice."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

TEXT = sa.String


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "answers", sa.Column("question", TEXT(71), primary_key=True), sa.Column("subject", TEXT(71), nullable=False),
        sa.Column("model", TEXT(71), nullable=False), sa.Column("digest", TEXT(71), nullable=False),
    )  # fmt: skip
    op.create_index("answers_by_subject", "answers", ["subject", "model"])
    op.create_index("ix_answers_digest", "answers", ["digest"])


def downgrade() -> None:
    """Refused: records are evidence."""
    raise RuntimeError("the registry holds evidence; restore a backup instead of downgrading")
