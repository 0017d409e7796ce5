"""Starts training processes in a third of a second: torch is imported once, and each process is a fork that has done nothing yet.

``python -m pe_training_tests.faults.nursery`` reads ``HOME RUN MANIFEST`` lines and answers each with the pid of a process that is what
``python -m pe_training.training RUN MANIFEST`` would be, then, when it has ended, with its exit code (negative: the signal). In an
eventful nursery every process meets a loss that is no number and a lack of memory, at the same steps however often it begins anew.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pe_training_tests.training.runs import Prepared


class Nursery:
    """The caller's end."""

    module = __name__  # whose `main` serves; its processes are started with the two ids that :meth:`start` is given

    def __init__(self, *, eventful: bool = False) -> None:
        self._options = ["--eventful"] if eventful else []

    def __enter__(self) -> Self:
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("PE_", "DAGSTER_"))}
        self.environment |= {"HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.module, *self._options],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._line() == "ready"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.communicate()

    def start(self, run: Prepared) -> int:
        """The pid of a new process."""
        assert self._process.stdin
        self._process.stdin.write(f"{run.home} {run.run} {run.manifest}\n")
        return int(self._line())

    def ended(self) -> int:
        """Wait for the process that was started last; its exit code."""
        return int(self._line())

    def done(self, run: Prepared) -> int:
        """Do a run to its end; its exit code."""
        self.start(run)
        return self.ended()

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def shared_nursery(environment: Mapping[str, str]) -> Nursery | None:
    """This process's own nursery, ended with it; ``None`` where a run needs another environment than the nursery was started in."""
    found = _shared()
    own = {"PE_HOME", "PYTEST_CURRENT_TEST"}
    return found if {**environment, **dict.fromkeys(own)} == {**found.environment, **dict.fromkeys(own)} else None


@cache
def _shared() -> Nursery:
    nursery = Nursery().__enter__()
    atexit.register(nursery.__exit__, None, None, None)
    return nursery


def _main() -> None:
    from pe_training.training import execute  # noqa: F401 - what takes the time
    from pe_training.training.__main__ import train

    if "--eventful" in sys.argv:
        _provoke()
    serve(train)


def serve(work: Callable[[Any], None]) -> None:
    """Start a process that does ``work`` for each line that is read, and say how it ended."""
    from pe_training.training.process import run_process

    _say("ready")
    for line in sys.stdin:
        home, run, manifest = line.split()
        pid = os.fork()
        if not pid:
            os.setsid()
            os.environ["PE_HOME"] = str(Path(home))
            code = 70
            try:
                code = run_process([run, manifest], work=work)
            except BaseException:  # noqa: BLE001 - a fork must not run on into the nursery's loop
                traceback.print_exc()
            finally:
                os._exit(code)
        _say(pid)
        _say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _provoke() -> None:
    """No number in the step after the fifth until a rollback has passed over its data; no memory for the tenth but in smaller parts."""
    from pe_training.training import tasks

    whole = tasks.Task.training_step

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        if self.global_step == 9 and self._accumulation == 1:
            raise RuntimeError("out of memory")
        loss = whole(self, batch, batch_idx)
        return loss * float("nan") if self.global_step == 5 and not self._slowdowns else loss

    tasks.Task.training_step = training_step  # type: ignore[method-assign]


def _say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
