"""Data-parallel training on one machine: a process a rank, which live and die together.

The process that was asked to train holds the run's lock and starts the ranks; it never trains itself, so that it can still tell what
happened when one of them is killed. The ranks find each other as torchrun's do, by the same variables, and
``torchrun -m pe_training.training.rank RUN MANIFEST`` starts them across machines.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from pe_training.core.errors import Kind, PeError
from pe_training.settings import environment_of_a_part, inherited
from pe_training.storage.state import State
from pe_training.training.feed import FEED_FILE, Feed, read_feed
from pe_training.training.process import LOG_FILE, died, rank_folder

Answer = TypeVar("Answer")
_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
LAUNCHER = "PE_LAUNCHER"
_POLL_S = 0.05
SAVE_GRACE_S = 170.0  # for the rank that writes, where all have agreed to end; less than what the target grants all of them
CRASH_GRACE_S = 2.0  # for others to say what they saw when one is gone
_AGREED = {Kind.STOPPED, Kind.BUDGET, Kind.DIVERGENCE}


@dataclass(frozen=True)
class Place:
    """Which of how many processes this one is."""

    rank: int = 0
    ranks: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0


def place() -> Place:
    """This process's, from the variables that torchrun and :func:`launch` set; alone without them. Raises input for some without others."""
    found = inherited(_VARIABLES)
    if "RANK" not in found:
        return Place()
    values = [found.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")]
    if not all(value.isdecimal() for value in values):
        message = "RANK, WORLD_SIZE and LOCAL_RANK must be numbers, all three, as torchrun sets them"
        raise PeError(Kind.INPUT, message, where="the environment", hint="unset RANK to train alone, or start the ranks with torchrun")
    rank, ranks, local_rank = map(int, values)
    return Place(rank=rank, ranks=ranks, local_rank=local_rank)


def launcher() -> int | None:
    """The process that started this rank, if it was :func:`launch`."""
    found = inherited([LAUNCHER])
    return int(found[LAUNCHER]) if found else None


def launch(arguments: Sequence[str], *, ranks: int, state: State, feed: Feed) -> None:
    """Run all ranks to their end. Raises the :class:`PeError` of the one that is the cause; then none is left running."""
    folder = state.settings.run_folder(arguments[0])
    feeds = [_Listener(rank_folder(folder, rank)) for rank in range(ranks)]
    children: list[subprocess.Popen[bytes]] = []
    with _listening() as requests, _ended(children):
        _start(children, arguments, ranks=ranks)
        codes = _wait(children, feeds, feed, requests=requests)
    errors = {
        rank: feeds[rank].error or died(code, what=f"rank {rank} of the training", log=str(rank_folder(folder, rank) / LOG_FILE))
        for rank, code in codes.items()
    }
    if errors:
        raise min(errors.items(), key=lambda found: (codes[found[0]] > 0, found[1].kind is Kind.INFRASTRUCTURE, found[0]))[1]


class _Listener:
    """What one rank has said since it was started."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FEED_FILE
        self._offset = self._path.stat().st_size if self._path.exists() else 0
        self.error: PeError | None = None

    def news(self) -> list[dict[str, Any]]:
        """Events that are new."""
        found = list(read_feed(self._path, offset=self._offset))
        for self._offset, event in found:
            if event["event"] == "error":
                self.error = PeError.from_json(event["error"])
        return [event for _, event in found]


def from_leader(here: Place, ask: Callable[[], Answer]) -> Answer:
    """What the leading rank answers, on every rank: what only one may decide, or may see a moment earlier than the others."""
    if here.ranks == 1:
        return ask()
    import torch.distributed

    box: list[Any] = [ask() if here.leads else None]
    torch.distributed.broadcast_object_list(box, src=0)
    answer: Answer = box[0]
    return answer


def _start(children: list[subprocess.Popen[bytes]], arguments: Sequence[str], *, ranks: int) -> None:
    """Start each rank, and add it to ``children`` at once."""
    port = _free_port()
    for rank in range(ranks):
        values = (rank, rank, ranks, ranks, "127.0.0.1", port)
        place = {name: str(value) for name, value in zip(_VARIABLES, values, strict=True)} | {LAUNCHER: str(os.getpid())}
        command = [sys.executable, "-m", "pe_training.training.rank", *arguments]
        children.append(subprocess.Popen(command, env=environment_of_a_part() | place, stdin=subprocess.DEVNULL))


@contextmanager
def _ended(children: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """None of them is left running behind this."""
    try:
        yield
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait()


def _wait(
    children: Sequence[subprocess.Popen[bytes]], feeds: Sequence[_Listener], feed: Feed, *, requests: list[signal.Signals]
) -> dict[int, int]:
    """Exit codes of the ranks that failed by themselves, once all have ended or the others had time to; empty if all did well.

    A request to stop goes to every rank; they agree on the step at which they save. One that was killed, or that names a reason, is the
    cause; that it lost its peer is what the others say.
    """
    failed: dict[int, int] = {}
    deadline = float("inf")
    while True:
        while requests:
            number = requests.pop()
            for child in children:
                child.send_signal(number)
        for event in feeds[0].news():
            if event["event"] != "alive":
                feed.tell(event["event"], event)
        codes = [child.poll() for child in children]
        for rank, code in enumerate(codes):
            if code and rank not in failed:
                failed[rank] = code
                feeds[rank].news()
                error = feeds[rank].error
                agreed = error is not None and error.kind in _AGREED
                deadline = min(deadline, time.monotonic() + (SAVE_GRACE_S if agreed else CRASH_GRACE_S))
        if all(code is not None for code in codes) or time.monotonic() > deadline:
            return failed
        time.sleep(_POLL_S)


@contextmanager
def _listening() -> Iterator[list[signal.Signals]]:
    """Requests to stop that came meanwhile: from before the first rank is started, or one could come between two and be lost."""
    requests: list[signal.Signals] = []

    def note(number: int, _frame: FrameType | None) -> None:
        requests.append(signal.Signals(number))

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
