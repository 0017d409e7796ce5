"""Proof that a statement is its speaker's: a signature with a key of theirs, or a token that the identity provider made for these words.

A signature is ECDSA over DSSE's pre-authentication encoding of the statement's text (Dead Simple Signing Envelope 1.0), so no signature
that was made for anything else can pass for one. A token is an OpenID Connect ID token whose ``nonce`` is the digest of the statement
(as in OpenPubkey): one that only says who is logged in proves nothing about what they said, and is refused. Neither is a secret.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pe_training.core.clock import now
from pe_training.core.errors import Kind
from pe_training.core.ids import digest_bytes
from pe_training.datasets.gate import GateError
from pe_training.promotion.people import PEOPLE, Register
from pe_training.promotion.statements import KeySeal, Seal, Statement, TokenSeal, text_of
from pe_training.storage.keys import checked, fingerprint_of, read_private, read_public

PAYLOAD_TYPE = "application/vnd.pe-training.statement+json"
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")  # nothing with a shared secret
CLAIMS = ("iss", "aud", "sub", "iat", "exp", "nonce")
LEEWAY_S = 60
_END_OF_TIME_S = 2**35  # the year 3058
KEY_OPTION = "--key"


def speaker_of_key(path: Path, *, register: Register, ask: Callable[[], str] | None = None) -> tuple[str, Any]:
    """Whose private key a file holds, and the key. Raises input, or refused where nobody's."""
    private = read_private(path, where=KEY_OPTION, ask=ask)
    fingerprint = checked(path, private.public_key(), KEY_OPTION).fingerprint
    if fingerprint not in register.owners:
        raise GateError(
            Kind.REFUSED, "this key is nobody's here", where=KEY_OPTION, hint=f"its public half must be in the file of {PEOPLE}"
        )
    return register.owners[fingerprint], private


def sign(statement: Statement, private: Any) -> KeySeal:
    """Seal with an elliptic-curve private key."""
    signature = private.sign(_encoded(text_of(statement)), _algorithm(private))
    return KeySeal(key=fingerprint_of(private.public_key()), signature=base64.b64encode(signature).decode())


def speaker_of_token(token: str, *, register: Register) -> str:
    """Whose valid token it is, whatever for. Raises refused."""
    claims = _claims(token, register=register)
    moment = now().timestamp()
    if not claims["iat"] - LEEWAY_S <= moment <= claims["exp"] + LEEWAY_S:
        raise GateError(Kind.REFUSED, "the token is not valid at this time", where=PEOPLE, hint="log in again")
    person = register.of_subject(claims["sub"])
    if person is None:
        raise GateError(Kind.REFUSED, "the token is of nobody who is named here", where=PEOPLE, hint="name its `sub` as somebody's subject")
    return person


def read_seal(*, key: str, signature: str, token: str) -> Seal:
    """The seal in three texts of a form, of which those that do not apply are empty. Raises refused."""
    try:
        if token and not (key or signature):
            return TokenSeal(token=token)
        if key and signature and not token:
            return KeySeal(key=key, signature=signature)
    except ValidationError:
        message = "this is no seal"
    else:
        message = "a name alone proves nothing: there is no seal"
    hint = "give `key` and `signature`, or `token`: `pe approve PD ... --dry-run` makes them"
    raise GateError(Kind.REFUSED, message, where="the seal", hint=hint)


def speaker_of(seal: Seal, *, register: Register) -> str:
    """Whose seal it says it is. Whether that is so, only :func:`fault` says. Raises refused."""
    if isinstance(seal, TokenSeal):
        return speaker_of_token(seal.token, register=register)
    if seal.key not in register.owners:
        raise GateError(Kind.REFUSED, "this key is nobody's here", where=PEOPLE, hint="its public half must be in that file")
    return register.owners[seal.key]


def fault(statement: Statement, seal: Seal, *, register: Register) -> str | None:
    """Why a seal does not prove that the speaker said this on that day; ``None`` where it does."""
    return _signature_fault(statement, seal, register) if isinstance(seal, KeySeal) else _token_fault(statement, seal, register)


def _signature_fault(statement: Statement, seal: KeySeal, register: Register) -> str | None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec

    if register.owners.get(seal.key) is None:
        return "the key that signed it is not trusted here"
    if register.owners[seal.key] != statement.person:
        return f"the key that signed it is not {statement.person}'s"
    public = read_public(register.files[seal.key], where=PEOPLE)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    try:
        signature = base64.b64decode(seal.signature, validate=True)
        public.verify(signature, _encoded(text_of(statement)), _algorithm(public))
    except (InvalidSignature, ValueError):
        return "the signature is not of these words"
    return None if base64.b64encode(signature).decode() == seal.signature else "the signature was written anew"


def _token_fault(statement: Statement, seal: TokenSeal, register: Register) -> str | None:
    try:
        claims = _claims(seal.token, register=register)
    except GateError as error:
        return error.message
    if register.of_subject(claims["sub"]) != statement.person:
        return f"the token is not {statement.person}'s"
    if claims["nonce"] != digest_bytes(text_of(statement)):
        return "the token was not made for these words"
    if not _day(claims["iat"] - LEEWAY_S) <= statement.on <= _day(claims["exp"] + LEEWAY_S):
        return "the token was not valid on that day"
    return None


def _claims(token: str, *, register: Register) -> dict[str, Any]:
    """Claims of a token that the identity provider signed for us. Raises refused."""
    import jwt

    provider = register.content.identity_provider
    if provider is None:
        raise GateError(Kind.REFUSED, "no identity provider is trusted here", where=PEOPLE, hint="add one to the file, or sign with a key")
    if any(_rewritten(part) for part in token.split(".")):
        raise GateError(Kind.REFUSED, "the token does not count: it was written anew", where=PEOPLE, hint="log in again for exactly this")
    keys = {key.key_id: key for key in register.key_set().keys}
    try:
        key = keys.get(jwt.get_unverified_header(token).get("kid"))
        if key is None or key.algorithm_name not in ALGORITHMS:
            raise jwt.InvalidKeyError
        found: dict[str, Any] = jwt.decode(
            token, key.key, algorithms=[key.algorithm_name], audience=provider.audience, issuer=provider.issuer,
            options={"require": list(CLAIMS), "verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )  # fmt: skip
    except jwt.PyJWTError as error:
        reasons = {
            jwt.InvalidKeyError: "its key is not among those of the provider", jwt.InvalidSignatureError: "its signature is wrong",
            jwt.InvalidAudienceError: "it is made for others", jwt.InvalidIssuerError: "it is of another issuer",
        }  # fmt: skip
        reason = next((text for kind, text in reasons.items() if isinstance(error, kind)), "it is not a whole token with a nonce")
        raise GateError(Kind.REFUSED, f"the token does not count: {reason}", where=PEOPLE, hint="log in again for exactly this") from None
    if not all(type(found[name]) in (int, float) and 0 <= found[name] < _END_OF_TIME_S for name in ("iat", "exp")):
        raise GateError(
            Kind.REFUSED, "the token does not count: its times are no times", where=PEOPLE, hint="log in again for exactly this"
        )
    return found


def _rewritten(part: str) -> bool:
    """Whether a part of a token is not the one way to write its bytes, which its signature would not notice."""
    try:
        return (
            base64.urlsafe_b64encode(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)).decode().rstrip("=")
            != part
        )
    except ValueError:
        return True


def _encoded(text: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(text)} ".encode() + text


def _algorithm(key: Any) -> Any:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    hashed: dict[int, hashes.HashAlgorithm] = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
    return ec.ECDSA(hashed[key.key_size])


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
