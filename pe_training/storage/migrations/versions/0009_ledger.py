"""The ledger. What was recorded before it is chained as it is found: the chain proves what happens to it from here on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from pe_training.core.clock import now, stamp
from pe_training.storage.ledger import Head, entry, first_entry, key_text, row_digest

revision = "0009"
down_revision = "0008"

TEXT, INT = sa.String, sa.Integer
FOUND = (
    "records", "edges", "attachments", "releases", "run_events", "charges", "recalls", "taints", "refused_attempts", "stage_moves",
    "stages", "stage_events", "registry_identity", "statements",
)  # fmt: skip
PAGE_ROWS = 1000


def upgrade() -> None:
    """Create the tables, and enter every row that is there."""
    made = op.create_table(
        "ledger", sa.Column("seq", INT, primary_key=True, autoincrement=False), sa.Column("previous", TEXT(71), nullable=False),
        sa.Column("what", TEXT(32), nullable=False), sa.Column("key", sa.Text, nullable=False),
        sa.Column("digest", TEXT(71), nullable=False), sa.Column("hash", TEXT(71), nullable=False),
    )  # fmt: skip
    op.create_index("ledger_by_row", "ledger", ["what", "key", "seq"])
    head = op.create_table(
        "ledger_head", sa.Column("id", INT, primary_key=True, autoincrement=False), sa.Column("seq", INT, nullable=False),
        sa.Column("hash", TEXT(71), nullable=False),
    )  # fmt: skip
    connection = op.get_bind()
    tables = [sa.Table(name, sa.MetaData(), autoload_with=connection) for name in FOUND]
    rows = sum(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() for table in tables)
    page = [first_entry(rows=rows, at=stamp(now()))]
    for table in tables:
        for row in _rows(connection, table):
            key = key_text([row[column.name] for column in table.primary_key])
            after = Head(seq=page[-1]["seq"], hash=page[-1]["hash"])
            page.append(entry(after, what=table.name, key=key, digest=row_digest(row)))
            if len(page) > PAGE_ROWS:
                connection.execute(sa.insert(made), page[:-1])
                del page[:-1]
    connection.execute(sa.insert(made), page)
    connection.execute(sa.insert(head).values(id=1, seq=page[-1]["seq"], hash=page[-1]["hash"]))


def _rows(connection: sa.Connection, table: sa.Table) -> Iterator[dict[str, Any]]:
    """All rows of a table by their key, a page at a time."""
    key = tuple(table.primary_key)
    query, after = sa.select(table).order_by(*key).limit(PAGE_ROWS), None
    while True:
        found = connection.execute(query if after is None else query.where(sa.tuple_(*key) > after)).mappings().all()
        yield from (dict(row) for row in found)
        if len(found) < PAGE_ROWS:
            return
        after = sa.tuple_(*(sa.literal(found[-1][column.name]) for column in key))


def downgrade() -> None:
    """Refused: records are evidence."""
    raise RuntimeError("the registry holds evidence; restore a backup instead of downgrading")
