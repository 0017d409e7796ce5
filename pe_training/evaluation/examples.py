"""The shapes of suite examples: one strict model per kind of suite, read line by line with ``file:line`` in every complaint."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from pe_training.core.errors import Kind, PeError
from pe_training.core.records import Frozen

NONE = "none"
CRISIS_TYPES = (
    "suicide_ideation", "self_harm", "violence_threat", "psychotic_episode", "substance_overdose", "domestic_violence",
    "child_abuse", "severe_depression", "panic_attack", "eating_disorder_crisis",
)  # fmt: skip
CRISIS_LEVELS = ("routine", "elevated", "critical", "emergency")
CrisisType = Literal[
    "suicide_ideation", "self_harm", "violence_threat", "psychotic_episode", "substance_overdose", "domestic_violence",
    "child_abuse", "severe_depression", "panic_attack", "eating_disorder_crisis",
]  # fmt: skip
CrisisLevel = Literal["routine", "elevated", "critical", "emergency"]
CrisisKind = Literal["crisis", "hard_negative", "safe", "boundary_probe", "canary"]
Boundary = Literal["claims_credentials", "romance", "diagnosis", "medication_advice", "secrecy"]
_LABELS_OF: dict[str, tuple[str, ...]] = {
    "crisis": ("crisis_type", "crisis_level"), "hard_negative": ("trap",), "safe": ("theme",), "boundary_probe": ("boundary",),
    "canary": ("canary",),
}  # fmt: skip
Text = Annotated[str, Field(min_length=1)]
PLACEHOLDER = "{group}"


class Message(BaseModel):
    """One turn. Not a :class:`Frozen`, whose ``content()`` would hide the turn's ``content``."""

    model_config = Frozen.model_config

    role: Literal["system", "user", "assistant"]
    content: Text


class Example(Frozen):
    """What every example has: a name, unique in its suite."""

    id: Text


class Asked(Example):
    """An example that is a conversation up to the client's turn."""

    messages: Annotated[tuple[Message, ...], Field(min_length=1, strict=False)]
    cluster: Text | None = Field(
        default=None,
        description="examples of one conversation, or variations of one prompt, share it; the id of the example that is varied will do",
    )

    @model_validator(mode="after")
    def _ends_with_the_client(self) -> Self:
        if self.messages[-1].role != "user":
            raise ValueError("the last message must be the user's, because the model answers it")
        return self


class CrisisExample(Asked):
    """One question of a crisis suite; its kind says what the right reply is, and which one label it carries beside.

    A person in crisis; a text that only sounds like it (a hard negative, with the trap that it sets); a safe request that an over-cautious
    model might refuse; a probe that asks the model to cross a boundary; or a prompt that leads up to a canary, a text that was
    planted in the training data to see whether the model gives it away.
    """

    kind: CrisisKind
    crisis_type: CrisisType | None = None
    crisis_level: CrisisLevel | None = None
    trap: Text | None = None
    theme: Text | None = None
    boundary: Boundary | None = None
    canary: Text | None = None

    @property
    def is_crisis(self) -> bool:
        """Whether the right reply is a crisis reply."""
        return self.kind == "crisis"

    @model_validator(mode="after")
    def _labelled(self) -> Self:
        wanted = _LABELS_OF[self.kind]
        given = {name for names in _LABELS_OF.values() for name in names if getattr(self, name) is not None}
        if given != set(wanted):
            listed = "; ".join(f"{kind} has {' and '.join(names)}" for kind, names in _LABELS_OF.items())
            raise ValueError(f"{listed}; and none has another's")
        return self


class Scenario(Example):
    """One situation told by people of different groups; nothing differs but the words for the group."""

    dimension: Text
    text: Text
    groups: Annotated[dict[str, Text], Field(min_length=2)]
    crisis_type: CrisisType | Literal["none"]
    crisis_level: CrisisLevel | Literal["none"]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.text.count(PLACEHOLDER) != 1:
            raise ValueError(f"text must hold {PLACEHOLDER} exactly once")
        if (self.crisis_type == NONE) != (self.crisis_level == NONE):
            raise ValueError("crisis_level is none exactly when crisis_type is none")
        if len(set(self.groups.values())) != len(self.groups):
            raise ValueError("two groups have the same words")
        return self

    @property
    def is_crisis(self) -> bool:
        """Whether the right reply is a crisis reply."""
        return self.crisis_type != NONE


class ReferenceExample(Asked):
    """A client's words and one good reply to them."""

    topic: Text
    reference: Text


def clusters_of(examples: Sequence[Asked]) -> list[str]:
    """The cluster of each example. One that names none is a cluster by itself, which others may have joined by its id.

    A variation of a variation is of the cluster of the first.
    """
    named = {example.id: example.cluster for example in examples}
    return [_first_of(example.cluster or example.id, named) for example in examples]


def _first_of(cluster: str, named: Mapping[str, str | None]) -> str:
    followed: list[str] = []
    above: str | None = cluster
    while above is not None and above not in followed:
        followed.append(above)
        above = named.get(above)
    return followed[-1] if above is None else min(followed[followed.index(above) :])  # those that name each other are one


def read_examples(path: Path, model: type[Example]) -> tuple[Example, ...]:
    """Examples of a JSON Lines file, in file order. Raises input as ``file:line``; never shows the text of an example."""
    if not path.is_file():
        raise PeError(Kind.NOT_FOUND, "no such file", where=str(path), hint="`examples` in suite.yaml names it")
    found: list[Example] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}:{number}"
        if not line.strip():
            raise PeError(Kind.INPUT, "is an empty line", where=where, hint="remove it")
        try:
            example = model.model_validate(json.loads(line, object_pairs_hook=_no_duplicates))
        except ValidationError as error:
            raise _complaint(error, where) from None
        except (ValueError, RecursionError):
            raise PeError(Kind.INPUT, "is not one JSON object with distinct keys", where=where, hint="one example a line") from None
        if example.id in seen:
            raise PeError(Kind.INPUT, f"id {example.id!r} is also on line {seen[example.id]}", where=where, hint="give it its own id")
        seen[example.id] = number
        found.append(example)
    if not found:
        raise PeError(Kind.INPUT, "holds no examples", where=str(path), hint="a suite asks at least one question")
    return tuple(found)


def _lines(path: Path) -> Sequence[str]:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise PeError(Kind.INPUT, f"is not UTF-8 text (byte {error.start})", where=str(path), hint="save it as UTF-8") from None


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _complaint(error: ValidationError, where: str) -> PeError:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        message = f"unknown key '{place}'"
    elif first["type"] == "missing":
        message = f"missing key '{place}'"
    else:
        reason = first["msg"].removeprefix("Value error, ")
        message = f"{place}: {reason}" if place else reason
    return PeError(Kind.INPUT, message, where=where, hint="every line has the keys of its kind of suite")
