"""Bytes of many rows in a nameless file: memory does not grow with them, and they vanish with their last reader."""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from pathlib import Path

from pe_training.storage.durable import world_error, world_errors

BUFFER_BYTES = 1 << 20


class Spool:
    """Bytes of many rows, appended once and read by place, in a file without a name that ends with this object."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir())
        self._buffer = bytearray()
        with world_errors(self._folder):
            self._fd, name = tempfile.mkstemp(prefix="pe-rows-", dir=self._folder)
            weakref.finalize(self, os.close, self._fd)
            Path(name).unlink()

    def write(self, data: bytes) -> None:
        """Append."""
        self._buffer += data
        if len(self._buffer) >= BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Make what was written readable."""
        left = memoryview(bytes(self._buffer))
        self._buffer.clear()
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as error:
            raise world_error(error, doing="cannot write the working copy of the rows", path=self._folder) from error

    def map(self) -> mmap.mmap | bytes:
        """All bytes, mapped into memory and not read."""
        size = os.fstat(self._fd).st_size
        return mmap.mmap(self._fd, size, prot=mmap.PROT_READ) if size else b""

    def read(self, start: int, size: int) -> bytes:
        """``size`` bytes from ``start``."""
        data = os.pread(self._fd, size, start)
        assert len(data) == size, (len(data), size)
        return data
