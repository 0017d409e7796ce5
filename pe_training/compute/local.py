"""Run a working process on this machine, watched through Dagster Pipes.

Training and evaluation import torch, need their own memory and must survive the webserver; the asset that asks for them
must not. So each is a process of its own: started from a list, with an environment we choose, ended with a request to save,
and asked for its error in words rather than for a traceback.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from dagster import (
    AssetExecutionContext,
    DagsterExecutionInterruptedError,
    PipesTempFileContextInjector,
    PipesTempFileMessageReader,
    open_pipes_session,
)

from pe_training.core.errors import Kind, PeError
from pe_training.costs.ledger import Step, settle
from pe_training.costs.rates import load_rates
from pe_training.settings import inherited
from pe_training.storage.state import State
from pe_training.training.feed import FEED_FILE, read_feed
from pe_training.training.process import LOG_FILE

SAVE_GRACE_S = 180.0
_QUIET = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1",
    "WANDB_ERROR_REPORTING": "false", "TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}  # fmt: skip


class Target(Protocol):
    """A place that can do work."""

    def run(
        self, module: str, arguments: Sequence[str], *, step: Step, instance: str, context: AssetExecutionContext, state: State
    ) -> None:
        """Do the work of ``python -m module arguments`` to its end. Raises the :class:`PeError` it ended with."""


class LocalTarget:
    """This machine."""

    def run(
        self, module: str, arguments: Sequence[str], *, step: Step, instance: str, context: AssetExecutionContext, state: State
    ) -> None:
        """See :class:`Target`. The time it took is settled in the ledger however it ended."""
        folder = state.settings.run_folder(arguments[0])
        feed = folder / FEED_FILE
        offset = feed.stat().st_size if feed.exists() else 0
        with _settled(state, subject=arguments[0], step=step, instance=instance):
            code = _run([sys.executable, "-m", module, *arguments], context=context, environment=_environment(state))
        if code != 0:
            errors = [event["error"] for _, event in read_feed(feed, offset=offset) if event["event"] == "error"]
            raise PeError.from_json(errors[-1]) if errors else _died(code, step=step, log=str(folder / LOG_FILE))


def _run(command: Sequence[str], *, context: AssetExecutionContext, environment: Mapping[str, str]) -> int:
    with open_pipes_session(
        context=context, context_injector=PipesTempFileContextInjector(), message_reader=PipesTempFileMessageReader()
    ) as session:
        process = subprocess.Popen(
            command, env={**environment, **session.get_bootstrap_env_vars()}, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            return process.wait()
        except (KeyboardInterrupt, DagsterExecutionInterruptedError):
            context.log.info("interrupted: asking the working process to save and stop")
            process.send_signal(signal.SIGTERM)
            return process.wait(timeout=SAVE_GRACE_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _environment(state: State) -> dict[str, str]:
    """Only what the work needs: no stray ``WANDB_*`` or ``PYTHON*`` of the caller can change a run."""
    return inherited() | _QUIET | state.settings.child_environment()


@contextmanager
def _settled(state: State, *, subject: str, step: Step, instance: str) -> Iterator[None]:
    rates = load_rates(state.settings.rates_file)
    began = time.monotonic()
    try:
        yield
    finally:
        settle(state, subject=subject, step=step, instance=instance, duration_s=time.monotonic() - began, rates=rates)


def _died(code: int, *, step: str, log: str) -> PeError:
    if code < 0:
        name = signal.Signals(-code).name
        hint = "run the same command again: it continues from the last saved state"
        if name == "SIGKILL":
            hint += "; if it happens again, the machine may be out of memory"
        return PeError(Kind.INFRASTRUCTURE, f"{step} was killed by {name}", where=log, hint=hint)
    return PeError(
        Kind.INFRASTRUCTURE, f"{step} ended with exit code {code} and gave no reason", where=log, hint="that log has the details"
    )
