"""What all tests share: how Hypothesis looks for counterexamples, and one finished smoke run for the tests that only look at it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pe_training_tests.e2e.chain import SMOKE, Ended, pe
from pe_training_tests.postgres_server import PostgresServer, postgres_server
from pe_training_tests.s3_server import S3Server, s3_server

# Time is no property here: an example that syncs a file on a busy machine takes as long as it takes.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
# Two tests share two cores: a thread that spins for work while the other's waits costs both five times the time.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """``(PE_HOME, first run)``. Never change this home: take :func:`own_home`."""
    home = tmp_path_factory.mktemp("finished")
    return home, pe("run", SMOKE, "--json", home=home)


@pytest.fixture
def own_home(finished: tuple[Path, Ended], tmp_path: Path) -> Path:
    """A copy of the finished home that a test may damage."""
    return Path(shutil.copytree(finished[0], tmp_path / "home", symlinks=True))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL server for all tests that need one."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One S3 server for all tests that need one."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(s3_session: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A real S3 server, which this process reaches by its environment."""
    import s3fs

    for name, value in s3_session.environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # it keeps the environment that it was opened in
    yield s3_session
    s3fs.S3FileSystem.clear_instance_cache()
