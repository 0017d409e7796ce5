"""Settings: what each variable does, what a child process is told, and a page that says the same."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from pe_training.settings import PASSED_ON, SAMPLES, Settings, inherited
from pe_training.storage.state import State

PAGE = (Path(__file__).parent.parent.parent / "docs" / "settings.md").read_text()
NAMES = {name: str(field.validation_alias or f"PE_{name.upper()}") for name, field in Settings.model_fields.items()}
EFFECTIVE = {  # variable -> the property that says what it comes to
    "PE_ARTIFACTS_URL": "artifacts",
    "PE_DATABASE_URL": "database",
    "DAGSTER_HOME": "dagster",
    "PE_RELEASES": "release_inbox",
    "PE_MANIFESTS": "manifest_folder",
    "PE_POLICIES": "policy_folder",
    "PE_RELEASE_POLICY": "release_policy_file",
    "PE_SUITES": "suite_folder",
    "PE_CANARY": "canary_file",
    "PE_RATES": "rates_file",
    "PE_ACTOR": "who",
}


def plain(value: object) -> str:
    """A setting as its variable holds it."""
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES.values():
        monkeypatch.delenv(name, raising=False)


def test_the_table_is_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "<login name>")
    given = Settings(home=tmp_path)
    real = []
    for name, field in Settings.model_fields.items():
        variable = NAMES[name]
        value = str(getattr(given, EFFECTIVE[variable])) if variable in EFFECTIVE else str(field.default)
        value = value.replace(str(tmp_path), "$PE_HOME").replace(str(SAMPLES), "pe_training/samples")
        real.append((variable, value, field.description))
    assert re.findall(r"^\| `(\w+)` \| `(.+?)` \| (.+) \|$", PAGE, re.MULTILINE) == real


def test_the_page_names_what_a_child_process_inherits() -> None:
    listed = PAGE.partition("inherits")[2]
    assert re.findall(r"`([A-Z0-9_]+)`", listed) == list(PASSED_ON)


def test_every_variable_is_read_under_its_documented_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in NAMES.values():
        monkeypatch.setenv(variable, str(tmp_path / variable))
    given = Settings()
    assert {NAMES[name]: plain(getattr(given, name)) for name in NAMES} == {name: str(tmp_path / name) for name in NAMES.values()}
    assert given.root == tmp_path / "PE_HOME"
    assert {name: str(getattr(given, shown)) for name, shown in EFFECTIVE.items()} == {name: str(tmp_path / name) for name in EFFECTIVE}


def test_a_child_process_is_told_every_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in NAMES.values():
        monkeypatch.setenv(variable, str(tmp_path / variable))
    told = Settings().child_environment()
    assert told == {name: str(tmp_path / name) for name in NAMES.values()}


def test_a_child_process_elsewhere_sees_the_same_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    given = Settings(home=Path("state"), releases=Path("inbox"))
    seen = (given.root, given.artifacts, given.database, given.dagster, given.release_inbox.absolute())
    for name, value in given.child_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path / "there")
    child = Settings()
    assert (child.root, child.artifacts, child.database, child.dagster, child.release_inbox) == seen


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    unset = Settings()
    for variable in NAMES.values():
        monkeypatch.setenv(variable, "")
    assert Settings() == unset


def test_a_child_process_inherits_what_is_listed_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "key")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("SOMEBODY_ELSES_SECRET", "secret")
    assert inherited() == {name: value for name, value in os.environ.items() if name in PASSED_ON}
    assert inherited()["WANDB_API_KEY"] == "key"


def test_settings_do_not_change_once_read() -> None:
    with pytest.raises(ValidationError):
        Settings().home = Path("elsewhere")  # type: ignore[misc]


def test_state_is_made_below_home_and_only_when_used(tmp_path: Path) -> None:
    state = State(Settings(home=tmp_path / "home"))
    assert not (tmp_path / "home").exists()
    digest = state.artifacts.put_bytes(b"x")
    assert state.registry.rows("ck") == []
    assert sorted(entry.name for entry in (tmp_path / "home").iterdir() if "sqlite-" not in entry.name) == [
        "artifacts",
        "locks",
        "registry.sqlite",
    ]
    assert state.artifacts.get(digest) == b"x"
    assert state.registry is state.registry
    state.registry.close()
