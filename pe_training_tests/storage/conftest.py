"""A fresh registry for the tests of storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pe_training.storage.registry import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = Registry(f"sqlite:///{tmp_path}/r.sqlite", lock=tmp_path / "lock")
    yield opened
    opened.close()
