"""Order and batches of questions, and what is never asked again."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from pe_training.core.ids import digest_json
from pe_training.evaluation.generate import Kind, Question, answer_all


@dataclass
class Echo:
    """A model that repeats the question and remembers its batches."""

    batches: list[list[Any]] = field(default_factory=list)

    def answer(self, kind: Kind, contents: Sequence[Any]) -> list[Any]:
        self.batches.append(list(contents))
        return [f"{kind} {content}" for content in contents]


@dataclass
class Shelf:
    """A book in memory."""

    kept: dict[str, Any] = field(default_factory=dict)

    def key(self, question: Mapping[str, Any]) -> str:
        return digest_json(dict(question))

    def known(self, keys: Sequence[str]) -> dict[str, Any]:
        return {key: self.kept[key] for key in keys if key in self.kept}

    def keep(self, answers: Mapping[str, Any]) -> None:
        assert self.kept.keys().isdisjoint(answers)
        self.kept |= answers


def question(size: int, kind: Kind = "reply") -> Question:
    return Question(kind=kind, asked={"ids": [size]}, content=size, size=size)


def test_answers_come_back_in_the_order_of_the_questions_and_batches_are_of_similar_length() -> None:
    sizes = list(range(1, 24))
    random.Random(4).shuffle(sizes)  # noqa: S311
    model, seen = Echo(), []
    answers = answer_all(
        [question(size) for size in sizes],
        model=model,
        book=Shelf(),
        batch_size=5,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert answers == [f"reply {size}" for size in sizes]
    assert [size for batch in model.batches for size in batch] == sorted(sizes, reverse=True)
    assert seen == [(0, 23), (5, 23), (10, 23), (15, 23), (20, 23), (23, 23)]
    assert answer_all([], model=model, book=Shelf(), batch_size=5) == []


def test_what_is_kept_is_not_asked_and_a_question_that_comes_twice_is_asked_once() -> None:
    model, shelf = Echo(), Shelf()
    answer_all([question(1), question(3)], model=model, book=shelf, batch_size=5)
    answers = answer_all([question(size) for size in (3, 2, 2, 1)], model=model, book=shelf, batch_size=5)
    assert answers == ["reply 3", "reply 2", "reply 2", "reply 1"]
    assert model.batches == [[3, 1], [2]]


def test_the_same_content_asked_for_something_else_is_another_question() -> None:
    model = Echo()
    kinds: tuple[Kind, ...] = ("loss", "reply", "label")
    answers = answer_all([question(1, kind) for kind in kinds], model=model, book=Shelf(), batch_size=5)
    assert answers == ["loss 1", "reply 1", "label 1"]
    assert len(model.batches) == 3


def test_each_batch_is_kept_before_the_next_is_asked() -> None:
    shelf = Shelf()

    class Dying(Echo):
        def answer(self, kind: Kind, contents: Sequence[Any]) -> list[Any]:
            if len(self.batches) == 2:
                raise MemoryError
            return super().answer(kind, contents)

    with pytest.raises(MemoryError):
        answer_all([question(size) for size in range(10)], model=Dying(), book=shelf, batch_size=3)
    assert sorted(shelf.kept.values()) == [f"reply {size}" for size in range(4, 10)]
    model = Echo()
    answer_all([question(size) for size in range(10)], model=model, book=shelf, batch_size=3)
    assert model.batches == [[3, 2, 1], [0]]


def test_a_model_that_loses_an_answer_is_caught() -> None:
    class Lossy(Echo):
        def answer(self, kind: Kind, contents: Sequence[Any]) -> list[Any]:
            return super().answer(kind, contents)[1:]

    shelf = Shelf()
    with pytest.raises(AssertionError, match="1 answers to 2 questions"):
        answer_all([question(1), question(2)], model=Lossy(), book=shelf, batch_size=2)
    assert shelf.kept == {}
