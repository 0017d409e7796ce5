"""Training from a shell, on a machine without Dagster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pe_training.datasets.accept import accept
from pe_training.evaluation.suites import suite_prompts
from pe_training.settings import QUIET, SAMPLES, Settings, be_quiet
from pe_training.storage.state import State
from pe_training_tests.training.runs import RELEASE, prepare_run
from pe_training_tests.training.steps import smoke

NO_DAGSTER = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0].startswith("dagster"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""
SHORT = (("max_steps: 30", "max_steps: 6"), ("every_steps: 10", "every_steps: 6"))


def short_manifest(folder: Path) -> Path:
    text = (SAMPLES / "manifests" / "smoke.yaml").read_text()
    for before, after in SHORT:
        text = text.replace(before, after)
    (folder / "short.yaml").write_text(text)
    return folder / "short.yaml"


def shell(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command as it is typed where Dagster is not installed."""
    (folder / "sitecustomize.py").write_text(NO_DAGSTER)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PE_", "DAGSTER_", "COVERAGE"))}
    environment = (
        kept | {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [kept.get("PYTHONPATH")])]), "HF_HUB_OFFLINE": "1"} | variables
    )
    command = [sys.executable, "-m", "pe_training.training", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_a_manifest_and_storage_urls_are_enough_and_the_model_is_the_graphs_own(tmp_path: Path) -> None:
    usual = prepare_run(tmp_path / "usual", smoke(*SHORT)).finish()
    stores = {
        "PE_HOME": str(tmp_path / "machine"),  # another than the one on which the data was accepted
        "PE_ARTIFACTS_URL": f"file://{tmp_path / 'store'}",
        "PE_DATABASE_URL": f"sqlite:///{tmp_path / 'registry.sqlite'}",
    }
    state = State(Settings(home=tmp_path / "elsewhere", artifacts_url=stores["PE_ARTIFACTS_URL"], database_url=stores["PE_DATABASE_URL"]))
    path = short_manifest(tmp_path)

    early = shell(tmp_path, str(path), **stores)
    assert (early.returncode, early.stdout) == (2, "")
    assert early.stderr.startswith("error: no accepted version of dataset 'sample-dialogues'\n  hint: ")

    accept(RELEASE, suites=suite_prompts(state.settings.suite_folder), state=state).sealed()
    done = shell(tmp_path, str(path), **stores)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith(f"{usual.id} (step 6, held-out loss ")

    again = shell(tmp_path, str(path), **stores)
    assert again.stdout.splitlines()[-1] == done.stdout.splitlines()[-1]


def test_what_is_wrong_is_told_on_the_terminal(tmp_path: Path) -> None:
    missing = shell(tmp_path, str(tmp_path / "none.yaml"), PE_HOME=str(tmp_path / "home"))
    assert missing.returncode == 2
    assert "none.yaml" in missing.stderr
    assert "Traceback" not in missing.stderr
    assert shell(tmp_path, "run_1", "mf_1", "more").returncode == 2


FAILS_TWICE = """
import sys
from pathlib import Path
from pe_training.core.errors import Kind, PeError
from pe_training.training.alone import train_alone

def work(given):
    given.feed.error(PeError(Kind.OUT_OF_MEMORY, "after which it went on"))
    raise PeError(Kind.DIVERGENCE, "which was the end", hint="lower the learning rate")

sys.exit(train_alone(Path(sys.argv[1]), work=work))
"""


def test_the_error_that_was_the_end_is_the_one_that_is_told(ready_home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FAILS_TWICE, str(short_manifest(tmp_path))]
    done = subprocess.run(command, env=os.environ | {"PE_HOME": str(ready_home)}, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (3, "error: which was the end\n  hint: lower the learning rate\n")


CANNOT_WRITE = """
import os, sys
from pathlib import Path
from pe_training.core.errors import Kind, PeError
from pe_training.training.alone import train_alone

def work(given):
    os.dup2(os.open("/dev/full", os.O_WRONLY), 2)
    given.feed._file = open("/dev/full", "w", buffering=1)
    raise PeError(Kind.INFRASTRUCTURE, "cannot write: No space left on device", hint="free some space")

sys.exit(train_alone(Path(sys.argv[1]), work=work))
"""


def test_a_disk_that_is_so_full_that_not_even_the_error_can_be_noted_is_told_on_the_terminal(ready_home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CANNOT_WRITE, str(short_manifest(tmp_path))]
    done = subprocess.run(command, env=os.environ | {"PE_HOME": str(ready_home)}, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (3, "error: cannot write: No space left on device\n  hint: free some space\n")


@pytest.mark.parametrize("where", ["home", "runs"])
def test_a_home_where_nothing_can_be_written_is_told_by_its_place(ready_home: Path, tmp_path: Path, where: str) -> None:
    """A file is in the way, which stops the administrator too."""
    home = ready_home if where == "runs" else tmp_path / "file"
    blocked = home / "runs" if where == "runs" else home
    blocked.write_text("")
    done = shell(tmp_path, str(short_manifest(tmp_path)), PE_HOME=str(home))
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: {blocked}")
    assert "hint: a file is in the way" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_from_a_shell_leaves_its_neighbours_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    for name in QUIET:
        monkeypatch.setenv(name, os.environ.get(name, ""))
    be_quiet()
    assert os.environ["GOMP_SPINCOUNT"] == "10000"
    os.environ["GOMP_SPINCOUNT"] = "7"
    be_quiet()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
