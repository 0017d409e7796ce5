"""The live progress of a run: JSON lines in its folder, written by the process that works, read by whoever watches.

A file and not a socket, because watchers come and go (the terminal that started the run, a second terminal, the asset in
the UI) and the work must not notice. It is talk, not evidence: losing it loses nothing.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pe_training.core.errors import PeError

FEED_FILE = "progress.jsonl"
HEARTBEAT_S = 5.0


class Feed:
    """Appends events: ``{"event": ..., ...}``, numbers and names only, never text of conversations."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FEED_FILE
        self._file = self.path.open("a", buffering=1, encoding="utf-8")
        self._turn = threading.Lock()
        self.last_word = time.monotonic()  # when the work itself last said something

    def emit(self, event: str, **fields: Any) -> None:
        """Write one event; visible to readers at once."""
        self.last_word = time.monotonic()
        self._write({"event": event, **fields})

    @contextmanager
    def beating(self) -> Iterator[None]:
        """While inside, say every few seconds that this process lives, and for how long the work has said nothing."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(HEARTBEAT_S):
                with suppress(OSError):  # a full disk is told of by the work, when it must write
                    self._write({"event": "alive", "idle_s": round(time.monotonic() - self.last_word, 1)})

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _write(self, event: dict[str, Any]) -> None:
        with self._turn:
            self._file.write(json.dumps(event) + "\n")

    def tell(self, event: str, fields: dict[str, Any]) -> None:
        """Pass on what another process has written to the same file. Here nobody else listens."""
        self.last_word = time.monotonic()

    def error(self, error: PeError) -> None:
        """Write the failure that ends the work."""
        self.emit("error", error=error.to_json())


def read_feed(path: Path, *, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Complete events from a byte ``offset`` on, each with the offset behind it. A torn last line is left for later."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                event = json.loads(line)
            except ValueError:  # the end of a writer that was killed, and what the next one has written behind it
                continue
            yield offset, event


class Pace:
    """Units per second and time left, from what this process itself has done."""

    def __init__(self, *, total: int, done: int) -> None:
        self._total, self._start, self._began = total, done, time.monotonic()

    def eta_s(self, done: int) -> float:
        """Seconds until ``total`` at the mean pace so far."""
        worked = done - self._start
        return (time.monotonic() - self._began) / worked * (self._total - done) if worked else float(self._total)

    def rate(self, amount: float) -> float:
        """``amount`` per second since the start."""
        return amount / max(time.monotonic() - self._began, 1e-9)
