"""One finished smoke run, shared by the tests that only look at it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pe_training_tests.e2e.chain import SMOKE, Ended, pe


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """``(PE_HOME, first run)``. Never change this home: take :func:`own_home`."""
    home = tmp_path_factory.mktemp("finished")
    return home, pe("run", SMOKE, "--json", home=home)


@pytest.fixture
def own_home(finished: tuple[Path, Ended], tmp_path: Path) -> Path:
    """A copy of the finished home that a test may damage."""
    return Path(shutil.copytree(finished[0], tmp_path / "home", symlinks=True))
