"""What pydantic found wrong, as a field name and a sentence that never repeats the data.

Rows are conversations. An error that quotes its input would carry a client's words into a log, a Dagster event or a chat
channel, so only names from our own models appear here; a key that somebody invented appears if it looks like a key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from pe_training.core.config import suggest

_KEY = re.compile(r"^[A-Za-z0-9_.:-]{1,64}\Z")
_OPEN = {"labels": "values are text, whole numbers, true or false, or one mapping of whole numbers", "group": "values are text"}


def complaint(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """The first complaint of ``error`` about a ``model``: dotted field (empty for the whole) and what is wrong."""
    problems = error.errors(include_url=False, include_input=False)
    first = problems[0]
    loc = first["loc"]
    more = f"; {len(problems) - 1} more after this one" if len(problems) > 1 else ""
    if loc[:1] == ("metadata",) and loc[1:2] and loc[1] in _OPEN:  # keys below are the data's own
        return _dotted(loc[:2]), _OPEN[str(loc[1])] + more
    if first["type"] == "extra_forbidden":
        return _dotted(loc), f"unknown key; {suggest(str(loc[-1]), _allowed(model, loc[:-1]))}{more}"
    if first["type"] == "missing":
        return _dotted(loc), f"is missing{more}"
    reason = first["msg"].removeprefix("Value error, ")
    return _dotted(loc), f"{reason[:1].lower()}{reason[1:]}{more}"


def shown(name: str) -> str:
    """A name that data chose, if it looks like one: where a dialogue stands in its place, none of it may be repeated."""
    return name if _KEY.match(name) else "(not a name)"


def refuse_repeated_keys(text: bytes, *, meant: Callable[[str], str] = str) -> None:
    """Readers disagree on which of two values of one key counts. Raises :class:`RepeatedKeyError`.

    ``text``: JSON that was read already; ``meant``: the one way to write a key that may be written in several.
    """

    def once(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for key in (meant(written) for written, _ in pairs):
            if key in seen:
                raise RepeatedKeyError(f"the key {shown(key)!r} stands twice in one object")
            seen.add(key)

    json.loads(text, object_pairs_hook=once)


def may_repeat_keys(text: bytes, *, written: bytes) -> bool:
    """Whether JSON may have a key twice in one object, without parsing it again. ``written``: what a reader took of it, as JSON.

    Whatever stands twice leaves fewer quotes in what is written; so does a null that is left out, which is looked at for nothing.
    """
    return text.count(b'"') != written.count(b'"') or b"\\u0022" in text


class RepeatedKeyError(ValueError):
    """A key that stands twice in one object; says no more than :func:`shown` lets it."""


def _dotted(loc: Iterable[int | str]) -> str:
    return ".".join(str(part) if isinstance(part, int) or _KEY.match(part) else "(a key that is not a name)" for part in loc)


def _allowed(model: type[BaseModel], loc: Iterable[int | str]) -> list[str]:
    """Field names of the model that ``loc`` leads to; indexes and the keys of mappings stay where they are."""
    for part in loc:
        field = model.model_fields.get(str(part))
        model = next(_models_in(field.annotation), model) if field else model
    return list(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
