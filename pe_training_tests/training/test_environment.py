"""What a run was trained in: what is noted, what is not, and how a difference is told before the next run."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pe_training.manifests.record import ResolvedManifest
from pe_training.settings import SAMPLES, Settings
from pe_training.storage.state import State
from pe_training.training import environment as room
from pe_training.training.environment import Checkout, Environment, changes, changes_since_last_run, environment
from pe_training.training.events import record_event
from pe_training.training.identity import LIBRARIES, thread_count, training_code
from pe_training.training.record import TrainingRun
from pe_training_tests.e2e.chain import pe
from pe_training_tests.training.runs import Prepared, manifest_with, prepare_run

SMOKE = SAMPLES / "manifests" / "smoke.yaml"
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def run(tmp_path: Path) -> Prepared:
    return prepare_run(tmp_path / "home", manifest_with(SMOKE.read_text()))


def test_the_environment_is_that_of_this_process(tmp_path: Path) -> None:
    found = environment(Settings(home=tmp_path, image_digest="sha256:" + "1" * 64))
    assert {name: found.packages[name] for name in LIBRARIES} == {name: importlib.metadata.version(name) for name in LIBRARIES}
    assert found.packages["dagster"] == importlib.metadata.version("dagster")  # the lock names it
    assert found.python == f"CPython {sys.version.partition(' ')[0]}"
    assert found.code == training_code()
    assert found.image == "sha256:" + "1" * 64
    assert found.machine.cores == thread_count()
    assert found.machine.memory_gib > 0
    assert Environment.model_validate(found.content(), strict=False) == found


def test_it_holds_nothing_of_who_and_where(tmp_path: Path) -> None:
    import getpass
    import platform

    text = environment(Settings(home=tmp_path)).model_dump_json()
    assert str(ROOT) not in text
    assert platform.node() not in text
    assert f'"{getpass.getuser()}"' not in text


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True).stdout.strip()


def test_a_checkout_is_noted_with_its_commit_and_what_is_not_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.setattr(room, "PACKAGE", package)
    (package / "__init__.py").write_text("")
    (tmp_path / ".gitignore").write_text("environment/\n")
    git(tmp_path, "init", "-q")
    assert environment(Settings(home=tmp_path)).git is None  # a repository that holds no commit of this package
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert environment(Settings(home=tmp_path)).git == Checkout(commit=commit, dirty=False, changed=())
    (package / "new.py").write_text("")
    (package / "__init__.py").write_text("x = 1\n")
    (tmp_path / "notes.txt").write_text("beside the package")
    found = environment(Settings(home=tmp_path)).git
    assert found == Checkout(commit=commit, dirty=True, changed=("package/__init__.py", "package/new.py"))
    installed = tmp_path / "environment" / "lib" / "package"
    shutil.copytree(package, installed)
    monkeypatch.setattr(room, "PACKAGE", installed)
    assert environment(Settings(home=tmp_path)).git is None  # somebody's checkout, not this package's


def test_a_run_that_lies_in_no_checkout_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PACKAGE", tmp_path)
    assert environment(Settings(home=tmp_path)).git is None


def test_what_differs_is_named_and_what_can_change_bits_stands_first(tmp_path: Path) -> None:
    today = environment(Settings(home=tmp_path))
    before = today.model_copy(
        update={
            "packages": today.packages | {"torch": "2.0.0", "alembic": "0.1"},
            "image": "sha256:" + "2" * 64,
            "machine": today.machine.model_copy(update={"memory_gib": 1}),
        }
    )
    found = changes(before, today)
    assert [change.key for change in found] == ["packages.torch", "image", "machine.memory_gib", "packages.alembic"]
    assert (found[0].before, found[0].after) == ("2.0.0", importlib.metadata.version("torch"))
    assert changes(today, today) == ()


def test_the_last_run_of_the_line_that_noted_its_environment_is_the_one_to_compare_with(run: Prepared) -> None:
    state = run.state
    manifest = state.registry.get(run.manifest, ResolvedManifest)
    today = environment(state.settings)
    assert changes_since_last_run(manifest, state=state) == ()
    older = today.model_copy(update={"python": "CPython 3.0.0"})
    record_event(state, run.run, "started", {"manifest": run.manifest, "environment": older.content()})
    assert [change.key for change in changes_since_last_run(manifest, state=state)] == ["python"]
    record_event(state, run.run, "resumed", {"manifest": run.manifest, "environment": today.content()})
    assert changes_since_last_run(manifest, state=state) == ()
    state.registry.put(state.registry.get(run.run, TrainingRun).model_copy(update={"recipe": {"model": {}}}))  # a newer run, not begun
    assert changes_since_last_run(manifest, state=state) == ()


def test_pe_plan_warns_by_name_and_tells_it_without_torch(run: Prepared) -> None:
    state = State(Settings(home=run.home))
    today = environment(state.settings)
    older = today.model_copy(update={"packages": today.packages | {"torch": "2.0.0"}})
    record_event(state, run.run, "started", {"manifest": run.manifest, "environment": older.content()})
    shown = pe("plan", SMOKE, home=run.home)
    assert shown.code == 0
    assert "warning: the environment is not that of the line's last run:" in shown.stdout
    assert f"packages.torch: 2.0.0 -> {importlib.metadata.version('torch')}" in shown.stdout
    assert "packages.torch" in [change["key"] for change in pe("plan", SMOKE, "--json", home=run.home).json["environment"]]
    code = (
        "import sys; from pe_training.settings import Settings; from pe_training.training.environment import environment; "
        "environment(Settings()); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
