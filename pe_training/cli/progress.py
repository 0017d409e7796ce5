"""The progress of a run on the terminal: bars where a person watches, plain lines where a log does.

It reads the feeds that the working processes write; they do not know that it exists.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pe_training.cli.output import stderr
from pe_training.core.progress import listening

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

POLL_S = 0.2
LINE_EVERY_S = 10
_TITLES = {
    "load": "loading the model",
    "reference": "asking the reference model",
    "refer": "reference answers",
    "compare": "comparing",
    "train": "training",
    "validate": "held-out loss",
    "generate": "asking the model",
    "score": "scoring",
}


@contextmanager
def watching(folders: Path, first: str) -> Iterator[None]:
    """Show the feed in ``folders/first``, and then the feed of the checkpoint that it ends with, until the body is done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = stderr()
    stop = threading.Event()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[numbers]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        watcher = _Watcher(bars, folders, first)
        thread = threading.Thread(target=watcher.follow, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@contextmanager
def counting() -> Iterator[None]:
    """Show what rooms say of their progress, until the body is done: a bar with the time that is left, or a line now and then."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = stderr()
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars, listening(_Counter(bars)):
        yield


class _Counter:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._next_line = time.monotonic() + LINE_EVERY_S

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done)
        if self._bars.disable and time.monotonic() > self._next_line:
            self._next_line = time.monotonic() + LINE_EVERY_S
            left = self._bars.tasks[self._tasks[what]].time_remaining
            self._bars.console.print(f"{what}: {done / total:.0%}" + (f", about {left:.0f} s left" if left else ""), markup=False)


class _Watcher:
    def __init__(self, bars: Progress, folders: Path, first: str) -> None:
        self._bars, self._folders = bars, folders
        self._offsets: dict[str, int] = {first: _end(folders / first)}
        self._tasks: dict[str, TaskID] = {}

    def follow(self, stop: threading.Event) -> None:
        """Poll until told to stop, then once more for what came last."""
        done = False
        while not done:
            done = stop.wait(POLL_S)
            for name in list(self._offsets):
                self._read(name)

    def _read(self, name: str) -> None:
        from pe_training.training.feed import FEED_FILE, read_feed

        for offset, event in read_feed(self._folders / name / FEED_FILE, offset=self._offsets[name]):
            self._offsets[name] = offset
            self._show(event)

    def _show(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "done" and "checkpoint" in event:
            self._offsets.setdefault(event["checkpoint"], _end(self._folders / event["checkpoint"]))
        elif kind in {"refer", "train", "validate", "generate"}:
            title = event.get("title") or _TITLES[kind]
            self._bar(title, completed=event["step"], total=event["total"], numbers=_numbers(event))
        elif kind == "phase" and event["name"] in _TITLES and event["name"] != "train":
            self._line(_TITLES[event["name"]])
        elif kind == "note":
            self._line(event["text"])

    def _bar(self, title: str, *, completed: int, total: int, numbers: str) -> None:
        if title not in self._tasks:
            self._tasks[title] = self._bars.add_task(title, total=total, numbers=numbers)
        self._bars.update(self._tasks[title], completed=completed, total=total, numbers=numbers)
        if self._bars.disable and (completed == total or (title == "training" and completed % 10 == 0)):
            self._line(f"{title}: {completed} of {total}  {numbers}")

    def _line(self, text: str) -> None:
        self._bars.console.print(text, markup=False)


def _numbers(event: dict[str, Any]) -> str:
    parts = []
    if "loss" in event:
        parts.append(f"loss {event['loss']:.3f}")
    if "val_loss" in event:
        parts.append(f"held-out {event['val_loss']:.3f}")
    if "targets_per_s" in event:
        parts.append(f"{event['targets_per_s']:.0f} tokens/s")
    if event.get("eta_s"):
        parts.append(f"{event['eta_s']:.0f} s left")
    return ", ".join(parts)


def _end(folder: Path) -> int:
    from pe_training.training.feed import FEED_FILE

    path = folder / FEED_FILE
    return path.stat().st_size if path.exists() else 0
