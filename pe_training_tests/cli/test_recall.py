"""`pe recall` as an operator types it: what it says, its exit codes, and the marks that it leaves on other verbs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pe_training_tests.e2e.chain import pe
from pe_training_tests.lineage.recalling import World, make_world

WHY = ("--reason", "consent was withdrawn")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World]:
    made = make_world(tmp_path_factory.mktemp("world"))
    return made.state.settings.root, made


def test_a_recall_from_its_dry_run_to_its_lift(world: tuple[Path, World]) -> None:
    home, made = world
    model = made.models["one"][1]
    dry = pe("recall", "family:cptsd", *WHY, "--dry-run", "--json", home=home)
    assert (dry.code, dry.json["applied"], dry.json["seq"]) == (0, False, None)
    assert pe("recalls", "--json", home=home).json["recalls"] == []
    done = pe("recall", "family:cptsd", *WHY, home=home, PE_ACTOR="ada")
    assert done.code == 0, done.stderr
    assert "tainted 11 records" in done.stdout
    replacement = made.models["one"][0].chain.checkpoint.id
    assert replacement in done.stdout
    assert "no untainted model has passed for it: train one on other data" in done.stdout

    shown = pe("show", model.chain.checkpoint.id, home=home).stdout
    assert "TAINTED by recall 1 of family cptsd (consent was withdrawn)" in shown
    assert pe("show", model.chain.checkpoint.id, "--json", home=home).json["recalls"][0]["actor"] == "ada"
    assert "tainted by recall 1" in pe("trace", model.decision.id, home=home).stdout
    stages = pe("stages", "--line", "one", home=home).stdout
    assert "tainted by recall 1" in stages
    assert "staging of one holds" in stages
    assert "no untainted model has passed for it" in stages
    assert "tainted" not in pe("stages", "--line", "two", home=home).stdout
    refused = pe("promote", model.chain.checkpoint.id, "--to", "production", home=home)
    assert refused.code == 1
    assert "comes from recalled data: recall 1 of family cptsd (consent was withdrawn)" in refused.stderr
    back = pe("rollback", "staging", "--line", "one", "--json", home=home)
    assert (back.code, back.json["error"]["kind"]) == (1, "refused")

    assert "no, it holds" in pe("recalls", home=home).stdout
    tried = pe("recalls", "--attempts", "--json", home=home).json
    assert [(row["route"], row["subject"]) for row in tried["attempts"]] == [
        ("rollback", replacement),
        ("promotion", model.chain.checkpoint.id),
    ]
    assert "promotion  " in pe("recalls", "--attempts", home=home).stdout
    assert pe("recall", "--lift", 1, "--reason", "wrong file", "--dry-run", home=home).code == 0
    lifted = pe("recall", "--lift", 1, "--reason", "wrong file", home=home)
    assert (lifted.code, "11 records usable again" in lifted.stdout) == (0, True)
    assert "wrong file" in pe("recalls", home=home).stdout
    assert "tainted" not in pe("stages", "--line", "one", home=home).stdout
    assert pe("recall", "--lift", 1, "--reason", "again", home=home).code == 1


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["cptsd", *WHY], "input"),
        (["family:cptds", *WHY], "not_found"),
        (["family:cptsd"], "input"),
        ([*WHY], "input"),
        (["family:cptsd", "--lift", "1", *WHY], "input"),
        (["--lift", "77", *WHY], "not_found"),
    ],
)
def test_a_wrong_command_recalls_nothing(world: tuple[Path, World], arguments: list[str], kind: str) -> None:
    result = pe("recall", *arguments, "--json", home=world[0])
    assert result.code == 2
    assert result.json["error"]["kind"] == kind
    assert result.json["error"]["hint"]
