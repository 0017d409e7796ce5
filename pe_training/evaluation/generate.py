"""Asking a model many questions: only what it has not answered yet, in batches of similar length, each kept before the next begins.

The model stays behind a protocol, so that this module needs none. What is promised: an answer follows from model, question and machine
alone, not from who else is asked (decode.py), so an evaluation that was killed goes on with the answers it has and ends with the same
report; nothing that is kept is asked for again; a kill loses at most the batch that was under way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Conversation = Sequence[dict[str, str]]
Kind = Literal["reply", "loss", "label"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """``asked``: what an answer depends on beside the model, as JSON. ``content``: what the model is handed. ``size``: tokens."""

    kind: Kind
    asked: Mapping[str, Any]
    content: Any
    size: int


class Answerer(Protocol):
    """A model that answers. How it decodes belongs to the implementation, and to ``asked`` of each question."""

    def answer(self, kind: Kind, contents: Sequence[Any]) -> list[Any]:
        """One JSON value for each, in order, each as if it had been asked alone."""
        ...


class Book(Protocol):
    """Where answers are kept (answers.py)."""

    def key(self, question: Mapping[str, Any]) -> str:
        """What an answer is found by."""
        ...

    def known(self, keys: Sequence[str]) -> dict[str, Any]:
        """Those that are kept."""
        ...

    def keep(self, answers: Mapping[str, Any]) -> None:
        """Durably, before this returns."""
        ...


def answer_all(
    questions: Sequence[Question],
    *,
    model: Answerer,
    book: Book,
    batch_size: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Any]:
    """An answer to every question, in order. ``on_progress(done, total)`` is called first with what was known, then after each batch.

    Longest first, so that running out of memory happens in the first batch and not after an hour. Ties keep their order.
    """
    keys = [book.key({"kind": question.kind, **question.asked}) for question in questions]
    distinct = dict(zip(keys, questions, strict=True))
    answers = book.known(list(distinct))
    _tell(on_progress, len(answers), len(distinct))
    for kind in ("reply", "loss", "label"):
        missing = [(key, question) for key, question in distinct.items() if question.kind == kind and key not in answers]
        missing.sort(key=lambda pair: -pair[1].size)
        for start in range(0, len(missing), batch_size):
            batch = missing[start : start + batch_size]
            given = model.answer(kind, [question.content for _, question in batch])
            assert len(given) == len(batch), f"{len(given)} answers to {len(batch)} questions"
            new = dict(zip((key for key, _ in batch), given, strict=True))
            book.keep(new)
            answers |= new
            _tell(on_progress, len(answers), len(distinct))
    return [answers[key] for key in keys]


def _tell(on_progress: Callable[[int, int], None] | None, done: int, total: int) -> None:
    if on_progress and total:
        on_progress(done, total)
