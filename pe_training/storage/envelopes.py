"""Signed statements: DSSE envelopes (https://github.com/secure-systems-lab/dsse), signed with the key that models are signed with.

What is signed is the payload with its type and both lengths, so that an envelope means one thing only. Signatures are deterministic
(RFC 6979): the same statement and key give the same bytes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from pe_training.core.ids import canonical_json
from pe_training.storage.keys import Key

_HASHES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}


def sealed(payload: bytes, *, payload_type: str, key: Key) -> bytes:
    """The envelope of ``payload``, signed."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private: Any = load_pem_private_key(key.path.read_bytes(), None)
    signature = private.sign(signed_bytes(payload, payload_type=payload_type), _algorithm(private.curve.name))
    made = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [{"keyid": key.fingerprint, "sig": base64.b64encode(signature).decode()}],
    }
    return canonical_json(made) + b"\n"


def problem_of(envelope: bytes, *, payload: bytes, payload_type: str, trusted: Sequence[Key]) -> str | None:
    """Why an envelope is not a trusted key's word for this payload; ``None`` where it is."""
    try:
        said = json.loads(envelope)
        inside, kind = base64.b64decode(said["payload"], validate=True), said["payloadType"]
        signatures = {str(one["keyid"]): base64.b64decode(one["sig"], validate=True) for one in said["signatures"]}
    except (ValueError, LookupError, TypeError):
        return "it is no signed envelope"
    if (inside, kind) != (payload, payload_type):
        return "it was made for something else"
    known = [key for key in trusted if key.fingerprint in signatures]
    if not known:
        return "its key is not trusted here"
    text = signed_bytes(payload, payload_type=payload_type)
    return None if any(_holds(signatures[key.fingerprint], text, key=key) for key in known) else "its signature is not valid"


def signed_bytes(payload: bytes, *, payload_type: str) -> bytes:
    """What a signature is over: the pre-authentication encoding of the DSSE protocol, version 1."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _holds(signature: bytes, text: bytes, *, key: Key) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    public: Any = load_pem_public_key(key.path.read_bytes())
    try:
        public.verify(signature, text, _algorithm(public.curve.name))
    except InvalidSignature:
        return False
    return True


def _algorithm(curve: str) -> Any:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    return ECDSA(getattr(hashes, _HASHES[curve])(), deterministic_signing=True)
