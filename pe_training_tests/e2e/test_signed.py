"""A home that asks for signatures: an unsigned model is trained, waits, is signed by `pe sign`, and the chain goes on."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from pe_training.core.config import parse_config
from pe_training.manifests.schema import Manifest
from pe_training.training.reproduction import reproductions
from pe_training_tests.e2e.chain import BRIEF, SMOKE, pe, smoke_with
from pe_training_tests.storage.test_signatures import key_pair
from pe_training_tests.training.runs import prepare_run, register_run

pytestmark = pytest.mark.slow


def documented_keys(folder: Path) -> tuple[Path, Path]:
    """The pair that the operator's page makes."""
    page = (Path(__file__).parent.parent.parent / "docs" / "ops" / "training.md").read_text()
    commands = re.findall(r"^openssl .*$", page, re.MULTILINE)
    assert len(commands) == 2
    (folder / "trusted").mkdir()
    for line in commands:
        subprocess.run(shlex.split(line), cwd=folder, check=True, capture_output=True)
    return folder / "trainer.key", folder / "trusted"


def test_nothing_loads_a_model_before_somebody_vouches_for_it(ready_home: Path, tmp_path: Path) -> None:
    home = ready_home
    secret, public = documented_keys(tmp_path)
    trusting = {"PE_TRUSTED_KEYS": str(public)}
    signing = trusting | {"PE_SIGNING_KEY": str(secret)}

    manifest = smoke_with(tmp_path, *BRIEF)
    waiting = pe("run", manifest, "--json", home=home, **trusting)
    assert waiting.code == 1
    error = waiting.json["error"]
    assert error["kind"] == "refused"
    assert "is not signed by a trusted key" in error["message"]
    checkpoint = error["where"]
    assert f"pe sign {checkpoint[:13]}" in error["hint"]
    found = pe("verify", checkpoint, "--json", home=home, **trusting)
    assert found.code == 1
    assert [check["problem"] for check in found.json["checks"] if check["problem"]] == ["no trusted key has signed it"]

    assert pe("sign", checkpoint, home=home, **trusting).code == 2
    tried = pe("sign", checkpoint, "--dry-run", "--json", home=home, **signing).json
    made = pe("sign", checkpoint, "--json", home=home, **signing).json
    assert (tried["applied"], made["applied"], made["key"]) == (False, True, tried["key"])
    assert "model.safetensors" in made["files"]
    assert pe("verify", checkpoint, home=home, **trusting).code == 0

    done = pe("run", manifest, "--json", home=home, **trusting)
    assert done.json["checkpoint"] == checkpoint
    assert pe("verify", home=home, **trusting).code == 0

    stranger, _ = key_pair(tmp_path / "keys", "stranger")
    refused = pe("plan", SMOKE, "--json", home=home, **trusting, PE_SIGNING_KEY=str(stranger))
    assert refused.code == 2
    assert refused.json["error"]["where"] == "PE_SIGNING_KEY"


def test_a_home_with_a_key_signs_what_it_trains_and_only_signed_parents_are_gone_on_from(tmp_path: Path) -> None:
    home = tmp_path / "home"
    secret, public = key_pair(tmp_path / "keys", "ours")
    keys = {"PE_TRUSTED_KEYS": str(public), "PE_SIGNING_KEY": str(secret)}
    first = smoke_with(tmp_path, ("max_steps: 30", "max_steps: 6"), ("every_steps: 10", "every_steps: 3"))
    run = prepare_run(home, parse_config(first.read_text(), Manifest, name=first.name))
    assert subprocess.run(run.command, env=run.environment | keys, check=False, timeout=300).returncode == 0, run.log
    checkpoint = run.checkpoint.id
    files = pe("show", checkpoint, "--json", home=home).json["files"]
    assert [file["path"].partition("/")[0] for file in files].count("signatures") == 1
    assert pe("verify", checkpoint, home=home, **keys).code == 0

    _, other = key_pair(tmp_path / "keys", "other")
    next_stage = tmp_path / "next.yaml"
    text = first.read_text().replace("name: ", "name: next-", 1)
    start = text.index("model: {") + len("model: {")
    next_stage.write_text(f"{text[:start]}parent: {checkpoint}, {text[start:]}")
    planned = pe("plan", next_stage, "--json", home=home, PE_TRUSTED_KEYS=str(other))
    assert planned.code == 1, planned.stdout
    assert "is not signed by a trusted key" in planned.json["error"]["message"]
    assert pe("plan", next_stage, "--json", home=home, **keys).code == 0

    child = register_run(home, parse_config(next_stage.read_text(), Manifest, name=next_stage.name))
    trained = subprocess.run(child.command, env=child.environment | keys, check=False, timeout=300)
    assert trained.returncode == 0, child.log
    again = pe("reproduce", child.run, "--json", home=home, **keys)  # in a scratch home, where the parent must be as trusted as it is here
    assert again.code == 0, again.stdout + again.stderr
    ((_, outcome),) = reproductions(child.state, child.run)
    assert (outcome.ended, outcome.determinism) == ("finished", "bitwise")
