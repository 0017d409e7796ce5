"""An index by which the registry finds what was its newest record at a moment."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the index."""
    op.create_index("records_by_time", "records", ["created_at", "seq"])


def downgrade() -> None:
    """Refused: records are evidence."""
    raise RuntimeError("the registry holds evidence; restore a backup instead of downgrading")
