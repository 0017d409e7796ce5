"""One record of a declared foreign format as one strict row.

Eight shapes circulate. Each is read as it was declared and as nothing else: an extra field may be what the producer meant to be
read, so it is refused by name unless the declaration leaves it out. A record that teaches nothing is dropped, with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pe_training.datasets.complaints import complaint
from pe_training.datasets.intake.record_fields import (
    FormatError,
    as_text,
    group_at,
    label_at,
    labels_at,
    messages_at,
    only_keys,
    text_at,
    without_nulls,
)
from pe_training.datasets.intake.source import Format, Source, SplitField, SplitShares, share_of
from pe_training.datasets.rows import Label, Message, Row, content_hash

BLANK_TURN = "a turn is blank"
BLANK_LABEL = "the label is blank"
NO_TURN = "no turn"
NO_ASSISTANT = "no assistant turn"
CUT = "cut: client turns after the last answer"  # the step that such a row names
SAME_ANSWERS = "chosen and rejected are the same"
SPLIT_NAMES = {"train": "train", "val": "val", "test": "test", "dev": "val", "valid": "val", "validation": "val"}
_COMMON = frozenset({"id", "group", "split", "source", "license"})
_MAX_STATED_CHARACTERS = 1_000
_IGNORE = "list the field under 'ignore' of the source to leave it out"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A record of the right shape that holds nothing to learn."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dialogue:
    messages: tuple[Message, ...]
    rejected: Message | None = None


def convert(record: Mapping[str, Any], source: Source, *, where: str, stated_split: str | None = None) -> Row | Dropped:
    """The row that a ``record`` at ``where`` (``file:line``) stands for, or why there is none.

    ``stated_split`` is the split that the file itself stands in (of a saved ``DatasetDict``). A declared split comes first, then
    the record's own field ``split``, then ``stated_split``, then ``train``. What the record says of its ``source`` and ``license``
    goes into the provenance's steps. Raises :class:`FormatError` with the field, and never with text of the record.
    """
    shape = _SHAPES[source.format]
    ignore = frozenset(source.ignore)
    fields = {key: value for key, value in without_nulls(record).items() if key not in ignore}
    own = frozenset({source.split.field}) if isinstance(source.split, SplitField) else frozenset()
    only_keys(fields, _COMMON | shape.keys | own, hint=_IGNORE)
    dialogue = shape.read(fields)
    labels = _labels(fields, source, ignore)
    if reason := _nothing_to_learn(dialogue, source.format, labels):
        return Dropped(reason)
    messages = _up_to_the_last_answer(dialogue.messages) if source.trailing_client_turns == "drop" else dialogue.messages
    cut = (CUT,) if len(messages) < len(dialogue.messages) else ()
    file, _, line = where.rpartition(":")
    digest = content_hash(message.content for message in messages)
    metadata = {
        "source_family": source.family,
        "source_key": f"{source.name}/{file}#{_identity(fields, line=line)}",  # two datasets may have a file of one name; versions agree
        "content_hash": digest,
        "pii_status": source.pii_status,
        "license_tag": source.license_tag,
        "split": _split(fields, source, digest, stated_split),
        "phase": source.phase,
        "labels": labels,
        "group": group_at(fields, ignore=ignore),
        "purpose": source.purpose or shape.purpose,
        "language": source.language,
        "provenance": {
            "original_s3_key": file,
            "processing_pipeline": source.processing_pipeline,
            "processed_at": source.processed_at,
            "dedup_status": source.dedup_status,
            "processing_steps": (f"convert: {source.format}", *cut, *_stated(fields)),
        },
    }
    rejected = None if dialogue.rejected is None else (dialogue.rejected,)
    try:
        return Row.model_validate({"messages": messages, "metadata": metadata, "rejected": rejected})
    except ValidationError as error:
        raise FormatError(*complaint(error, Row)) from None


def _nothing_to_learn(dialogue: _Dialogue, format: Format, labels: Mapping[str, Label] | None) -> str | None:
    turns = dialogue.messages if dialogue.rejected is None else (*dialogue.messages, dialogue.rejected)
    if not turns:
        return NO_TURN
    if any(not turn.content.strip() for turn in turns):
        return BLANK_TURN
    if format == "labelled_text":
        return BLANK_LABEL if any(map(_has_blank, (labels or {}).values())) else None
    if not any(turn.role == "assistant" for turn in turns):
        return NO_ASSISTANT
    return SAME_ANSWERS if dialogue.rejected == dialogue.messages[-1] else None


def _has_blank(label: Label) -> bool:
    names = label if isinstance(label, dict) else [label] if isinstance(label, str) else []
    return any(not name.strip() for name in names)


def _up_to_the_last_answer(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    return messages[: max(index for index, turn in enumerate(messages) if turn.role == "assistant") + 1]


def _labels(fields: Mapping[str, Any], source: Source, ignore: frozenset[str]) -> dict[str, Label] | None:
    if source.format == "labelled_text":
        return label_at(fields, "label", name=source.label, classes=source.classes)
    return labels_at(fields, ignore=ignore)


def _split(fields: Mapping[str, Any], source: Source, digest: str, stated: str | None) -> str:
    if isinstance(source.split, str):
        return source.split
    if isinstance(source.split, SplitShares):
        return source.split.split_of(digest)
    if source.split is None:
        if "split" not in fields:
            return "train" if stated is None else _split_called(stated, field="", what="the name of the split's folder")
        return _split_called(text_at(fields, "split"), field="split", what="")
    name = text_at(fields, source.split.field)
    split = source.split.names.get(name) or _split_called(name, field=source.split.field, what="")
    return "val" if split == "train" and share_of(digest) < source.split.val else split


def _split_called(name: str, *, field: str, what: str) -> str:
    if name not in SPLIT_NAMES:
        message = f"{what} is not a split".strip()
        raise FormatError(field, message, hint=f"known: {', '.join(SPLIT_NAMES)}; or declare 'split' in the source")
    return SPLIT_NAMES[name]


def _identity(fields: Mapping[str, Any], *, line: str) -> str:
    value = fields.get("id", line)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = as_text(value, at=("id",))
    if not text.strip() or not text.isprintable():
        raise FormatError("id", "must be printable and not blank")
    return text


def _stated(fields: Mapping[str, Any]) -> list[str]:
    """What the record says of where it comes from, for the provenance."""
    stated = {key: text_at(fields, key) for key in ("source", "license") if key in fields}
    for key, text in stated.items():
        if len(text) > _MAX_STATED_CHARACTERS:
            raise FormatError(key, f"is longer than {_MAX_STATED_CHARACTERS:,} characters")
    return [f"stated {key}: {text}" for key, text in stated.items()]


def _pair(question: str, answer: str) -> _Dialogue:
    return _Dialogue(messages=(Message(role="user", content=question), Message(role="assistant", content=answer)))


def _alpaca(fields: Mapping[str, Any]) -> _Dialogue:
    """The input, where there is one, follows the instruction after an empty line, as in Stanford Alpaca's (2023) prompt."""
    given = text_at(fields, "input") if "input" in fields else ""
    prompt = "\n\n".join(part for part in (text_at(fields, "instruction"), given) if part.strip())
    return _pair(prompt, text_at(fields, "output"))


def _preference(fields: Mapping[str, Any]) -> _Dialogue:
    prompt = fields.get("prompt")
    before = (
        messages_at(fields, "prompt") if isinstance(prompt, list | tuple) else (Message(role="user", content=text_at(fields, "prompt")),)
    )
    return _Dialogue(messages=(*before, _answer(fields, "chosen")), rejected=_answer(fields, "rejected"))


def _answer(fields: Mapping[str, Any], key: str) -> Message:
    if not isinstance(fields.get(key), list | tuple):
        return Message(role="assistant", content=text_at(fields, key))
    turns = messages_at(fields, key)
    if len(turns) != 1 or turns[0].role != "assistant":
        raise FormatError(key, "must be text or one assistant turn", hint="turns that both answers share belong into 'prompt'")
    return turns[0]


def _labelled(fields: Mapping[str, Any]) -> _Dialogue:
    text = text_at(fields, "text")
    if "context" in fields:
        return _pair(text_at(fields, "context"), text)
    return _Dialogue(messages=(Message(role="user", content=text),))


@dataclass(frozen=True, kw_only=True)
class _Shape:
    keys: frozenset[str]
    read: Callable[[Mapping[str, Any]], _Dialogue]
    purpose: str | None = None


def _shape(*keys: str, read: Callable[[Mapping[str, Any]], _Dialogue], purpose: str | None = None) -> _Shape:
    return _Shape(keys=frozenset(keys), read=read, purpose=purpose)


_SHAPES: dict[Format, _Shape] = {
    "chat": _shape("messages", "labels", read=lambda f: _Dialogue(messages=messages_at(f, "messages"))),
    "sharegpt": _shape(
        "conversations",
        "labels",
        read=lambda f: _Dialogue(messages=messages_at(f, "conversations", role_key="from", content_key="value")),
    ),
    "conversation": _shape("conversation", "labels", read=lambda f: _Dialogue(messages=messages_at(f, "conversation"))),
    "alpaca": _shape("instruction", "input", "output", "labels", read=_alpaca),
    "prompt_response": _shape("prompt", "response", "labels", read=lambda f: _pair(text_at(f, "prompt"), text_at(f, "response"))),
    "question_answer": _shape("question", "answer", "labels", read=lambda f: _pair(text_at(f, "question"), text_at(f, "answer"))),
    "preference": _shape("prompt", "chosen", "rejected", "labels", read=_preference, purpose="preference"),
    "labelled_text": _shape("text", "context", "label", read=_labelled, purpose="classification"),
}
