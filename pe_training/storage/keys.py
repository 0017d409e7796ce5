"""The keys that sign models and the keys that are trusted to: files in PEM, on the curves that OpenSSF's Model Signing takes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pe_training.core.errors import Kind, PeError
from pe_training.settings import Settings

SIGNING, TRUSTED = "PE_SIGNING_KEY", "PE_TRUSTED_KEYS"
_CURVES = ("secp256r1", "secp384r1", "secp521r1")


@dataclass(frozen=True)
class Key:
    """A file that holds an elliptic-curve key. ``fingerprint``: SHA-256 of the public key's PEM text, as a signature names its key."""

    path: Path
    fingerprint: str


def signing_key(settings: Settings) -> Key | None:
    """The key that new models are signed with, or ``None``. Raises input for one that cannot be used, or that is not trusted here."""
    if settings.signing_key is None:
        return None
    key = _private(settings.signing_key)
    trusted = trusted_keys(settings)
    if trusted is not None and key.fingerprint not in {one.fingerprint for one in trusted}:
        message = f"the public half of {key.path} is not among the trusted keys: what it signs could not be loaded here"
        raise PeError(Kind.INPUT, message, where=SIGNING, hint=f"add it to {TRUSTED} (openssl ec -in KEY -pubout)")
    return key


def trusted_keys(settings: Settings) -> tuple[Key, ...] | None:
    """The keys of which one must have signed a model before it is loaded; ``None`` where none is asked for. Raises input."""
    where = settings.trusted_keys
    if where is None:
        return None
    paths = [where] if where.is_file() else sorted(where.glob("*.pem"))
    if not paths:
        raise PeError(
            Kind.INPUT, f"no public key in {where}", where=TRUSTED, hint="name a .pem file, or a folder of them; unset it to trust all"
        )
    return tuple(_public(path) for path in paths)


def _private(path: Path) -> Key:
    _require_library(SIGNING)
    return checked(path, read_private(path, where=SIGNING).public_key(), SIGNING)


def _public(path: Path) -> Key:
    _require_library(TRUSTED)
    return checked(path, read_public(path, where=TRUSTED), TRUSTED)


def public_key(path: Path, *, where: str) -> Key:
    """The key in a file of a public key. Raises input, at ``where``."""
    return checked(path, read_public(path, where=where), where)


def read_private(path: Path, *, where: str, ask: Callable[[], str] | None = None) -> Any:
    """The private key in a PEM file; ``ask`` gets the passphrase of an encrypted one from a person. Raises input, at ``where``."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = _text(path, where)
    try:
        return load_pem_private_key(text, None)
    except ValueError:
        raise _unusable(path, where, "holds no private key in PEM") from None
    except TypeError:
        if ask is None:
            raise _unusable(path, where, "is encrypted, and nobody is here to be asked") from None
    try:
        return load_pem_private_key(text, ask().encode())
    except ValueError:
        raise PeError(Kind.INPUT, f"{path} is not opened by this passphrase", where=where, hint="run the command again") from None


def read_public(path: Path, *, where: str) -> Any:
    """The public key in a PEM file. Raises input, at ``where``."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        return load_pem_public_key(_text(path, where))
    except ValueError:
        raise _unusable(path, where, "holds no public key in PEM") from None


def _text(path: Path, where: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unusable(path, where, f"cannot be read ({os.strerror(error.errno or 0)})") from None


def checked(path: Path, public: Any, where: str) -> Key:
    """The key of a file, on one of our curves. Raises input, at ``where``."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    if not isinstance(public, EllipticCurvePublicKey) or public.curve.name not in _CURVES:
        raise _unusable(path, where, f"holds no key on one of the curves {', '.join(_CURVES)}")
    return Key(path.absolute(), fingerprint_of(public))


def fingerprint_of(public: Any) -> str:
    """SHA-256 of a public key's PEM text."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _unusable(path: Path, where: str, what: str) -> PeError:
    hint = "make one: openssl ecparam -name prime256v1 -genkey -noout -out KEY; its public half: openssl ec -in KEY -pubout"
    return PeError(Kind.INPUT, f"{path} {what}", where=where, hint=hint)


def _require_library(where: str) -> None:
    try:
        import model_signing.signing  # noqa: F401
    except ImportError:
        hint = "install it: pip install 'pe-training[signing]'"
        raise PeError(Kind.INPUT, "signatures need the package model-signing", where=where, hint=hint) from None
