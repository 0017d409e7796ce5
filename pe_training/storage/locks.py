"""One worker at a time on one thing, by kernel lock: it cannot outlive the process that holds it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pe_training.core.errors import Kind, PeError
from pe_training.storage.durable import world_errors

PATIENCE_S = 3.0  # a holder that is just ending needs a moment
_POLL_S = 0.1


@contextmanager
def exclusive(path: Path, *, busy: str | None = None, patience_s: float = PATIENCE_S, doing: str = "") -> Iterator[None]:
    """Hold the lock file ``path``. With ``busy`` (a message) refuse when it is held for ``patience_s``; without, wait.

    ``doing``: a word for what it is held for, which :func:`holder` tells others.
    """
    with world_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if busy is None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        else:
            _lock_or_refuse(descriptor, busy=busy, patience_s=patience_s)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {doing}".strip().encode(), 0)
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Holder:
    """Who holds a lock. ``doing``: what for, if it was said."""

    pid: int
    doing: str


def holder(path: Path) -> Holder | None:
    """Who holds the lock file ``path``, or ``None`` where nobody does."""
    if not path.exists():
        return None
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid, _, doing = _named(descriptor).partition(" ")
        return Holder(int(pid), doing) if pid.isdigit() else None
    finally:
        os.close(descriptor)
    return None


def _named(descriptor: int) -> str:
    return os.pread(descriptor, 80, 0).decode(errors="replace").strip()


def _lock_or_refuse(descriptor: int, *, busy: str, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = _named(descriptor).partition(" ")[0] or "unknown"
                hint = f"process {holder} holds it; wait for it to end, or stop it (its state is saved) and run this again"
                raise PeError(Kind.BUSY, busy, hint=hint) from None
            time.sleep(_POLL_S)
