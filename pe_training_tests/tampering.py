"""Writing to a registry as somebody does who has the database and not this code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from pe_training.storage.registry import Registry


@contextmanager
def past_the_ledger(registry: Registry) -> Iterator[sa.Connection]:
    """A transaction of another program: nothing that it writes is chained."""
    engine = sa.create_engine(registry.url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()
