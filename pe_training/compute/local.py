"""Run a working process on this machine, watched through Dagster Pipes.

Training and evaluation import torch, need their own memory and must survive the webserver; the asset that asks for them
must not. So each is a process of its own: started from a list, with an environment we choose, ended with a request to save,
and asked for its error in words rather than for a traceback.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dagster import (
    AssetExecutionContext,
    DagsterExecutionInterruptedError,
    PipesTempFileContextInjector,
    PipesTempFileMessageReader,
    open_pipes_session,
)

from pe_training.compute.attempts import CancelledError
from pe_training.compute.watch import Watch
from pe_training.core.errors import PeError
from pe_training.costs.ledger import Step, settle
from pe_training.costs.rates import load_rates
from pe_training.manifests.schema import Compute
from pe_training.settings import NEIGHBOURLY, QUIET, inherited
from pe_training.storage.locks import Holder, holder
from pe_training.storage.state import State
from pe_training.training.feed import FEED_FILE
from pe_training.training.process import LOG_FILE, died

SAVE_GRACE_S = 180.0
POLL_S = 0.2


class Target(Protocol):
    """A place that can do work."""

    def run(
        self, module: str, arguments: Sequence[str], *, step: Step, compute: Compute, context: AssetExecutionContext, state: State
    ) -> None:
        """Do the work of ``python -m module arguments`` to its end. Raises the :class:`PeError` it ended with."""


class LocalTarget:
    """This machine."""

    def run(
        self, module: str, arguments: Sequence[str], *, step: Step, compute: Compute, context: AssetExecutionContext, state: State
    ) -> None:
        """See :class:`Target`. Work that is already under way, because whoever asked for it was lost, is picked up again."""
        folder = state.settings.run_folder(arguments[0])
        job = _Job(Watch(folder / FEED_FILE, limits=compute), log=str(folder / LOG_FILE), step=step)
        lock = state.settings.root / "locks" / f"{arguments[0]}.lock"
        rates = load_rates(state.settings.rates_file)

        def settle_for(duration_s: float) -> None:
            settle(state, subject=arguments[0], step=step, instance=compute.instance, duration_s=duration_s, rates=rates)

        if (held := holder(lock)) is not None and _does(held, module):
            context.log.info(f"picked up the work of process {held.pid}, which is under way")
            already_s = max(0.0, time.time() - lock.stat().st_mtime)  # a clock that was set back gives no money back
            picked_up = time.monotonic()
            job.follow(held, lock)
            if not job.watch.ended:  # killed: it had no chance to settle itself
                settle_for(already_s + time.monotonic() - picked_up)
            if job.ended_badly:
                raise job.failure(0)
        began = time.monotonic()
        code = job.run([sys.executable, "-m", module, *arguments], context=context, environment=_environment(state))
        if code < 0:
            settle_for(time.monotonic() - began)
        if code != 0:
            raise job.failure(code)


@dataclass
class _Job:
    watch: Watch
    log: str
    step: str
    cancelled: bool = False
    lost: PeError | None = None  # why it was given up

    @property
    def ended_badly(self) -> bool:
        """Whether there is an error to tell of work that was followed."""
        return self.cancelled or (self.lost or self.watch.error) is not None

    def failure(self, code: int) -> PeError:
        """What it ended with."""
        error = self.lost or self.watch.error or died(code, what=self.step, log=self.log)
        return CancelledError(error.kind, error.message, where=error.where, hint=error.hint) if self.cancelled else error

    def run(self, command: Sequence[str], *, context: AssetExecutionContext, environment: Mapping[str, str]) -> int:
        """Start it, watch it to its end; its exit code."""
        with open_pipes_session(
            context=context, context_injector=PipesTempFileContextInjector(), message_reader=PipesTempFileMessageReader()
        ) as session:
            process = subprocess.Popen(
                command, env={**environment, **session.get_bootstrap_env_vars()}, stdin=subprocess.DEVNULL, start_new_session=True
            )
            try:
                self._attend(process.pid, lambda: process.poll() is None)
            finally:
                if process.poll() is None:
                    _kill_all(process.pid)
                    process.wait()
            self.watch.read()
            return process.returncode

    def follow(self, held: Holder, lock: Path) -> None:
        """Watch the work of a process that somebody else started, until it lets go of its lock."""
        self._attend(held.pid, lambda: holder(lock) == held)
        if holder(lock) == held:
            _kill_all(held.pid)
        self.watch.read()

    def _attend(self, pid: int, works: Callable[[], bool]) -> None:
        """Watch a process while it works; asked to end it, let it save first; where it hangs, say so and leave it to the caller."""
        try:
            while works():
                time.sleep(POLL_S)
                self.watch.look()
        except PeError as error:
            self.lost = error
        except (KeyboardInterrupt, DagsterExecutionInterruptedError):
            self.cancelled = True
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + SAVE_GRACE_S
            while works() and time.monotonic() < deadline:
                time.sleep(POLL_S)


def _does(held: Holder, module: str) -> bool:
    """Whether a lock is held for this work, by whoever began it: a reproduction holds its run's lock too, or the number is stale."""
    try:
        words = Path(f"/proc/{held.pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return held.doing == module and module.encode() in words


def _kill_all(pid: int) -> None:
    """End a process with its ranks and workers, which share its group; they also end when it does."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL) if os.getpgid(pid) == pid else os.kill(pid, signal.SIGKILL)


def _environment(state: State) -> dict[str, str]:
    """Only what the work needs: no stray ``WANDB_*`` or ``PYTHON*`` of the caller can change a run."""
    return NEIGHBOURLY | inherited() | QUIET | state.settings.child_environment()
