"""What every working process does around its work: quiet libraries, a log file, errors that reach whoever started it."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pe_training.core.errors import Kind, PeError
from pe_training.settings import Settings, inherited
from pe_training.storage.durable import world_error, world_errors
from pe_training.storage.state import State
from pe_training.training.feed import Feed

if TYPE_CHECKING:
    from dagster_pipes import PipesContext

LOG_FILE = "process.log"
_STARTED_BY_DAGSTER = "DAGSTER_PIPES_CONTEXT"
PIPES_LOG_EVERY_STEPS = 10
_OURS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Work:
    """What the work is handed: its arguments (ids), storage and its feed."""

    arguments: Sequence[str]
    state: State
    feed: Feed


def rank_folder(folder: Path, rank: int) -> Path:
    """Where one of several ranks writes its feed and its log: the first in the run's own folder."""
    return folder / f"rank-{rank}" if rank else folder


def run_process(arguments: Sequence[str], *, work: Callable[[Work], None]) -> int:
    """Do ``work`` on ``arguments`` (the first is the id that names the folder); returns the exit code."""
    return run_part(arguments, work=work, rank=0)


def run_part(arguments: Sequence[str], *, work: Callable[[Work], None], rank: int) -> int:
    """The same as one of several ranks."""
    settings = Settings()
    folder = rank_folder(settings.run_folder(arguments[0]), rank)
    with world_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _send_output_to(folder / LOG_FILE)
    with _pipes() as pipes:
        with world_errors(folder):
            feed = PipedFeed(folder, pipes=pipes)
        try:
            with feed.beating():
                work(Work(arguments=arguments, state=State(settings), feed=feed))
        except PeError as error:
            return _failed(error, feed)
        except Exception as error:  # noqa: BLE001 (the top of a process: whatever failed must be named to its parent)
            return _failed(_named(error, log=folder / LOG_FILE), feed)
    return 0


def _failed(error: PeError, feed: Feed) -> int:
    """Write down the failure that is being handled, as far as the disk still takes it; its exit code."""
    with suppress(OSError):
        traceback.print_exc()
    with suppress(OSError):
        feed.error(error)
    return error.kind.exit_code


def _named(error: Exception, *, log: Path) -> PeError:
    """What a parent is told of an exception that nobody expected."""
    message = f"{type(error).__name__} in the working process"
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        return world_error(error, doing="the operating system refused", path=log.parent)
    if isinstance(error, MemoryError):
        return PeError(Kind.OUT_OF_MEMORY, message, where=str(log), hint="that log has the details")
    if isinstance(error, _OURS):
        hint = "that log has the details; running it again will not help: report it"
        return PeError(Kind.BUG, message, where=str(log), hint=hint)
    return PeError(Kind.INFRASTRUCTURE, message, where=str(log), hint="that log has the details")


def died(code: int, *, what: str, log: str) -> PeError:
    """How a process ended that could not say it itself: a negative ``code`` is the signal that ended it.

    One that is asked to stop before it listens has done nothing that it could save, and was stopped all the same.
    """
    again = "run the same command again: it continues from the last saved state"
    if -code in {signal.SIGTERM, signal.SIGINT}:
        return PeError(Kind.STOPPED, f"{what} was stopped by {signal.Signals(-code).name}", hint=again)
    if code < 0:
        hint = f"{again}; if it happens again, the machine may be out of memory" if -code == signal.SIGKILL else again
        return PeError(Kind.INFRASTRUCTURE, f"{what} was killed by {signal.Signals(-code).name}", where=log, hint=hint)
    return PeError(
        Kind.INFRASTRUCTURE, f"{what} ended with exit code {code} and gave no reason", where=log, hint="that log has the details"
    )


class PipedFeed(Feed):
    """A feed whose milestones also reach Dagster's event log."""

    def __init__(self, folder: Path, *, pipes: PipesContext | None) -> None:
        super().__init__(folder)
        self._pipes = pipes

    def emit(self, event: str, **fields: Any) -> None:
        """Write one event, and tell Dagster."""
        super().emit(event, **fields)
        self.tell(event, fields)

    def tell(self, event: str, fields: dict[str, Any]) -> None:
        """Every tenth step, phases and notes."""
        super().tell(event, fields)
        if self._pipes is not None and self._worth_telling(event, fields):
            numbers = ", ".join(
                f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                for name, value in fields.items()
                if name != "event"
            )
            self._pipes.log.info(f"{event}: {numbers}")

    @staticmethod
    def _worth_telling(event: str, fields: dict[str, Any]) -> bool:
        if event in {"train", "generate"}:
            return fields["step"] % PIPES_LOG_EVERY_STEPS == 0 or fields["step"] == fields["total"]
        return event in {"phase", "note", "data", "saved", "done"}


@contextmanager
def _pipes() -> Iterator[PipesContext | None]:
    if not inherited([_STARTED_BY_DAGSTER]):
        yield None
        return
    from dagster_pipes import open_dagster_pipes  # only here: training needs no Dagster

    with open_dagster_pipes() as context:
        yield context


def end_with_parent(number: signal.Signals, *, parent: int | None = None) -> None:
    """Ask Linux for a signal when whoever started this dies, so that no orphan goes on spending. ``parent``: who that was."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if parent is not None and os.getppid() != parent:  # it died before it could be asked for
        os.kill(os.getpid(), number)


def _send_output_to(path: Path) -> None:
    """Libraries write banners and bars to both streams; they belong in a file, not on an operator's terminal."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", force=True)
