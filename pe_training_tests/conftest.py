"""What all tests share: how Hypothesis looks for counterexamples, and one finished smoke run for the tests that only look at it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pe_training.datasets.accept import accept
from pe_training.evaluation.suites import suite_prompts
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training_tests.e2e.chain import SMOKE, Ended, pe
from pe_training_tests.homes import copy_home
from pe_training_tests.postgres_server import PostgresServer, postgres_server
from pe_training_tests.s3_server import S3Server, s3_server
from pe_training_tests.training.runs import RELEASE

# Time is no property here: an example that syncs a file on a busy machine takes as long as it takes.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
# Two tests share two cores: a thread that spins for work while the other's waits costs both five times the time.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """``(PE_HOME, first run)``, one for all of xdist's workers. Never change this home: take :func:`own_home`."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    home, ended = base / "finished", base / "finished.json"
    with (base / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ended.exists():
            ended.write_text(json.dumps(asdict(pe("run", SMOKE, "--json", home=home))))
    return home, Ended(**json.loads(ended.read_text()))


@pytest.fixture(scope="session")
def accepting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that holds the sample release and nothing else. Never change it: take :func:`ready_home`."""
    state = State(Settings(home=tmp_path_factory.mktemp("accepting")))
    accept(RELEASE, suites=suite_prompts(state.settings.suite_folder), state=state).sealed()
    return state.settings.root


@pytest.fixture
def ready_home(accepting: Path, tmp_path: Path) -> Path:
    """A home where training can begin at once, for a test that is not about accepting the data."""
    return copy_home(accepting, tmp_path / "home")


@pytest.fixture
def own_home(finished: tuple[Path, Ended], tmp_path: Path) -> Path:
    """A copy of the finished home that a test may damage."""
    return copy_home(finished[0], tmp_path / "home")


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: of two workers neither shall be left with the longest file at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
