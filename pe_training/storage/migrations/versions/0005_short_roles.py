"""What a calibration is to a report, in as many characters as every database has room for, as reports say it now."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

ROOM = 32


def upgrade() -> None:
    """Rename the links of reports that trained judges spoke in."""
    connection = op.get_bind()
    edges = sa.table("edges", sa.column("child"), sa.column("role"), sa.column("parent"))
    long = sa.select(edges).where(edges.c.role.like("calibration of %"), sa.func.length(edges.c.role) > ROOM)
    for child, role, parent in connection.execute(long).all():
        kind, _, digits = parent.partition("_")
        renamed = sa.update(edges).where(edges.c.child == child, edges.c.role == role)
        connection.execute(renamed.values(role=f"calibration {kind}_{digits[:10]}"))


def downgrade() -> None:
    """Refused: records are evidence."""
    raise RuntimeError("the registry holds evidence; restore a backup instead of downgrading")
