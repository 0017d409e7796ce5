"""Homes of their own for tests that change what they find there."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path


def copy_home(home: Path, to: Path) -> Path:
    """A copy at ``to`` of a home that no process writes to just now."""
    gc.collect()  # a registry that nobody holds any more closes its database, whose log would vanish under the copy
    return Path(shutil.copytree(home, to, symlinks=True))
