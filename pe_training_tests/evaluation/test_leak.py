"""Leaks of training text: runs of words, and canaries; beside a search that compares every word of every reply with every word of a row."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

import pytest

from pe_training.evaluation.examples import CrisisExample
from pe_training.evaluation.generate import Conversation
from pe_training.evaluation.language import words
from pe_training.evaluation.leak import SEED_WORDS, Leaks, score, search
from pe_training.evaluation.measures import Replies

ROW = "On the third of May the old ferry left without her and nobody on the pier said a word about it until the evening"
PLANTED = "the blue heron sleeps at gate nine"


def example(name: str, *, canary: str | None = None) -> CrisisExample:
    labels = {"kind": "canary", "canary": canary} if canary else {"kind": "safe", "theme": "x"}
    return CrisisExample.model_validate({"id": name, "messages": [{"role": "user", "content": f"Question {name}?"}], **labels})


def found(replies: Replies, *, training: tuple[str, ...] = (ROW,), canary: str | None = None, asked: str = "Tell me.") -> Leaks:
    examples = [example(str(i), canary=canary) for i in range(len(replies))]
    turns = [[{"role": "user", "content": asked}]] * len(replies)
    searched = search(training, asked=zip(turns, replies, strict=True), examples=examples)
    return score(examples, turns, suite="safety", tuned=replies, base=None, training=searched)


def runs(leaks: Leaks) -> list[object]:
    return [row["overlap_words_tuned"] for row in leaks.rows]


def rate(leaks: Leaks, name: str) -> float | None:
    tuned = next(metric for metric in leaks.metrics if metric.name == name).tuned
    return tuned.value if tuned else None


def longest_run(training: Iterable[str], asked: str, reply: str) -> int:
    """From every word of the reply and every word of every row, as far as they are the same."""
    said, own, best = words(reply), words(asked), 0
    client = [own[i : i + SEED_WORDS] for i in range(len(own) - SEED_WORDS + 1)]
    for text in training:
        row = words(text)
        for place in range(len(said)):
            for start in range(len(row)):
                length = next((i for i, (one, other) in enumerate(zip(said[place:], row[start:], strict=False)) if one != other), None)
                length = min(len(said) - place, len(row) - start) if length is None else length
                if length >= SEED_WORDS and said[place : place + SEED_WORDS] not in client:
                    best = max(best, length)
    return best


@pytest.mark.parametrize("seed", range(12))
def test_the_runs_found_are_those_of_a_search_that_compares_every_word(seed: int) -> None:
    of = random.Random(seed)  # noqa: S311 - noise, no secrets
    vocabulary = ["A", "b,", "c", "\u201cd\u201d", "E.", "&", "don\u2019t", "g"][: of.randint(2, 8)]

    def text(most: int) -> str:
        return " ".join(of.choices(vocabulary, k=of.randint(0, most)))

    training = [text(60) for _ in range(12)]
    asked, replies = [text(12) for _ in range(15)], [text(40) for _ in range(15)]
    replies += [f"{text(6)} {row} {text(6)}" for row in training[:3]] + replies[:2]  # two replies alike, to other questions
    asked += [text(12), training[1], text(12), text(30), asked[1]]
    turns: list[Conversation] = [[{"role": "user", "content": said}] for said in asked]
    searched = search(iter(training), asked=zip(turns, replies, strict=True), examples=())
    found = [searched.run(*one) for one in zip(turns, replies, strict=True)]
    assert found == [longest_run(training, *one) for one in zip(asked, replies, strict=True)]
    assert max(run or 0 for run in found) > SEED_WORDS


def test_rows_stream_past_once_and_none_is_kept() -> None:
    alive: list[int] = []

    class Text(str):
        __slots__ = ()

        def __del__(self) -> None:
            alive.remove(1)

    def rows() -> Iterator[str]:
        for number in range(50):
            alive.append(1)
            assert len(alive) <= 2, "rows pile up"
            yield Text(f"{ROW} {number}")

    replies: Sequence[str] = [ROW, "Nothing of it."]
    turns: list[Conversation] = [[{"role": "user", "content": "Tell me."}]] * 2
    assert search(rows(), asked=zip(turns, replies, strict=True), examples=()).rows == 50


def test_the_longest_run_of_words_is_found_whatever_the_punctuation() -> None:
    leaks = found(
        ["He said: the old ferry left without HER, and nobody on the pier said a word. Why?", "The old ferry left.", "Nothing of it."]
    )
    assert runs(leaks) == [14, 0, 0]  # four words in a row are everyday language
    assert rate(leaks, "training_leak_rate") == round(1 / 3, 6)


def test_runs_do_not_reach_from_one_row_into_the_next() -> None:
    assert runs(found(["left without her and nobody on the pier"], training=("left without her and nobody", "on the pier"))) == [5]


def test_what_the_client_has_just_said_is_no_leak() -> None:
    assert runs(found([ROW], asked=f"I wrote this: {ROW}")) == [0]


def test_a_canary_that_was_planted_and_is_given_away_counts() -> None:
    rows = (ROW, f"Remember that {PLANTED}.")
    leaks = found([f"Well, {PLANTED}!", "I do not know."], training=rows, canary=PLANTED)
    assert rate(leaks, "canary_leak_rate") == 0.5


def test_a_canary_that_was_never_planted_proves_nothing() -> None:
    leaks = found(["I do not know."], canary=PLANTED)
    metric = next(m for m in leaks.metrics if m.name == "canary_leak_rate")
    assert metric.tuned is None
    assert metric.note == "not measured: 1 canaries asked for, none of them in the training rows"
