"""Is it still working? A process that says nothing, or says only that it is idle, is ended in bounded time instead of waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
        self.error: PeError | None = None  # the last that it named

    def look(self) -> None:
        """Read what is new. Raises infrastructure where the process is silent, or has not got on, for too long."""
        for event in self._news():
            self._heard = self._clock()
            idle_s = event.get("idle_s", 0.0)
            if event["event"] == "error":
                self.error = PeError.from_json(event["error"])
            elif idle_s > self._limits.stall_minutes * 60:
                raise self._lost(f"it lives, but has not got on for {_said(idle_s)}", "compute.stall_minutes")
        silent_s = self._clock() - self._heard
        if silent_s > self._limits.silence_minutes * 60:
            raise self._lost(f"nothing was heard of it for {_said(silent_s)}", "compute.silence_minutes")

    def _news(self) -> Iterator[dict[str, Any]]:
        for offset, event in read_feed(self._feed, offset=self._offset):
            self._offset = offset
            yield event

    def _lost(self, how: str, key: str) -> PeError:
        return PeError(Kind.INFRASTRUCTURE, f"the working process was ended: {how}", where=key, hint=AGAIN)


def _said(duration_s: float) -> str:
    return f"{duration_s:.0f} s" if duration_s < 120 else f"{duration_s / 60:.0f} min"
