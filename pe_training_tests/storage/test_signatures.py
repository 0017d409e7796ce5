"""A model that a trusted key has signed is loaded; one that was changed, exchanged, or signed by a stranger is not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat, PublicFormat

from pe_training.core.errors import Kind, PeError
from pe_training.core.records import Attachment
from pe_training.settings import Settings
from pe_training.storage.keys import signing_key, trusted_keys
from pe_training.storage.signatures import judged, put_signed, require_signed, sign
from pe_training.storage.state import State
from pe_training_tests.storage.things import Thing, refused


def key_pair(folder: Path, name: str, *, private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None) -> tuple[Path, Path]:
    """Files of a new private key and its public half."""
    folder.mkdir(exist_ok=True)
    made = private or ec.generate_private_key(ec.SECP256R1())
    secret, public = folder / f"{name}.key", folder / f"{name}.pem"
    secret.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return secret, public


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A home that signs with the key `ours` and trusts nothing else."""
    secret, public = key_pair(tmp_path / "keys", "ours")
    return State(Settings(home=tmp_path / "home", signing_key=secret, trusted_keys=public))


def model(state: State, number: int = 1) -> Thing:
    """A record with two files, stored without a signature."""
    texts = {"config.json": f"config {number}".encode(), "model.safetensors": f"weights {number}".encode()}
    pages = tuple(Attachment(path=name, digest=state.artifacts.put_bytes(text), size_bytes=len(text)) for name, text in texts.items())
    return Thing(number=number, pages=pages)


def other(state: State, folder: Path, *, trusted: Path | None = None) -> State:
    """The same registry and store, where somebody else signs."""
    secret, public = key_pair(folder, "theirs")
    return State(state.settings.model_copy(update={"signing_key": secret, "trusted_keys": trusted or public}))


def test_a_signed_model_may_be_loaded_and_its_id_is_the_same_as_unsigned(state: State) -> None:
    thing = model(state)
    unsigned = thing.id
    put_signed(thing, state=state)
    require_signed(thing.id, thing.files(), state=state)
    assert state.registry.get(unsigned, Thing) == thing
    assert [file.path.partition("/")[0] for file in state.registry.attachments(thing.id)] == [
        "config.json",
        "model.safetensors",
        "signatures",
    ]


def test_signing_again_answers_with_the_signature_that_is_there(state: State) -> None:
    thing = model(state)
    put_signed(thing, state=state)
    key = signing_key(state.settings)
    assert key is not None
    first = sign(thing, key=key, state=state)
    assert sign(thing, key=key, state=state) == first
    assert len(state.registry.attachments(thing.id)) == 3


def test_the_standard_tool_comes_to_the_same_answer(state: State, tmp_path: Path) -> None:
    thing = model(state)
    put_signed(thing, state=state)
    folder = state.artifacts.checkout(thing.files(), tmp_path / "served")
    signature = tmp_path / "model.sig"
    signature.write_bytes(state.artifacts.get(state.registry.attachments(thing.id)[-1].digest))

    def tool() -> int:
        words = ["-m", "model_signing", "verify", "key", str(folder), "--signature", str(signature), "--public_key"]
        return subprocess.run([sys.executable, *words, str(state.settings.trusted_keys)], capture_output=True, check=False).returncode

    assert tool() == 0
    (folder / "config.json").unlink()
    (folder / "config.json").write_text("another")
    assert tool() == 1


def test_a_machine_without_keys_neither_signs_nor_asks(state: State) -> None:
    plain = State(state.settings.model_copy(update={"signing_key": None, "trusted_keys": None}))
    thing = model(plain)
    put_signed(thing, state=plain)
    require_signed(thing.id, thing.files(), state=plain)
    assert len(plain.registry.attachments(thing.id)) == 2
    assert refused(lambda: require_signed(thing.id, thing.files(), state=state))[0] is Kind.REFUSED


def by_a_stranger(state: State, thing: Thing, folder: Path) -> None:
    put_signed(thing, state=other(state, folder))


def moved_from_another(state: State, thing: Thing, folder: Path) -> None:
    """The signature of another model, filed under this one."""
    put_signed(model(state, 2), state=state)
    signature = state.registry.attachments(model(state, 2).id)[-1]
    state.registry.put(thing)
    with state.registry.writing() as connection:
        state.registry.attach_in(connection, thing.id, signature)


def altered(change: Callable[[dict[str, dict[str, object]]], object]) -> Callable[[State, Thing, Path], None]:
    """Our signature with something in it changed."""

    def spoil(state: State, thing: Thing, folder: Path) -> None:
        put_signed(model(state, 2), state=state)
        signature = state.registry.attachments(model(state, 2).id)[-1]
        bundle = json.loads(state.artifacts.get(signature.digest))
        change(bundle)
        text = json.dumps(bundle).encode()
        state.registry.put(thing)
        with state.registry.writing() as connection:
            made = Attachment(path="signatures/0.sig", digest=state.artifacts.put_bytes(text), size_bytes=len(text))
            state.registry.attach_in(connection, thing.id, made)

    return spoil


SPOILED = {
    "by a stranger": (by_a_stranger, "its key is not trusted here"),
    "moved from another": (moved_from_another, "it was made for other files: config.json, model.safetensors differ"),
    "empty": (altered(lambda bundle: bundle.clear()), "its key is not trusted here"),
    "without a signature": (altered(lambda bundle: bundle.pop("dsseEnvelope")), "it is not valid (ValidationError)"),
    "other payload": (
        altered(lambda bundle: bundle["dsseEnvelope"].update(payload="e30=")),
        "it is not valid (InvalidSignature)",
    ),
    "no key named": (altered(lambda bundle: bundle["verificationMaterial"].clear()), "its key is not trusted here"),
}


@pytest.mark.parametrize(("spoil", "said"), SPOILED.values(), ids=SPOILED)
def test_a_signature_that_is_not_a_trusted_keys_over_these_files_is_refused(
    spoil: Callable[[State, Thing, Path], None], said: str, state: State, tmp_path: Path
) -> None:
    thing = model(state)
    spoil(state, thing, tmp_path / "theirs")
    kind, message = refused(lambda: require_signed(thing.id, thing.files(), state=state))
    assert kind is Kind.REFUSED
    assert said in message
    assert "is not signed by a trusted key" in message


def test_a_record_whose_files_were_exchanged_is_refused_though_its_signature_is_real(state: State) -> None:
    thing = model(state)
    put_signed(thing, state=state)
    evil = state.artifacts.put_bytes(b"other weights")
    exchanged = [file.model_copy(update={"digest": evil}) if file.path == "model.safetensors" else file for file in thing.files()]
    assert "for other files: model.safetensors differ" in refused(lambda: require_signed(thing.id, exchanged, state=state))[1]
    more = [*thing.files(), Attachment(path="code.py", digest=evil, size_bytes=13)]
    assert "for other files: code.py differ" in refused(lambda: require_signed(thing.id, more, state=state))[1]
    assert "for other files: model.safetensors differ" in refused(lambda: require_signed(thing.id, thing.files()[:1], state=state))[1]


def test_one_of_several_trusted_keys_is_enough(state: State, tmp_path: Path) -> None:
    thing = model(state)
    put_signed(thing, state=state)
    theirs = other(state, tmp_path / "keys", trusted=tmp_path / "keys")
    key = signing_key(theirs.settings)
    assert key is not None
    sign(thing, key=key, state=theirs)
    trusted = trusted_keys(theirs.settings)
    assert trusted is not None
    assert [one.problem for one in judged(thing.id, thing.files(), trusted=trusted, state=theirs)] == [None, None]
    (tmp_path / "keys" / "ours.pem").unlink()  # a key that is withdrawn
    require_signed(thing.id, thing.files(), state=theirs)
    (tmp_path / "keys" / "theirs.pem").unlink()
    assert "no public key in" in refused(lambda: require_signed(thing.id, thing.files(), state=theirs))[1]


def test_damaged_weights_are_not_signed(state: State) -> None:
    thing = model(state)
    state.registry.put(thing)
    state.artifacts.delete(thing.files()[0].digest)
    key = signing_key(state.settings)
    assert key is not None
    assert refused(lambda: sign(thing, key=key, state=state))[0] is Kind.CORRUPT
    assert len(state.registry.attachments(thing.id)) == 2


def encrypted(folder: Path) -> Path:
    path = folder / "secret.key"
    path.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    )
    return path


def text(folder: Path) -> Path:
    path = folder / "notes.txt"
    path.write_text("this is no key")
    return path


UNUSABLE = {
    "absent": (lambda folder: folder / "none.key", "cannot be read (No such file or directory)"),
    "text": (text, "holds no private key in PEM"),
    "encrypted": (encrypted, "is encrypted, and nobody is here to be asked"),
    "RSA": (lambda folder: key_pair(folder, "rsa", private=rsa.generate_private_key(65537, 2048))[0], "holds no key on one of the curves"),
    "Bitcoin's curve": (lambda folder: key_pair(folder, "k", private=ec.generate_private_key(ec.SECP256K1()))[0], "holds no key on one of"),
}


@pytest.mark.parametrize(("make", "said"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_key_that_cannot_sign_is_one_error_that_says_how_to_make_one(make: Callable[[Path], Path], said: str, tmp_path: Path) -> None:
    kind, message = refused(lambda: signing_key(Settings(home=tmp_path, signing_key=make(tmp_path), trusted_keys=None)))
    assert kind is Kind.INPUT
    assert message.startswith("PE_SIGNING_KEY: ")
    assert said in message
    assert "openssl ecparam" in message


def test_a_trusted_key_is_public_and_the_key_that_signs_is_trusted(state: State, tmp_path: Path) -> None:
    secret, _ = key_pair(tmp_path / "more", "more")
    for path in (secret, text(tmp_path)):
        message = refused(lambda path=path: trusted_keys(Settings(home=tmp_path, trusted_keys=path)))[1]  # type: ignore[misc]
        assert "holds no public key in PEM" in message
    wrong = state.settings.model_copy(update={"signing_key": secret})
    assert "is not among the trusted keys" in refused(lambda: signing_key(wrong))[1]


def test_without_the_library_one_error_says_what_to_install(tmp_path: Path) -> None:
    secret, _ = key_pair(tmp_path, "ours")
    code = f"""
import sys; sys.modules["model_signing"] = None
from pathlib import Path
from pe_training.core.errors import PeError
from pe_training.settings import Settings
from pe_training.storage.keys import signing_key
try:
    signing_key(Settings(signing_key=Path({str(secret)!r})))
except PeError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "PE_SIGNING_KEY: signatures need the package model-signing (install it: pip install 'pe-training[signing]')\n"


def test_two_who_sign_at_once_leave_one_signature(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    thing = model(state)
    state.registry.put(thing)
    key = signing_key(state.settings)
    assert key is not None
    slower: list[bool] = []
    begin = state.registry.writing

    def late() -> object:
        if not slower:
            slower.append(True)
            sign(thing, key=key, state=State(state.settings))
        return begin()

    monkeypatch.setattr(state.registry, "writing", late)
    made = sign(thing, key=key, state=state)
    assert [file for file in state.registry.attachments(thing.id) if file.path.startswith("signatures/")] == [made]
    require_signed(thing.id, thing.files(), state=state)


def test_what_cannot_be_signed_is_not_stored_either(state: State) -> None:
    thing = model(state)
    assert state.settings.signing_key is not None
    state.settings.signing_key.unlink()
    with pytest.raises(PeError):
        put_signed(thing, state=state)
    assert state.registry.find(thing.id, Thing) is None
