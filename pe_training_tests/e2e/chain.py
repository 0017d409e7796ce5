"""Runs `pe` as its user does: a process with an empty PE_HOME, its streams and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pe_training.settings import SAMPLES

SMOKE = SAMPLES / "manifests" / "smoke.yaml"
# Evaluated by held-out loss only, for tests that are not about what is asked of a model. The checkpoint is the same.
BRIEF = (("[accuracy, safety, fairness, therapeutic]", "[accuracy]"), (", safety: 24, fairness: 4, therapeutic: 12", ""))


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON value it must be."""
        return json.loads(self.stdout)


def pe(*arguments: object, home: Path, **variables: str) -> Ended:
    """Run ``pe`` to its end."""
    done = subprocess.run(command(*arguments), env=environment(home, **variables), capture_output=True, text=True, timeout=500, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


def start(*arguments: object, home: Path, **variables: str) -> subprocess.Popen[str]:
    """Start ``pe`` and do not wait."""
    return subprocess.Popen(
        command(*arguments),
        env=environment(home, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def command(*arguments: object) -> list[str]:
    """The command line of ``pe`` in this interpreter."""
    return [sys.executable, "-m", "pe_training.cli", *map(str, arguments)]


def environment(home: Path, **variables: str) -> dict[str, str]:
    """The caller's environment without its own PE_ and DAGSTER_ settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PE_", "DAGSTER_", "WANDB_"))}
    return kept | {"PE_HOME": str(home), "COLUMNS": "120"} | variables


def smoke_with(folder: Path, *changes: tuple[str, str]) -> Path:
    """A copy of the smoke manifest with text replaced."""
    text = SMOKE.read_text()
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    path = folder / "manifest.yaml"
    path.write_text(text)
    return path


def wait_for_step(home: Path, step: int) -> None:
    """Return once a run in ``home`` has done ``step`` steps."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for feed in home.glob("runs/run_*/progress.jsonl"):
            for line in feed.read_text().splitlines():
                event = json.loads(line) if line.endswith("}") else {}
                if event.get("event") == "train" and event["step"] >= step:
                    return
        time.sleep(0.02)
    raise AssertionError(f"no step {step} within two minutes")


def training_process(home: Path) -> int:
    """The process that trains in ``home``."""
    (found,) = training_processes(home)
    return found


def training_processes(home: Path) -> list[int]:
    """Those that train in ``home``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().split(b"\0")
                variables = (entry / "environ").read_bytes()
            except OSError:
                continue
            if b"pe_training.training" in line and f"PE_HOME={home}".encode() in variables:
                found.append(int(entry.name))
    return found
