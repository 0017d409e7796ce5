"""Open the registry's database: durable settings on SQLite, a schema brought up to date once, under a lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from pe_training.core.errors import Kind, PeError
from pe_training.storage.ledger import listen
from pe_training.storage.locks import exclusive
from pe_training.storage.tables import SCHEMA_VERSION

BUSY_TIMEOUT_MS = 15_000
MIGRATIONS = Path(__file__).parent / "migrations"


def open_database(url: str, *, lock: Path) -> sa.Engine:
    """Engine for ``url`` with the newest schema. ``lock`` keeps first users apart while they create it."""
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = _engine(parsed)
    if parsed.get_backend_name() == "sqlite":
        sa.event.listen(engine, "connect", _configure_sqlite)
        sa.event.listen(engine, "begin", _begin_immediate)
    listen(engine)
    with database_errors(url), exclusive(lock):  # the first look too: switching a fresh file to WAL does not wait for others
        if _schema_version(engine) != SCHEMA_VERSION:
            _migrate(engine)
    return engine


def _parsed(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except ArgumentError:
        hint = "write it like sqlite:////folder/registry.sqlite or postgresql+psycopg2://user@host/name"
        raise PeError(Kind.INPUT, "is not a database URL", where="PE_DATABASE_URL", hint=hint) from None


def _engine(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(url)
    except (ModuleNotFoundError, NoSuchModuleError):
        hint = "install the driver that the URL names, or unset PE_DATABASE_URL to use SQLite"
        raise PeError(Kind.INPUT, f"no driver for {url.drivername} is installed", where="PE_DATABASE_URL", hint=hint) from None


@contextmanager
def database_errors(where: str) -> Iterator[None]:
    """Turn a database that is locked, full, corrupt or away into one :class:`PeError`."""
    try:
        yield
    except OverflowError as error:  # SQLite's driver, of an integer beyond 64 bits
        raise PeError(Kind.INPUT, "this number is larger than any that is stored", hint="copy it from the list it came from") from error
    except DBAPIError as error:
        reason = str(error.orig).splitlines()[0]
        hints = {
            "locked": "another process is writing for a long time; run this again",
            "full": "free some disk space and run this again; nothing was half-written",
            "malformed": "restore the registry from a backup; do not delete the artifacts",
            "not a database": "restore the registry from a backup; do not delete the artifacts",
            "readonly": "PE_HOME must be writable",
        }
        hint = next((text for word, text in hints.items() if word in reason), "check PE_DATABASE_URL and that the database runs")
        safe = sa.make_url(where).render_as_string(hide_password=True) if "://" in where else where
        raise PeError(Kind.INFRASTRUCTURE, f"the database failed: {reason}", where=safe, hint=hint) from error


def _configure_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's "begin" event starts transactions instead
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: sa.Connection) -> None:
    """Take the write lock at the start, so that a read-then-write transaction can never fail half way for want of it."""
    mode = "DEFERRED" if connection.get_execution_options().get("read_only") else "IMMEDIATE"
    connection.exec_driver_sql(f"BEGIN {mode}")


def _schema_version(engine: sa.Engine) -> str | None:
    with engine.connect().execution_options(read_only=True) as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(engine: sa.Engine) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
