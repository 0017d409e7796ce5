"""Training runs without the graph around them: prepared in a home, started as the process that trains, read back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pe_training.core.config import parse_config
from pe_training.datasets.accept import accept
from pe_training.evaluation.suites import suite_prompts
from pe_training.manifests.resolve import resolve
from pe_training.manifests.schema import Manifest
from pe_training.settings import SAMPLES, Settings
from pe_training.storage.state import State
from pe_training.training.events import events
from pe_training.training.feed import read_feed
from pe_training.training.identity import plan_run
from pe_training.training.record import Checkpoint
from pe_training.training.states import StateStore

RELEASE = SAMPLES / "releases" / "sample-dialogues" / "v2026-11-23"


@dataclass(frozen=True)
class Prepared:
    """A run whose records are in a home."""

    home: Path
    run: str
    manifest: str

    @property
    def state(self) -> State:
        """The home's storage."""
        return State(Settings(home=self.home))

    @property
    def command(self) -> list[str]:
        """What the target would start."""
        return [sys.executable, "-m", "pe_training.training", self.run, self.manifest]

    @property
    def environment(self) -> dict[str, str]:
        """What its processes see."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PE_", "DAGSTER_"))}
        return kept | {"PE_HOME": str(self.home), "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0"}

    def start(self) -> subprocess.Popen[bytes]:
        """The training process, a leader of its own session."""
        return subprocess.Popen(self.command, env=self.environment, stdin=subprocess.DEVNULL, start_new_session=True)

    def reproduce(self, *options: str) -> subprocess.Popen[bytes]:
        """The process that does the run again, a leader of its own session."""
        command = [sys.executable, "-m", "pe_training.training.reproduce", self.run, self.manifest, *options]
        return subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, start_new_session=True)

    def finish(self) -> Checkpoint:
        """Train to the end, undisturbed: in a process that a nursery keeps ready, where it would see the same environment."""
        from pe_training_tests.faults.nursery import shared_nursery

        nursery = shared_nursery(self.environment)
        assert (nursery.done(self) if nursery else self.start().wait(timeout=300)) == 0, self.log
        return self.checkpoint

    @property
    def checkpoint(self) -> Checkpoint:
        """What the run ended with."""
        return self.state.registry.the_answer(self.run, Checkpoint)

    @property
    def complete(self) -> bool:
        """Whether it has ended with a checkpoint."""
        return self.state.registry.answer(self.run, Checkpoint) is not None

    def wait_for_step(self, step: int) -> None:
        """Return once a step is done. Its state may not be durable yet: that is written beside training."""
        feed = self.home / "runs" / self.run / "progress.jsonl"
        self._wait(lambda: any(event["event"] == "train" and event["step"] >= step for _, event in read_feed(feed)))

    def wait_for_state(self, step: int) -> None:
        """Return once the state of a step, or of a later one, is durable."""
        states = StateStore(self.run, keep_last=1, state=self.state)
        self._wait(lambda: any(at >= step for at, _ in states.saved()))

    def _wait(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not happened():
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    @property
    def log(self) -> str:
        """What the process wrote."""
        path = self.home / "runs" / self.run / "process.log"
        return path.read_text(errors="replace")[-4_000:] if path.exists() else ""

    def happened(self) -> Iterator[str]:
        """Kinds of the run's events, in order."""
        return (kind for _, kind, _ in events(self.state, self.run))


def manifest_with(text: str, *changes: tuple[str, str]) -> Manifest:
    """A manifest from its text with some of it replaced; every change must find its place."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return parse_config(text, Manifest, name="test.yaml")


def prepare_run(home: Path, spec: Manifest, *, releases: Sequence[Path] = (RELEASE,)) -> Prepared:
    """Accept the release, resolve the manifest and register both records of the run."""
    state = State(Settings(home=home))
    for release in releases:
        accept(release, suites=suite_prompts(state.settings.suite_folder), state=state).sealed()
    return register_run(home, spec)


def register_run(home: Path, spec: Manifest) -> Prepared:
    """Resolve the manifest and register both records of the run; its data has been accepted."""
    state = State(Settings(home=home))
    manifest = resolve(spec, state=state)
    run = plan_run(manifest)
    for record in (manifest, run):
        state.registry.put(record)
    return Prepared(home, run.id, manifest.id)
