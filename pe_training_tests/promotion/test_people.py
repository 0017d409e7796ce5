"""The file of people: strict, located errors, and nobody whose word could not be told from another's."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, PublicFormat

from pe_training.core.config import parse_config
from pe_training.core.errors import Kind, PeError
from pe_training.promotion.people import People, read_register
from pe_training.promotion.policy import parse_policy
from pe_training.promotion.seals import speaker_of_key
from pe_training_tests.promotion.people import FILE, World, asking, make_world
from pe_training_tests.storage.test_signatures import key_pair


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("people"))


def test_people_and_their_roles_are_read(world: World) -> None:
    world.file(FILE)
    register = read_register(world.folder / "people.yaml")
    assert register.holders("clinical_safety") == ("ada", "bob")
    assert register.holders("nobody") == ()
    assert sorted(register.owners.values()) == ["ada", "bob"]
    assert (register.of_subject("login-8"), register.of_subject("login-9")) == ("cleo", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("roles: [privacy]", "rolls: [privacy]"), ":6:18: unknown key 'people.2.rolls' (did you mean 'roles'?"),
        (("name: bob", "name: ada"), ":1:1: (top level): names are given twice: ada"),
        (("login-8", "login-7"), ":1:1: (top level): subjects are given twice: login-7"),
        (("keys: [bob.pem]", "keys: [ada.pem]"), ": one key is given to ada and to bob: it would not tell who signed"),
        (("keys: [ada.pem]", "keys: [../ada.pem]"), ":4:59: people.0.keys.0: string should match pattern"),
        (("keys: [ada.pem]", "keys: [eve.pem]"), "eve.pem cannot be read (No such file or directory)"),
        (("keys: [ada.pem]", "keys: [ada.key]"), "ada.key holds no public key in PEM"),
        (("keys: [ada.pem]", "keys: [rsa.pem]"), "rsa.pem holds no key on one of the curves"),
        ((', subject: "login-8"', ""), ":6:5: people.2: nothing proves who cleo is: give keys or a subject"),
        (('identity_provider: {issuer: "https://login.example/realms/care", audience: pe-training, jwks: jwks.json}\n', ""),
         ":1:1: (top level): a subject proves nothing without an identity_provider"),
        (("roles: [privacy]", "roles: []"), ":6:25: people.2.roles: list should have at least 1 item"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused_at_its_place(world: World, change: tuple[str, str], message: str) -> None:
    key_pair(world.folder, "rsa", private=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    assert change[0] in FILE
    world.file(FILE.replace(*change, 1))
    with pytest.raises(PeError) as caught:
        read_register(world.folder / "people.yaml")
    assert caught.value.kind == Kind.INPUT
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"keys": []}', '{"keys": [1]}', '{"keys": [{"kty": "EC"}]}'])
def test_a_key_set_without_keys_is_refused(world: World, tmp_path: Path, text: str) -> None:
    world.file(FILE.replace("jwks.json", "other.json"))
    (world.folder / "other.json").write_text(text)
    with pytest.raises(PeError) as caught:
        read_register(world.folder / "people.yaml").key_set()
    assert caught.value.message.endswith("holds no JSON Web Key Set with a key that can be used")
    (world.folder / "other.json").unlink()
    with pytest.raises(PeError) as caught:
        read_register(world.folder / "people.yaml").key_set()
    assert caught.value.message.endswith("cannot be read (No such file or directory)")


def test_keys_of_a_kind_that_we_do_not_know_do_not_hide_the_others(world: World) -> None:
    world.file(FILE)
    (world.folder / "jwks.json").write_text(json.dumps({"keys": [{"kty": "quantum", "kid": "q"}, world.provider.jwk]}))
    assert [key.key_id for key in read_register(world.folder / "people.yaml").key_set().keys] == ["k1"]


PAGE = (Path(__file__).parent.parent.parent / "docs" / "ops" / "approvals.md").read_text()


def test_what_the_operators_page_shows_is_what_is_read(tmp_path: Path) -> None:
    policy, people = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert [one.role for one in parse_policy(asking(policy), name="staging.yaml").approvals] == ["clinical_safety", "privacy"]
    assert [one.name for one in parse_config(people, People, name="people.yaml").people] == ["ada", "cleo"]
    for line in re.findall(r"^openssl .*$", PAGE, re.MULTILINE):
        subprocess.run(shlex.split(line), cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "people.yaml").write_text(people)
    register = read_register(tmp_path / "people.yaml")
    assert speaker_of_key(tmp_path / "ada.key", register=register)[0] == "ada"


def test_every_verb_and_option_that_the_operators_page_shows_exists() -> None:
    from typer.main import get_command

    from pe_training.cli.main import app

    verbs = get_command(app).commands  # type: ignore[attr-defined]
    lines = re.findall(r"^(pe \S+ .*)$", PAGE, re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        _, verb, *words = shlex.split(line)
        known = {name for option in verbs[verb].params for name in option.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_a_key_with_a_passphrase_is_opened_by_it_alone(world: World) -> None:
    private = ec.generate_private_key(ec.SECP384R1())
    (world.folder / "locked.key").write_bytes(
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"one two three"))
    )
    (world.folder / "bob.pem").write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    world.file(FILE)
    register = read_register(world.folder / "people.yaml")
    assert speaker_of_key(world.folder / "locked.key", register=register, ask=lambda: "one two three")[0] == "bob"
    with pytest.raises(PeError) as caught:
        speaker_of_key(world.folder / "locked.key", register=register, ask=lambda: "four")
    assert caught.value.message.endswith("locked.key is not opened by this passphrase")
