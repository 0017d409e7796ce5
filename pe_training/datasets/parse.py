"""One line of a shard as a row, fast: a million rows are read in seconds, and each still meets the strict model.

msgspec decodes what is plainly right. Whatever it does not like, and the few values that canonical JSON writes in a way of its
own, go to the strict model of rows.py, which alone decides what is wrong and how that is said. A test holds the two equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple

import msgspec
from pydantic import ValidationError

from pe_training.core.ids import canonical_json
from pe_training.datasets.complaints import RepeatedKeyError, complaint, may_repeat_keys, refuse_repeated_keys
from pe_training.datasets.rows import MAX_INTEGER, Message, Row, is_rfc3339

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
_Integer = Annotated[int, msgspec.Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
_LETTERS = {"system": "S", "user": "U", "assistant": "A"}


class _Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: Literal["system", "user", "assistant"]
    content: str


class _Provenance(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    original_s3_key: _Name
    processing_pipeline: _Name
    processed_at: str
    dedup_status: Literal["unique", "duplicate_removed", "near_duplicate_removed"]
    processing_steps: tuple[_Name, ...] | None = None


class _Metadata(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    source_family: _Name
    source_key: _Name
    content_hash: Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
    pii_status: Literal["scrubbed", "none_detected", "requires_review"]
    license_tag: Literal["therapeutic_license", "reddit_cc", "synthetic", "public_domain", "custom"]
    split: Literal["train", "val", "test"]
    phase: Annotated[str, msgspec.Meta(pattern=r"^stage[0-7]_[a-z0-9_]{1,60}\Z")]
    provenance: _Provenance
    conversation_length: _Count | None = None
    total_tokens: _Count | None = None
    quality_score: float | None = None
    bias_flags: tuple[_Name, ...] | None = None
    labels: dict[str, str | bool | _Integer | dict[str, _Integer]] | None = None
    group: dict[str, str] | None = None
    purpose: _Name | None = None
    language: Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2}\Z")] | None = None


class _Row(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    messages: Annotated[tuple[_Message, ...], msgspec.Meta(min_length=1)]
    metadata: _Metadata
    rejected: tuple[_Message, ...] | None = None


_decode = msgspec.json.Decoder(_Row).decode
_encode = msgspec.json.Encoder(order="sorted").encode
_known_time = lru_cache(maxsize=4_096)(is_rfc3339)


class NotARowError(ValueError):
    """A line that is no row: the dotted field and what is wrong with it, without the data."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class Profile(NamedTuple):
    """What a row shares with many others: rows that agree in all of it are judged once."""

    split: str
    family: str
    license_tag: str
    pii_status: str
    phase: str
    purpose: str | None
    language: str | None  # as the row declares it
    shape: str  # one letter a message: S, U, A, or '_' where it is empty; of a pair then '/' and the rejected answer, '=' if it is the last
    turns: int  # messages that are not the system's
    declared_turns: int | None
    hash_matches: bool  # the declared content hash is that of the messages
    file: int = 0  # index of its shard
    personal: str = ""  # kinds of personal data found in its text, comma between; empty where none
    suite: str | None = None  # the evaluation suite whose prompt its text repeats


class ParsedRow(NamedTuple):
    """A row's canonical JSON and the facts that checks look at."""

    canonical: bytes
    digest: bytes  # SHA-256 of the canonical JSON
    content: bytes  # SHA-256 of the producer's content hash, recomputed
    quality_score: float | None
    words: int  # between blanks, in all messages
    labels: tuple[tuple[str, str], ...]  # those whose values are names
    profile: Profile  # without its file and what only its text says
    turns: tuple[tuple[str, str], ...]  # role and content of every message, and of the rejected answer


def parse_row(line: bytes) -> ParsedRow:
    """The row on a line. Raises :class:`NotARowError`."""
    try:
        row = _decode(line)
        meta = row.metadata
        plain = _known_time(meta.provenance.processed_at) and _is_plain(meta)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        plain = False
    found = _parsed(row, _encode(row)) if plain else _parse_strictly(line)
    if may_repeat_keys(line, written=found.canonical):
        try:
            refuse_repeated_keys(line)
        except RepeatedKeyError as error:
            raise NotARowError("", str(error)) from None
    return found


def parsed_row(row: Row) -> ParsedRow:
    """A row that is already a strict one."""
    return _parsed(row, canonical_json(row.content()))


def _is_plain(meta: _Metadata) -> bool:
    """Whether both encoders write these values alike: scores that are whole, tiny or huge and keys beyond ASCII are not plain."""
    score = meta.quality_score
    if score is not None and not (0.001 < score < 1_000 and score % 1):
        return False
    nested = [value for value in meta.labels.values() if isinstance(value, dict)] if meta.labels else []
    return all(key.isascii() for mapping in (meta.labels, meta.group, *nested) if mapping for key in mapping)


def _parse_strictly(line: bytes) -> ParsedRow:
    try:
        return parsed_row(Row.model_validate_json(line))
    except ValidationError as error:
        raise NotARowError(*complaint(error, Row)) from None


def _parsed(row: Row | _Row, canonical: bytes) -> ParsedRow:
    meta = row.metadata
    messages: Sequence[_Message | Message] = row.messages
    contents = [message.content.strip() for message in messages]
    content = hashlib.sha256(" ".join(sorted([text.lower() for text in contents])).encode())
    shape = "".join([_LETTERS[m.role] if text else "_" for m, text in zip(messages, contents, strict=True)])
    rejected: Sequence[_Message | Message] = row.rejected or ()
    if row.rejected is not None:
        shape += "/" + "".join(
            ["=" if (text := m.content.strip()) == contents[-1] else _LETTERS[m.role] if text else "_" for m in rejected]
        )
    turns = sum([m.role != "system" for m in messages])
    return ParsedRow(
        canonical=canonical,
        digest=hashlib.sha256(canonical).digest(),
        content=content.digest(),
        quality_score=meta.quality_score,
        words=sum([len(text.split()) for text in contents]),
        labels=tuple([(key, value) for key, value in meta.labels.items() if isinstance(value, str)]) if meta.labels else (),
        profile=Profile(
            split=meta.split, family=meta.source_family, license_tag=meta.license_tag, pii_status=meta.pii_status, phase=meta.phase,
            purpose=meta.purpose, language=meta.language, shape=shape, turns=turns, declared_turns=meta.conversation_length,
            hash_matches=meta.content_hash[7:] == content.hexdigest(),
        ),
        turns=tuple([(message.role, message.content) for message in (*messages, *rejected)]),
    )  # fmt: skip
