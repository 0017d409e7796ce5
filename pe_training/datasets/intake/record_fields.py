"""The fields of somebody else's record, each as the type that it must have or as an error that names the field and never the data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pe_training.core.config import suggest
from pe_training.datasets.rows import MAX_INTEGER, Label, Message

ROLES: dict[str, tuple[str, ...]] = {
    "user": ("user", "human", "client", "patient", "seeker"),
    "assistant": ("assistant", "bot", "gpt", "therapist", "counselor", "counsellor", "supporter"),
    "system": ("system",),
}
_ROLE_OF = {synonym: role for role, synonyms in ROLES.items() for synonym in synonyms}
_KEY = re.compile(r"^[A-Za-z0-9_.:-]{1,64}$")
_MAX_DEPTH = 20
_LABELS = "labels are text, whole numbers, true or false"


class FormatError(Exception):
    """A record is not of the format that was declared. ``field`` is dotted; no part holds the record's text."""

    def __init__(self, field: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message
        self.hint = hint


def dotted(*parts: str | int) -> str:
    """Parts of a field joined by dots; a key that may be somebody's words is not repeated."""
    return ".".join(str(part) if isinstance(part, int) or _KEY.match(part) else "(a key that is not a name)" for part in parts)


def without_nulls(record: Mapping[str, Any]) -> dict[str, Any]:
    """A null is an absent key: tables have one where JSON has none."""
    return {key: value for key, value in record.items() if value is not None}


def only_keys(record: Mapping[str, Any], allowed: frozenset[str], *, at: tuple[str | int, ...] = (), hint: str = "") -> None:
    """Refuse a key that the format does not have."""
    for key in record:
        if key not in allowed:
            more = f"; {hint}" if hint else ""
            raise FormatError(dotted(*at, str(key)), "is not a field of the format", hint=f"{suggest(str(key), allowed)}{more}")


def text_at(record: Mapping[str, Any], key: str, *, at: tuple[str | int, ...] = ()) -> str:
    """The text at ``key``, which must be there."""
    if record.get(key) is None:
        raise FormatError(dotted(*at, key), "is missing")
    return as_text(record[key], at=(*at, key))


def as_text(value: object, *, at: tuple[str | int, ...]) -> str:
    """``value``, which must be text that UTF-8 can hold."""
    if not isinstance(value, str):
        raise FormatError(dotted(*at), "must be text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FormatError(dotted(*at), "holds half of a surrogate pair, which is not text") from None
    return value


def message_at(value: object, *, at: tuple[str | int, ...], role_key: str, content_key: str) -> Message:
    """One turn ``{role, content}``, with the role under one of its known names in any case."""
    if not isinstance(value, Mapping):
        raise FormatError(dotted(*at), "must be a mapping")
    turn = without_nulls(value)
    only_keys(turn, frozenset({role_key, content_key}), at=at)
    role = _ROLE_OF.get(text_at(turn, role_key, at=at).lower())
    if role is None:
        raise FormatError(dotted(*at, role_key), "is not a known role", hint=f"known: {', '.join(_ROLE_OF)}")
    return Message(role=role, content=text_at(turn, content_key, at=at))


def messages_at(record: Mapping[str, Any], key: str, *, role_key: str = "role", content_key: str = "content") -> tuple[Message, ...]:
    """The list of turns at ``key``, which must be there."""
    if record.get(key) is None:
        raise FormatError(key, "is missing")
    if not isinstance(record[key], list | tuple):
        raise FormatError(key, "must be a list of turns")
    return tuple(message_at(turn, at=(key, i), role_key=role_key, content_key=content_key) for i, turn in enumerate(record[key]))


def labels_at(record: Mapping[str, Any], *, ignore: frozenset[str]) -> dict[str, Label] | None:
    """``labels`` as a row can hold them: ``{a: {b: [x, y]}}`` becomes ``{a.b.0: x, a.b.1: y}``; a mapping of whole numbers stays one.

    An empty list or mapping stays as an empty mapping. What fits neither (a fraction, two labels of one name) is refused.
    """
    flat: dict[str, Label] = {}
    for key, value in _mapping(record, "labels", ignore=ignore).items():
        for name, label in _flat(value, name=key, depth=0, at=("labels", key)):
            if name in flat:
                raise FormatError(dotted("labels", name), "is there twice once nested labels are written in one line")
            flat[name] = label
    return flat or None


def group_at(record: Mapping[str, Any], *, ignore: frozenset[str]) -> dict[str, str] | None:
    """``group``: demographics as text."""
    found = _mapping(record, "group", ignore=ignore)
    return {key: as_text(value, at=("group", key)) for key, value in found.items()} or None


ANY_OTHER = "*"


def label_at(record: Mapping[str, Any], key: str, *, name: str, classes: Mapping[str, str | int]) -> dict[str, Label]:
    """The label of a labelled text under the ``name`` that it is declared to have, as the class that it is declared to belong to.

    Without ``classes`` it stays as it is. Several names that all hold, ``[x, y]``, become ``{x: 1, y: 1}``; a mapping becomes
    ``{name.a: x, name.b: y}``, as in :func:`labels_at`.
    """
    value = record.get(key)
    if value is None:
        raise FormatError(key, "is missing")
    if classes:
        return {name: _class_of(value, classes, at=key)}
    if isinstance(value, list | tuple):
        found = [as_text(item, at=(key, index)) for index, item in enumerate(value)]
        if not found or len(set(found)) < len(found):
            raise FormatError(key, "must name at least one label, and every label once")
        return {name: dict.fromkeys(found, 1)}
    flat = dict(_flat(value, name=name, depth=0, at=(key,)))
    if not flat or flat == {name: {}}:
        raise FormatError(key, "is empty")
    return flat


def _class_of(value: object, classes: Mapping[str, str | int], *, at: str) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise FormatError(at, "must be one name or whole number where 'classes' is declared")
    found = classes.get(str(value), classes.get(ANY_OTHER))
    if found is None:
        raise FormatError(
            at, "is none of the declared classes", hint=f"list it under 'classes' of the source, or '{ANY_OTHER}' for any other"
        )
    return found


def _mapping(record: Mapping[str, Any], key: str, *, ignore: frozenset[str]) -> dict[str, Any]:
    found = record.get(key, {})
    if not isinstance(found, Mapping):
        raise FormatError(key, "must be a mapping of names to values")
    for name in found:
        as_text(name, at=(key, "(a key)"))
    return {name: value for name, value in without_nulls(found).items() if f"{key}.{name}" not in ignore}


def _flat(value: Any, *, name: str, depth: int, at: tuple[str, ...]) -> Iterator[tuple[str, Label]]:
    if depth > _MAX_DEPTH:
        raise FormatError(dotted(*at), f"is nested more than {_MAX_DEPTH} deep")
    if isinstance(value, str):
        yield name, as_text(value, at=at)
    elif isinstance(value, bool) or _is_integer(value):
        yield name, value
    elif isinstance(value, Mapping) and all(_is_integer(item) for item in value.values()):
        yield name, {as_text(key, at=(*at, "(a key)")): item for key, item in value.items()}
    elif isinstance(value, Mapping):
        for key, item in without_nulls(value).items():
            text = as_text(key, at=(*at, "(a key)"))
            yield from _flat(item, name=f"{name}.{text}", depth=depth + 1, at=(*at, text))
    elif isinstance(value, list | tuple):
        if not value:
            yield name, {}
        for index, item in enumerate(value):
            if item is None:
                raise FormatError(dotted(*at), "is a list with a null", hint=_LABELS)
            yield from _flat(item, name=f"{name}.{index}", depth=depth + 1, at=(*at, str(index)))
    elif isinstance(value, float):
        raise FormatError(
            dotted(*at), "is a fraction, which a row cannot hold", hint=f"{_LABELS}; list the field under 'ignore' to leave it out"
        )
    else:
        raise FormatError(dotted(*at), "is not a label that a row can hold", hint=_LABELS)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER
