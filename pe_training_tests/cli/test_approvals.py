"""`pe approve`, `waive`, `revoke` and `approvals` as their users type them, from a dry run to a stage that moves."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key

from pe_training.cli.main import main
from pe_training.core.clock import now
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.stages import apply_decision
from pe_training.views.numbers import VERDICT_WORDS
from pe_training_tests.e2e.chain import Ended
from pe_training_tests.promotion import factory
from pe_training_tests.promotion.people import ONE, WHY, World, asking, make_world

ROLE = ("--role", "clinical_safety")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


Pe = Callable[..., Ended]


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pe:
    """``pe`` in this process, on the world's home."""
    for name in [name for name in os.environ if name.startswith("PE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PE_HOME", str(world.state.settings.root))

    def act(*arguments: object, people: bool = True) -> Ended:
        monkeypatch.setenv("PE_PEOPLE", str(world.folder / "people.yaml") if people else "")
        monkeypatch.setattr(sys, "argv", ["pe", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, said.out, said.err)

    return act


def passed(world: World, extra: str = ONE, **chain: object) -> PromotionDecision:
    decision = factory.judged(world.state, factory.make_chain(world.state, text=asking(extra), **chain))  # type: ignore[arg-type]
    apply_decision(decision, state=world.state)
    return decision


def test_from_a_dry_run_to_a_revocation(run: Pe, world: World) -> None:
    decision = passed(world)
    shown = " ".join(run("show", decision.id).stdout.split())
    assert "waits for the approval of clinical_safety (ada or bob)" in shown
    assert "waits for the approval of clinical_safety" in " ".join(run("ls", "pd").stdout.split())
    assert "what waits for whom" in run("stages").stdout
    waiting = run("approvals", "--json").json["waiting"]
    assert [(one["decision"], one["waits_for"]) for one in waiting] == [(decision.id, ["clinical_safety"])]
    assert run("approvals", decision.id).code == 1

    key = ("--key", world.key("ada"))
    dry = run("approve", decision.id[:13], *ROLE, "--reason", WHY, *key, "--dry-run", "--json")
    assert (dry.code, dry.json["applied"], dry.json["seq"], dry.json["statement"]["person"]) == (0, False, None, "ada")
    assert set(dry.json["seal"]) == {"kind", "key", "signature"}
    named = run("approve", decision.id, *ROLE, "--reason", WHY, "--person", "ada", "--dry-run", "--json")
    assert (named.json["nonce"], named.json["seal"]) == (dry.json["nonce"], None)
    assert run("approvals", decision.id, "--json").json["statements"] == []

    done = run("approve", decision.id, *ROLE, "--reason", WHY, *key)
    assert (done.code, "said" in done.stdout, "statement" in done.stdout) == (0, True, True), done.stderr
    found = run("approvals", decision.id, "--json")
    assert (found.code, found.json["opens"], found.json["statements"][0]["counts"]) == (0, True, True)
    assert run("approve", decision.id, *ROLE, "--reason", WHY, *key, "--json").json["error"]["kind"] == "conflict"

    gone = run("revoke", 1, "--reason", "a reply was overlooked", *key, "--json")
    assert (gone.code, gone.json["statement"]["act"]) == (0, "revoke")
    told = run("approvals", decision.id)
    assert (told.code, "revoked by ada: a reply was overlooked" in " ".join(told.stdout.split())) == (1, True)


def test_a_login_approves_with_the_nonce_that_the_dry_run_shows(run: Pe, world: World, tmp_path: Path) -> None:
    decision = passed(world)
    said = ("approve", decision.id, *ROLE, "--reason", WHY)
    nonce = run(*said, "--person", "bob", "--dry-run", "--json").json["nonce"]
    file = tmp_path / "token"
    file.write_text(world.provider.token("login-7", nonce) + "\n")
    done = run(*said, "--token", file, "--json")
    assert (done.code, done.json["statement"]["person"], done.json["seal"]) == (0, "bob", None)
    shown = run("approvals", decision.id, "--json").stdout + run("show", decision.id, "--json").stdout
    assert file.read_text().strip() not in shown + done.stdout
    assert json.loads(run("approvals", decision.id, "--json").stdout)["statements"][0]["sealed_with"] == "a token"


def test_a_waiver_stands_beside_the_verdict(run: Pe, world: World) -> None:
    metrics = (
        *(m for m in factory.excellent() if m.name != "largest_gap"),
        factory.good("fairness", "largest_gap", value=0.4, better="lower"),
    )
    text = asking("").replace("  - id: largest-gap\n", "  - id: largest-gap\n    waivable_by: [clinical_safety]\n")
    decision = factory.judged(world.state, factory.make_chain(world.state, text=text, metrics=metrics))
    why = ("--rule", "largest-gap", "--owner", "the data team", "--reason", "the groups are small")
    late = run("waive", decision.id, *why, "--expires", "2999-01-01", "--key", world.key("ada"), "--json")
    assert (late.code, late.json["error"]["kind"]) == (1, "refused")
    last = (now().date() + timedelta(days=20)).isoformat()
    done = run("waive", decision.id, *why, "--expires", last, "--key", world.key("ada"), "--json")
    assert (done.code, done.json["statement"]["expires"]) == (0, last), done.stdout
    shown = " ".join(run("show", decision.id).stdout.split())
    assert VERDICT_WORDS["fail"] in shown
    assert f"largest-gap is waived until {last} by ada (clinical_safety), the data team answers for it: the groups are small" in shown
    assert run("approvals", decision.id).code == 0


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ((), "input", "say who speaks: --key FILE or --token FILE"),
        (("--person", "ada"), "input", "say who speaks: --key FILE or --token FILE"),
        (("--key", "mallory.key"), "refused", "this key is nobody's here"),
        (("--key", "nothing.key"), "input", "nothing.key cannot be read (No such file or directory)"),
        (("--key", "ada.pem"), "input", "ada.pem holds no private key in PEM"),
        (("--key", "locked.key"), "input", "locked.key is encrypted, and nobody is here to be asked"),
        (("--key", "ada.key", "--token", "x"), "input", "say who speaks: --key FILE or --token FILE"),
        (("--token", "nothing"), "not_found", "no such file"),
        (("--token", "ada.pem"), "refused", "the token does not count: it was written anew"),
    ],
)
def test_a_name_or_a_strange_key_says_nothing(run: Pe, world: World, options: tuple[str, ...], kind: str, message: str) -> None:
    decision = passed(world)
    private = load_pem_private_key(world.key("ada").read_bytes(), None)
    locked = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a long passphrase"))
    (world.folder / "locked.key").write_bytes(locked)
    given = [world.folder / one if "." in one or one == "nothing" else one for one in options]
    error = run("approve", decision.id, *ROLE, "--reason", WHY, *given, "--json").json["error"]
    assert (error["kind"], error["message"].removeprefix(f"{world.folder}/")) == (kind, message)
    assert error["hint"]
    if kind == "refused":
        tried = run("recalls", "--attempts", "--json").json["attempts"][0]
        assert (tried["route"], tried["subject"], tried["message"]) == ("approval", decision.id, error["message"])


def test_without_a_file_of_people_the_setting_is_named(run: Pe, world: World) -> None:
    decision = passed(world)
    arguments = ("approve", decision.id, *ROLE, "--reason", WHY, "--key", world.key("ada"), "--json")
    error = run(*arguments, people=False).json["error"]
    assert (error["kind"], error["where"]) == ("input", "PE_PEOPLE")


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("approvals", "pd_0"), "not_found"),
        (("revoke", "7", "--reason", WHY, "--person", "ada", "--dry-run"), "not_found"),
        (("revoke", "x", "--reason", WHY), "input"),
        (("approve", "ck_0", *ROLE, "--reason", WHY, "--person", "ada", "--dry-run"), "not_found"),
        (("waive", "pd_0", "--rule", "x", "--owner", "y", "--reason", WHY, "--expires", "soon"), "input"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(run: Pe, world: World, arguments: tuple[str, ...], kind: str) -> None:
    result = run(*arguments, "--json")
    assert (result.code, result.json["error"]["kind"], bool(result.json["error"]["hint"])) == (2, kind, True)


def test_the_file_of_people_is_checked_with_its_keys(run: Pe, world: World) -> None:
    file = world.folder / "people.yaml"
    assert run("check", file).stdout == f"{file}: a valid people\n"
    (world.folder / "bob.pem").unlink()
    broken = run("check", file, "--json")
    assert (broken.code, "bob.pem cannot be read" in broken.json["error"]["message"]) == (2, True)
    assert run("schema", "people", "--json").json["title"] == "People"
