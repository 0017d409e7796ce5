"""Commit a file so that it survives a power cut, or leave no trace.

`rename` alone is not enough: without a sync of the file the name can point at zeroes after power loss, and without a sync
of the folder the name itself can be gone. The order here (temporary name in the same folder, write, sync, rename, sync the
folder) is the shortest one that survives a kill at every system call.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pe_training.core.errors import Kind, PeError

TEMPORARY_PREFIX = ".writing-"
FLUSH_BYTES = 1 << 25
ABANDONED_S = 24 * 3600.0  # no writer is silent for so long
_sync_data = getattr(os, "fdatasync", os.fsync)  # which macOS lacks
_WRITABLE = "set PE_HOME to a folder that can be written"
_HINTS = {
    errno.ENOSPC: "free some space and run the same command again; nothing was half-written",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EACCES: f"check the permissions, or {_WRITABLE}",
    errno.EPERM: f"check the permissions, or {_WRITABLE}",
    errno.EROFS: f"the disk is mounted read-only; {_WRITABLE}",
    errno.ENOENT: _WRITABLE,
    errno.ENOTDIR: f"a file is in the way; {_WRITABLE}",
    errno.EEXIST: f"a file is in the way; {_WRITABLE}",
}


@contextmanager
def world_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals below into one :class:`PeError` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise world_error(error, doing="cannot write", path=path) from error


def world_error(error: OSError, *, doing: str, path: Path | None = None) -> PeError:
    """The operating system's refusal as an error for people; ``path`` where the error itself names none."""
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    hint = _HINTS.get(error.errno or 0, "the disk or network below it failed")
    return PeError(Kind.INFRASTRUCTURE, f"{doing}: {reason}", where=str(error.filename or path or "") or None, hint=hint)


def write_durably(path: Path, write: Callable[[BinaryIO], object], *, mode: int = 0o644) -> None:
    """Create or replace ``path`` with what ``write`` writes: wholly and durably, or not at all."""
    with world_errors(path):
        write_named(path.parent, write, name=lambda: path, mode=mode)


def write_named(folder: Path, write: Callable[[BinaryIO], object], *, name: Callable[[], Path], mode: int = 0o644) -> Path:
    """The same for a file whose path below ``folder`` is known only when it is written, such as one named by its digest. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        path = name()
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            sync_folder(path.parent.parent)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return path


@contextmanager
def flushed(file: BinaryIO) -> Iterator[Callable[[int], None]]:
    """Have a large file's bytes reach the disk while more are written, so that little is left for the last sync. Raises OSError.

    Gives what is to be called with the number of bytes after each write. A sync that failed is an error here: a later one may succeed
    although those bytes are lost.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="flusher") as beside:
        flushing: list[Future[None]] = []
        waiting = 0

        def written(size_bytes: int) -> None:
            nonlocal waiting
            waiting += size_bytes
            if waiting >= FLUSH_BYTES:
                file.flush()
                flushing.append(beside.submit(_sync_data, file.fileno()))
                waiting = 0

        yield written
        for done in flushing:
            done.result()


def forget_abandoned(folder: Path) -> None:
    """Remove the temporary files in ``folder`` that nobody has written to for a day: their writers were killed."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(FileNotFoundError):
            if path.is_file() and time.time() - path.stat().st_mtime > ABANDONED_S:
                path.unlink()


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which is called ``path`` once the body is done: wholly and durably, or not at all.

    Where another process was faster, what it made stays: for paths that are named after their content.
    """
    with world_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f"{TEMPORARY_PREFIX}{path.name[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
        temporary.mkdir()
    try:
        yield temporary
        with world_errors(path):
            for place in sorted(temporary.rglob("*"), reverse=True):  # what lies in a folder before the folder
                sync_folder(place) if place.is_dir() else _sync_file(place)
            sync_folder(temporary)
            try:
                temporary.rename(path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not path.is_dir():
                    raise
            sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
