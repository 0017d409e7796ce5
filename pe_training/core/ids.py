"""Names that prove what they name: ids are digests of canonical content.

Two machines that agree on content agree on ids, so "same manifest, same bits" can be checked by comparing strings.
A clock, a path or a host name never enters an id. Content is canonicalised as RFC 8785 JSON and hashed with SHA-256;
an id keeps the first 128 bits (docs/adr/0002), an artifact digest all 256.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import rfc8785

ID_HEX_DIGITS = 32
SHORT_HEX_DIGITS = 10
MAX_INTEGER = 2**53 - 1  # beyond it JSON numbers are not exact (RFC 8785, section 3.2.2.3)
KINDS = {
    "ds": "dataset version",
    "mf": "manifest",
    "run": "training run",
    "ck": "checkpoint",
    "im": "imported model",
    "jc": "judge calibration",
    "ev": "evaluation report",
    "pd": "promotion decision",
}
_ID = re.compile(rf"({'|'.join(KINDS)})_[0-9a-f]{{{ID_HEX_DIGITS}}}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHUNK_BYTES = 1 << 20


def canonical_json(content: Any) -> bytes:
    """RFC 8785 bytes of JSON-compatible ``content``: the same value always gives the same bytes."""
    return rfc8785.dumps(content)


def digest_bytes(data: bytes) -> str:
    """``sha256:`` digest of ``data``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_json(content: Any) -> str:
    """``sha256:`` digest of the canonical JSON of ``content``."""
    return digest_bytes(canonical_json(content))


def digest_file(path: Path) -> str:
    """``sha256:`` digest of a file, read in chunks of 1 MiB."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return "sha256:" + hasher.hexdigest()


def make_id(kind: str, content: Any) -> str:
    """Id of ``content`` as a record of ``kind`` (a key of :data:`KINDS`)."""
    assert kind in KINDS, kind
    return f"{kind}_{hashlib.sha256(canonical_json(content)).hexdigest()[:ID_HEX_DIGITS]}"


def kind_of(identifier: str) -> str:
    """The kind prefix of an id: ``ck_ab12...`` -> ``ck``."""
    return identifier.partition("_")[0]


def is_id(text: str) -> bool:
    """Whether ``text`` is a whole id of a known kind."""
    return bool(_ID.fullmatch(text))


def is_digest(text: str) -> bool:
    """Whether ``text`` is a whole ``sha256:`` digest."""
    return bool(_DIGEST.fullmatch(text))


def short(identifier: str) -> str:
    """An id or digest abbreviated for reading; every verb that takes an id accepts this form."""
    prefix, separator, rest = identifier.partition(":" if identifier.startswith("sha256:") else "_")
    return f"{prefix}{separator}{rest[:SHORT_HEX_DIGITS]}"
