"""Who vouches for a model's files: signatures in OpenSSF's Model Signing format, and the demand for one before weights are loaded.

A digest proves that bytes are those that a record names; whoever can write to registry and store could change both. A signature is made
with a key that lies elsewhere. It is over the digests that the record lists, with which every read of the bytes is compared anyway, so
neither signing nor checking reads weights. On a folder with these files `model_signing verify key` comes to the same answer.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.core.records import Attachment, Record
from pe_training.storage.keys import TRUSTED, Key, signing_key, trusted_keys
from pe_training.storage.state import State

FOLDER = "signatures"  # of a record's attachments; no part of its content, so that signing changes no id


@dataclass(frozen=True)
class Judged:
    """One signature of a model. ``problem`` is ``None`` where a trusted key made it, over exactly the files of the record."""

    path: str
    digest: str
    trusted: bool  # whether it is by a key that is trusted here, or says so
    problem: str | None = None


def put_signed(record: Record, *, state: State) -> None:
    """Store a model's record and, where this machine signs, its signature: both or none."""
    key = signing_key(state.settings)
    made = _made(record.files(), name=record.id, key=key, state=state) if key else None
    with state.registry.writing() as connection:
        state.registry.put_in(connection, record)
        if made:
            state.registry.attach_in(connection, record.id, made)


def sign(record: Record, *, key: Key, state: State) -> Attachment:
    """Sign a stored model with ``key``, once: the signature that it has is the answer. Reads every byte first. Raises corrupt."""
    for file in record.files():
        state.artifacts.verify(file.digest)
    found = _by(key, state.registry.attachments(record.id))
    if found is None:
        made = _made(record.files(), name=record.id, key=key, state=state)
        try:
            with state.registry.writing() as connection:
                state.registry.attach_in(connection, record.id, made)
        except PeError as error:
            if error.kind is not Kind.CONFLICT:
                raise
        found = _by(key, state.registry.attachments(record.id))  # of two signers at once one was first
        assert found is not None
    return found


def judged(identifier: str, files: Sequence[Attachment], *, trusted: Sequence[Key], state: State) -> Iterator[Judged]:
    """Every signature of a model, judged by the trusted keys. ``files``: what the record itself says it consists of."""
    by_fingerprint = {key.fingerprint: key for key in trusted}
    for attachment in state.registry.attachments(identifier):
        if not _is_signature(attachment):
            continue
        bundle = state.artifacts.get(attachment.digest)
        key = by_fingerprint.get(_named_key(bundle))
        problem = _problem(bundle, files, key=key) if key else "its key is not trusted here"
        yield Judged(attachment.path, attachment.digest, trusted=key is not None, problem=problem)


def require_signed(identifier: str, files: Sequence[Attachment], *, state: State) -> None:
    """Refuse a model that no trusted key has signed, where this machine asks for it. To be called before its weights are loaded."""
    trusted = trusted_keys(state.settings)
    if trusted is None:
        return
    found = list(judged(identifier, files, trusted=trusted, state=state))
    if any(one.problem is None for one in found):
        return
    said = "; ".join(f"{one.path}: {one.problem}" for one in found)
    message = f"{short(identifier)} is not signed by a trusted key" + (f" ({said})" if said else "")
    raise PeError(
        Kind.REFUSED, message, where=identifier, hint=f"whoever vouches for it runs `pe sign {short(identifier)}` with a key of {TRUSTED}"
    )


def _named_key(bundle: bytes) -> str:
    """The fingerprint that a signature names; empty for what is no signature with a key."""
    try:
        return str(json.loads(bundle)["verificationMaterial"]["publicKey"]["hint"])
    except (ValueError, LookupError, TypeError):
        return ""


def _is_signature(file: Attachment) -> bool:
    return file.path.startswith(f"{FOLDER}/")


def _path(key: Key) -> str:
    return f"{FOLDER}/{key.fingerprint[:16]}.sig"


def _by(key: Key, attachments: Sequence[Attachment]) -> Attachment | None:
    return next((file for file in attachments if file.path == _path(key)), None)


def _made(files: Sequence[Attachment], *, name: str, key: Key, state: State) -> Attachment:
    from model_signing import signing

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model.sig"
        config = signing.Config().use_elliptic_key_signer(private_key=key.path)
        config.set_hashing_config(_listed(files)).sign(name, target)
        bundle = target.read_bytes()
    return Attachment(path=_path(key), digest=state.artifacts.put_bytes(bundle), size_bytes=len(bundle))


def _problem(bundle: bytes, files: Sequence[Attachment], *, key: Key) -> str | None:
    from model_signing import verifying

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.sig"
        path.write_bytes(bundle)
        config = verifying.Config().use_elliptic_key_verifier(public_key=key.path)
        try:
            config.set_hashing_config(_listed(files)).verify(folder, path)
        except Exception as error:  # noqa: BLE001 (whatever a forged signature breaks in its reader, it is not valid)
            if str(error).startswith("Signature mismatch"):  # the key did sign it
                return f"it was made for other files: {_different(bundle, files)}"
            return f"it is not valid ({type(error).__name__})"
    return None


def _different(bundle: bytes, files: Sequence[Attachment]) -> str:
    """Names of files that a signature names with other digests, or not at all, or alone."""
    signed = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))["predicate"]["resources"]
    said = {resource["name"]: f"sha256:{resource['digest']}" for resource in signed}
    here = {file.path: file.digest for file in files}
    names = sorted(name for name in said.keys() | here.keys() if said.get(name) != here.get(name))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") + " differ"


def _listed(files: Sequence[Attachment]) -> Any:
    """What the library would find by hashing a folder with ``files``, from the digests that are known."""
    from model_signing import hashing, manifest
    from model_signing._hashing.hashing import Digest  # not public, but what the library compares

    made = manifest.SerializationType.from_args({"method": "files", "hash_type": "sha256", "allow_symlinks": False})
    items = [
        manifest.FileManifestItem(
            path=PurePosixPath(file.path), digest=Digest("sha256", bytes.fromhex(file.digest.removeprefix("sha256:")))
        )
        for file in files
    ]

    class Listed(hashing.Config):  # type: ignore[misc]
        def hash(self, model_path: Any, *, files_to_hash: Any = None) -> Any:
            return manifest.Manifest(str(model_path), items, made)

    return Listed()
