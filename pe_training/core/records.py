"""What a record is: a frozen, strict value whose name is the digest of its content.

Every noun of the chain (dataset version, manifest, run, checkpoint, report, decision) subclasses :class:`Record` in its
own room. The registry stores, lists, links and verifies all of them without knowing any of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from pe_training.core.ids import MAX_INTEGER, canonical_json, digest_json, make_id


class Frozen(BaseModel):
    """A strict immutable value: unknown keys are refused, nothing is coerced, NaN and infinity are not numbers."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=(),
        ser_json_inf_nan="constants",  # what got past validation is refused by canonical JSON, and not written as null
    )  # fmt: skip

    def content(self) -> dict[str, Any]:
        """The value as JSON-compatible data, without keys that are ``None``."""
        return self.model_dump(mode="json", exclude_none=True)

    @property
    def content_digest(self) -> str:
        """``sha256:`` digest of the canonical content."""
        return digest_json(self.content())


LATER = object()  # marks a field, by Annotated, that records written before it was thought of do not have


class Growing(Frozen):
    """A value that gains fields over the years. A field marked :data:`LATER` is no part of the content while it has its default.

    So a record that was written before keeps its id, and its default must mean what was done then.
    """

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        for name, field in type(self).model_fields.items():
            if LATER in field.metadata and getattr(self, name) == field.default:
                data.pop(name, None)
        return data


class Attachment(Frozen):
    """A file that belongs to a record, held in the artifact store under its digest."""

    path: str  # relative, POSIX, unique within the record
    digest: str
    size_bytes: int


class Record(Frozen):
    """One noun of the chain.

    ``kind`` is the id prefix. ``identity()`` is what the id is computed from: everything, unless a subclass leaves out
    fields that can be derived again from the rest. ``parents()`` are the ids it was made from, by role.
    ``key()`` is the question that this record answers, where only one answer may ever be kept (write-once).
    """

    kind: ClassVar[str]

    @property
    def id(self) -> str:
        """The self-describing id: kind, underscore, hex."""
        return make_id(self.kind, self.identity())

    def identity(self) -> dict[str, Any]:
        """Content that names the record."""
        return self.content()

    def parents(self) -> dict[str, str]:
        """Role -> id of every record this one was made from."""
        return {}

    def files(self) -> Sequence[Attachment]:
        """Artifacts without which the record is not whole."""
        return ()

    def key(self) -> str | None:
        """Unique within the kind, or ``None`` where many records may answer the same question."""
        return None

    def label(self) -> str:
        """A few words for lists: what a person would call it."""
        return ""

    def to_json(self) -> str:
        """Canonical JSON text of the whole content."""
        return canonical_json(self.content()).decode()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote. Raises ValueError (pydantic's among them) when it does not fit."""
        return cls.model_validate(json.loads(text, parse_int=_number, parse_constant=_no_number), strict=False)


def _number(text: str) -> int | float:
    """A JSON number without a fraction. Canonical JSON writes the float 1e16 as 10000000000000000 and holds no such integer."""
    number = int(text)
    return number if abs(number) <= MAX_INTEGER else float(text)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON")
