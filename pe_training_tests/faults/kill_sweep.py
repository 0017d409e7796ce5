"""SIGKILL at random instants of a run and inside its checkpoint writes; whatever is killed, the run ends with the same bits.

``python -m pe_training_tests.faults.kill_sweep --kills 50`` sweeps every kind of run; the tests sweep each a little.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from pe_training.manifests.schema import Manifest
from pe_training.settings import SAMPLES
from pe_training.storage.durable import TEMPORARY_PREFIX
from pe_training.training.events import events
from pe_training.training.packing import unpack
from pe_training.training.states import StateStore
from pe_training_tests.faults.nursery import Nursery
from pe_training_tests.homes import copy_home
from pe_training_tests.training.runs import Prepared, manifest_with, prepare_run

SMOKE = (SAMPLES / "manifests" / "smoke.yaml").read_text(encoding="utf-8")
OFTEN = (("every_steps: 10", "every_steps: 4"), ("max_steps: 30", "max_steps: 12"), ("warmup_steps: 3", "warmup_steps: 2"))
CLASSIFIER = (
    ("task: causal_lm", "task: text_classification"), ("max_length: 768\n  packing: true", "max_length: 128\n  label: crisis_type"),
    ("baseline: base_model", "baseline: none"), ("[accuracy, safety, fairness, therapeutic]", "[accuracy]"),
    ("{accuracy: 20, safety: 24, fairness: 4, therapeutic: 12}", "{accuracy: 20}"),
)  # fmt: skip


def kind_of_run(task: str, *, workers: int, ranks: int) -> Manifest:
    """A short run of a task that saves every fourth step."""
    changes = CLASSIFIER if task == "text_classification" else ()
    return manifest_with(SMOKE, *OFTEN, *changes, ("target: local,", f"target: local, workers: {workers}, devices: {ranks},"))


def eventful_run(task: str, *, workers: int) -> Manifest:
    """The same, to be trained in an eventful nursery: it goes back once, and goes on in smaller parts once."""
    changes = CLASSIFIER if task == "text_classification" else ()
    recovery = ("evaluation:", "recovery: {on_spike: rollback}\nevaluation:")
    whole = ("micro_batch_size: 2", "micro_batch_size: 4")
    return manifest_with(SMOKE, *OFTEN, *changes, recovery, whole, ("target: local,", f"target: local, workers: {workers},"))


@dataclass(frozen=True)
class Outcome:
    """What a run left behind that an uninterrupted one must equal to the bit."""

    checkpoint: str  # its id: weights, losses, files, history
    events: tuple[tuple[str, str], ...]  # what changed its course
    optimizer: tuple[bytes, ...]
    schedule: str

    @classmethod
    def of(cls, run: Prepared) -> Outcome:
        """Read back and verified."""
        states = StateStore(run.run, keep_last=1, state=run.state)
        last = unpack(run.state.artifacts.get(states.saved()[0][1]))
        tensors: list[bytes] = []
        _collect(last["optimizer_states"], tensors)
        course = tuple((kind, repr(body)) for _, kind, body in events(run.state, run.run) if kind in {"rollback", "out_of_memory"})
        return cls(run.checkpoint.id, course, tuple(tensors), repr(last["lr_schedulers"]))


def _collect(node: Any, into: list[bytes]) -> None:
    if isinstance(node, dict):
        for value in node.values():
            _collect(value, into)
    elif isinstance(node, list | tuple):
        for value in node:
            _collect(value, into)
    elif hasattr(node, "numpy"):
        into.append(node.numpy().tobytes())


@dataclass
class Sweep:
    """How often a kind of run was killed, and where."""

    kills: int = 0
    in_writes: int = 0
    runs: int = 0  # that were completed in between


def sweep(spec: Manifest, *, kills: int, folder: Path, nursery: Nursery, seed: int) -> Sweep:
    """Kill runs of a kind until there were ``kills`` kills; each run, once complete, must equal the one that nobody disturbed."""
    fresh = prepare_run(folder / "fresh", spec)
    whole = _copied(fresh, folder / "undisturbed")
    began = time.monotonic()
    nursery.start(whole)
    assert nursery.ended() == 0, whole.log
    duration_s, expected = time.monotonic() - began, Outcome.of(whole)
    chance, done = random.Random(seed), Sweep()  # noqa: S311 - instants, no secrets
    while done.kills < kills:
        run = _copied(fresh, folder / f"disturbed-{done.runs}")
        while not run.complete:
            pid = nursery.start(run)
            if done.kills < kills:
                instant, into_write = chance.uniform(0, 0.8 * duration_s), chance.random() < 0.4
                killed_in_write = _wait(pid, instant, into_write=into_write, artifacts=run.home / "artifacts")
                _kill(pid)
                code = nursery.ended()
                done.kills += code == -signal.SIGKILL
                done.in_writes += killed_in_write and code == -signal.SIGKILL
            else:
                code = nursery.ended()
            assert code in (0, -signal.SIGKILL), run.log
        assert Outcome.of(run) == expected, f"kill {done.kills} of seed {seed}"
        done.runs += 1
    return done


def _copied(run: Prepared, home: Path) -> Prepared:
    copy_home(run.home, home)
    return replace(run, home=home)


def _wait(pid: int, instant_s: float, *, into_write: bool, artifacts: Path) -> bool:
    """Let a process live until its instant; then, if asked, until it is writing. Whether it is."""
    began = time.monotonic()
    while time.monotonic() < began + instant_s and _lives(pid):
        time.sleep(0.002)
    while into_write and _lives(pid):
        if any(name.startswith(TEMPORARY_PREFIX) for name in _names(artifacts)):
            return True
    return False


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter if it was reaped between opening and reading
        return False


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def main() -> None:
    """Sweep every kind of run."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--kills", type=int, default=50)
    asked.add_argument("--seed", type=int, default=17)
    wanted = asked.parse_args()
    console = Console(width=140)
    with Nursery() as nursery:
        for task in ("causal_lm", "text_classification"):
            for workers in (0, 2):
                for ranks in (1, 2):
                    spec = kind_of_run(task, workers=workers, ranks=ranks)
                    with tempfile.TemporaryDirectory() as folder:
                        began = time.monotonic()
                        found = sweep(spec, kills=wanted.kills, folder=Path(folder), nursery=nursery, seed=wanted.seed)
                    took = f"in {time.monotonic() - began:.0f} s"
                    console.print(f"{task}, {workers} workers, {ranks} ranks: {found} {took}: the same bits every time")
    with Nursery(eventful=True) as nursery:
        for task in ("causal_lm", "text_classification"):
            for workers in (0, 2):
                with tempfile.TemporaryDirectory() as folder:
                    spec = eventful_run(task, workers=workers)
                    found = sweep(spec, kills=wanted.kills, folder=Path(folder), nursery=nursery, seed=wanted.seed)
                console.print(f"{task}, {workers} workers, a rollback and a lack of memory: {found}: the same bits every time")


if __name__ == "__main__":
    main()
