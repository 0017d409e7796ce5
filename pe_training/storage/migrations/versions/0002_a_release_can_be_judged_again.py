"""A release may be judged more than once, as policies change: its digest is no longer unique, and every judgement stays."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TEXT = sa.String


def upgrade() -> None:
    """Rebuild the table without the constraint, which SQLite cannot drop; rows and their numbers stay."""
    if op.get_bind().dialect.name == "sqlite":
        _rebuild()
    else:
        op.drop_constraint("releases_digest_key", "releases", type_="unique")
    op.create_index("releases_by_digest", "releases", ["digest", "seq"])


def _rebuild() -> None:
    op.create_table(
        "releases_kept", sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True), sa.Column("digest", TEXT(71), nullable=False),
        sa.Column("name", TEXT(128), nullable=False), sa.Column("version", TEXT(64), nullable=False),
        sa.Column("outcome", TEXT(16), nullable=False), sa.Column("dataset_id", TEXT(64)),
        sa.Column("report_digest", TEXT(71), nullable=False), sa.Column("at", TEXT(20), nullable=False), sqlite_autoincrement=True,
    )  # fmt: skip
    op.execute(
        "INSERT INTO releases_kept (seq, digest, name, version, outcome, dataset_id, report_digest, at) "
        "SELECT seq, digest, name, version, outcome, dataset_id, report_digest, at FROM releases"
    )
    op.drop_table("releases")
    op.rename_table("releases_kept", "releases")
    op.create_index("ix_releases_name", "releases", ["name"])


def downgrade() -> None:
    """Refused: records are evidence."""
    raise RuntimeError("the registry holds evidence; restore a backup instead of downgrading")
