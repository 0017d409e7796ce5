"""A record to store, and a process of its own to store it in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.core.records import Attachment, Record

RESTORE = "restore the registry from a backup"


class Thing(Record):
    kind: ClassVar[str] = "ck"
    number: int
    question: str | None = None
    parent: str | None = None
    pages: tuple[Attachment, ...] = ()

    def key(self) -> str | None:
        return self.question

    def parents(self) -> dict[str, str]:
        return {"from": self.parent} if self.parent else {}

    def files(self) -> tuple[Attachment, ...]:
        return self.pages

    def label(self) -> str:
        return "even" if self.number % 2 == 0 else "odd"


PAGE = Attachment(path="page", digest="sha256:" + "0" * 64, size_bytes=1)

# The same record, written in a process of its own.
CHILD = """
import json, os, resource, signal, sys
from pathlib import Path
from pe_training.core.errors import PeError
from pe_training.settings import Settings
from pe_training.storage.registry import Registry
from pe_training.storage.state import State
from pe_training_tests.storage.things import PAGE, Thing
"""


def refused(call: Callable[[], object]) -> tuple[Kind, str]:
    """How ``call`` was refused."""
    with pytest.raises(PeError) as caught:
        call()
    return caught.value.kind, str(caught.value)


def in_a_child(code: str, folder: Path, **variables: str) -> Any:
    """What a child process that runs ``code`` printed, as JSON."""
    child = [sys.executable, "-c", CHILD + code, str(folder)]
    done = subprocess.run(child, capture_output=True, text=True, check=False, timeout=300, env=os.environ | variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
