"""Is it still working? A process that says nothing, or says only that it is idle, is ended in bounded time instead of waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pe_training.core.errors import Kind, PeError
from pe_training.manifests.schema import Compute
from pe_training.training.feed import read_feed

AGAIN = "its last saved state is kept: run the same command again to continue"


class Watch:
    """Follows the feed of a process from where it was when the watch began."""

    def __init__(self, feed: Path, *, limits: Compute, clock: Callable[[], float] = time.monotonic) -> None:
        self._feed, self._limits, self._clock = feed, limits, clock
        self._offset = feed.stat().st_size if feed.exists() else 0
        self._heard = clock()
        self._idle_s = 0.0
        self.error: PeError | None = None  # that it ended with, unless it went on
        self.ended = False  # it said that it was done, or named its error

    def look(self) -> None:
        """Read what is new. Raises infrastructure where the process is silent, or has not got on, for too long."""
        self.read()
        if self._idle_s > self._limits.stall_minutes * 60:
            raise self._lost(f"it lives, but has not got on for {_said(self._idle_s)}", "compute.stall_minutes")
        silent_s = self._clock() - self._heard
        if silent_s > self._limits.silence_minutes * 60:
            raise self._lost(f"nothing was heard of it for {_said(silent_s)}", "compute.silence_minutes")

    def read(self) -> None:
        """Take in what is new."""
        for offset, event in read_feed(self._feed, offset=self._offset):
            self._offset = offset
            self._heard, self._idle_s = self._clock(), event.get("idle_s", 0.0)
            if event["event"] != "alive":
                self.error = PeError.from_json(event["error"]) if event["event"] == "error" else None
                self.ended = event["event"] in {"error", "done"}

    def _lost(self, how: str, key: str) -> PeError:
        return PeError(Kind.INFRASTRUCTURE, f"the working process was ended: {how}", where=key, hint=AGAIN)


def _said(duration_s: float) -> str:
    return f"{duration_s:.0f} s" if duration_s < 120 else f"{duration_s / 60:.0f} min"
