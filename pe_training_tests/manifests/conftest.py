"""What tests of pinned references share."""

from __future__ import annotations

from pathlib import Path

import pytest

from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training_tests.lineage import recalling


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A home that holds two accepted datasets, ``one`` and ``two``."""
    found = State(Settings(home=tmp_path / "home"))
    for name in ("one", "two"):
        recalling.accepted(found, tmp_path, name)
    return found
