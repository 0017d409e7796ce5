"""What a run was trained in: packages, interpreter, code, image, machine. Noted for each attempt, and compared before the next run.

The run's id holds what is known to change bits (identity.py). This holds what may, so that when two runs differ there is a list to read
instead of a guess. It holds no host name, path, login or variable, and is told without importing torch, because plans ask for it.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from pe_training.core.ids import short
from pe_training.core.records import Frozen
from pe_training.manifests.plan import Change, difference
from pe_training.manifests.record import ResolvedManifest
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.training.events import attempts
from pe_training.training.identity import LIBRARIES, source_digests, thread_count, training_code
from pe_training.training.record import TrainingRun

PACKAGE = Path(__file__).parent.parent
LOCK = "constraints.txt"  # beside the package in a checkout, inside it when installed
SHOWN_CHANGED_FILES = 20
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
_NVIDIA = Path("/proc/driver/nvidia")


class Checkout(Frozen):
    """The git checkout that the code lies in."""

    commit: str
    dirty: bool  # files of the package differ from the commit, or are not in it
    changed: tuple[str, ...]  # the first of them


class Machine(Frozen):
    """What there is to compute with."""

    cpu: str
    cores: int  # that this process may use
    memory_gib: int
    gpus: tuple[str, ...]
    gpu_driver: str | None = None


class Environment(Frozen):
    """Everything around a run that its manifest does not decide."""

    packages: dict[str, str]  # what the lock and identity.LIBRARIES name, as far as it is installed
    python: str
    os: str
    code: str  # as in the run
    sources: dict[str, str]  # of the training room: file -> beginning of its digest
    git: Checkout | None = None  # None: the code lies in no checkout, or there is no git to ask
    image: str | None = None  # None: not told, so probably in no container
    machine: Machine


def environment(settings: Settings) -> Environment:
    """Today's, of this process."""
    return Environment(
        packages=_packages(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        os=platform.platform(),
        code=training_code(),
        sources={name: short(digest) for name, digest in source_digests().items()},
        git=_checkout(),
        image=settings.image_digest,
        machine=_machine(),
    )


def changes(before: Environment, after: Environment) -> tuple[Change, ...]:
    """What differs, as dotted keys. What is known to change bits stands first; sources stand for the code."""
    found = [change for change in difference(before.content(), after.content()) if change.key != "code"]
    first = {f"packages.{name}" for name in LIBRARIES}
    return tuple(sorted(found, key=lambda change: (change.key not in first, change.key)))


def recorded(state: State, run_id: str) -> Environment | None:
    """What the run's last attempt was trained in; ``None`` where that was not noted."""
    noted = [attempt["environment"] for attempt in attempts(state, run_id) if "environment" in attempt]
    return Environment.model_validate(noted[-1], strict=False) if noted else None


def changes_since_last_run(manifest: ResolvedManifest, *, state: State) -> tuple[Change, ...]:
    """How today's environment differs from that of the newest run of the manifest's line that noted one; nothing for a first run."""
    for row in state.registry.rows(TrainingRun.kind, label=manifest.spec.name, limit=10):
        before = recorded(state, row.id)
        if before is not None:
            return changes(before, environment(state.settings))
    return ()


@cache
def _packages() -> dict[str, str]:
    locks = [folder / LOCK for folder in (PACKAGE, PACKAGE.parent)]
    names = {name for lock in locks if lock.exists() for name in _PINNED.findall(lock.read_text())} | set(LIBRARIES)
    return {name: found for name in sorted(names) if (found := _version(name)) is not None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _checkout() -> Checkout | None:
    """Only of a repository that holds this package: an environment inside somebody's checkout is not theirs."""
    if (git := shutil.which("git")) is None:
        return None

    def ask(*words: str) -> str | None:
        done = subprocess.run([git, "-C", str(PACKAGE), *words], capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD") if ask("ls-files", "--error-unmatch", "__init__.py") else None
    status = ask("status", "--porcelain", "--untracked-files=all", "--", ".")
    if commit is None or status is None:
        return None
    changed = sorted(line[3:] for line in status.splitlines())
    return Checkout(commit=commit.strip(), dirty=bool(changed), changed=tuple(changed[:SHOWN_CHANGED_FILES]))


def _machine() -> Machine:
    info = Path("/proc/cpuinfo")
    named = re.search(r"^(?:model name|CPU part)\s*:\s*(.+)$", info.read_text() if info.exists() else "", re.MULTILINE)
    gpus = [re.search(r"^Model:\s*(.+)$", card.read_text(), re.MULTILINE) for card in sorted(_NVIDIA.glob("gpus/*/information"))]
    driver = _NVIDIA / "version"
    told = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", driver.read_text()) if driver.exists() else None
    return Machine(
        cpu=named[1].strip() if named else platform.processor() or platform.machine(),
        cores=thread_count(),
        memory_gib=round(psutil.virtual_memory().total / 2**30),
        gpus=tuple(found[1].strip() if found else "unknown" for found in gpus),
        gpu_driver=told[1] if told else None,
    )
