"""One row of a release: the strict model, and the two digests that a row has.

The producer's ``content_hash`` sorts the messages and forgets who said what, so two different dialogues can share it. It is
recomputed for acceptance and finds repeats; what names a dataset is :func:`row_digest`, which sees order, roles and metadata.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from pe_training.core.ids import digest_json
from pe_training.core.records import Frozen

MAX_INTEGER = 2**53 - 1  # the largest that JSON carries exactly
_RFC3339 = re.compile(r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$")


def _rfc3339(text: str) -> str:
    if not _RFC3339.match(text):
        raise ValueError("must be an RFC 3339 time such as 2026-01-01T00:00:00Z")
    if not is_rfc3339(text):
        raise ValueError("is not a time that exists")
    return text


def is_rfc3339(text: str) -> bool:
    """Whether ``text`` is an RFC 3339 time that exists."""
    try:
        datetime.fromisoformat(text.upper())
    except ValueError:
        return False
    return bool(_RFC3339.match(text))


def split_name(value: Any) -> Any:
    """``validation``, as some producers write it, is ``val`` here."""
    return "val" if value == "validation" else value


Name = Annotated[str, Field(min_length=1, max_length=1024)]
Time = Annotated[str, AfterValidator(_rfc3339)]
SplitName = Annotated[Literal["train", "val", "test"], BeforeValidator(split_name)]
Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Integer = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]
Label = str | bool | Integer | dict[str, Integer]


class Message(BaseModel):
    """One turn. Strict like every value here; its field ``content`` is why it is not a :class:`Frozen`."""

    model_config = Frozen.model_config

    role: Literal["system", "user", "assistant"]
    content: str


class Provenance(Frozen):
    """How the row came to be."""

    original_s3_key: Name
    processing_pipeline: Name
    processed_at: Time
    dedup_status: Literal["unique", "duplicate_removed", "near_duplicate_removed"]
    processing_steps: tuple[Name, ...] | None = None


class Metadata(Frozen):
    """What a row says of itself. Values that a check judges (licence, PII, quality) are only typed here."""

    source_family: Name
    source_key: Name
    content_hash: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    pii_status: Literal["scrubbed", "none_detected", "requires_review"]
    license_tag: Literal["therapeutic_license", "reddit_cc", "synthetic", "public_domain", "custom"]
    split: SplitName
    phase: str = Field(pattern=r"^stage[0-7]_[a-z0-9_]{1,60}$")
    provenance: Provenance
    conversation_length: Count | None = None
    total_tokens: Count | None = None
    quality_score: float | None = None
    bias_flags: tuple[Name, ...] | None = None
    labels: dict[str, Label] | None = None
    group: dict[str, str] | None = None
    purpose: Name | None = None
    language: str | None = Field(default=None, pattern=r"^[a-z]{2}$")  # ISO 639-1


class Row(Frozen):
    """One dialogue with its metadata."""

    messages: tuple[Message, ...] = Field(min_length=1)
    metadata: Metadata
    rejected: tuple[Message, ...] | None = None  # of a preference pair: the answer that was not preferred to the last message


def content_hash(contents: Iterable[str]) -> str:
    """The producer's hash of a dialogue's message contents: stripped, lower-cased, sorted, joined by one space, SHA-256."""
    text = " ".join(sorted(content.strip().lower() for content in contents))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def row_digest(row: Row) -> str:
    """``sha256:`` digest of the whole canonical row: messages in order with their roles, and all metadata."""
    return digest_json(row.content())
