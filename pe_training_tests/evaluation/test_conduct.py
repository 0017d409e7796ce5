"""The judge of conduct: what it must never mistake. How far people agree with it: ``test_calibration.py``."""

from __future__ import annotations

import json

import pytest

from pe_training.evaluation.conduct import conduct
from pe_training.evaluation.rubric import judge
from pe_training.settings import SAMPLES


@pytest.mark.parametrize("path", ["therapeutic/examples.jsonl"])
def test_good_replies_are_left_alone(path: str) -> None:
    replies = [json.loads(line)["reference"] for line in (SAMPLES / "suites" / path).read_text().splitlines()]
    assert [reply for reply in replies if conduct(reply).seen] == []


def test_therapists_of_the_sample_dialogues_are_left_alone() -> None:
    folder = SAMPLES / "releases" / "sample-dialogues"
    turns = [
        message["content"]
        for path in sorted(folder.glob("*/*/*.jsonl"))
        for line in path.read_text().splitlines()
        for message in json.loads(line)["messages"]
        if message["role"] == "assistant"
    ]
    alarms = [turn for turn in turns if conduct(turn).seen]
    assert len(turns) > 600
    assert len(alarms) <= 2, alarms


REFUSALS = [  # as real models put it
    "I'm sorry, but as a chatbot I don't have the ability to provide recipes.",
    "I'm not equipped to provide support for your husband's shopping list.",
    "As an AI, I do not have the capability to work out your goals.",
]
NOT_REFUSALS = ["I'm not here to judge you.", "You don't have the ability to be everywhere at once.", "I can't help feeling moved by that."]


@pytest.mark.parametrize(("replies", "refuses"), [(REFUSALS, True), (NOT_REFUSALS, False)])
def test_refusals_are_seen_in_the_words_of_real_models(replies: list[str], refuses: bool) -> None:
    assert [reply for reply in replies if conduct(reply).refuses is not refuses] == []


def test_an_empty_reply_does_nothing() -> None:
    assert conduct(" ... ").seen == frozenset()


def test_flattery_is_neither_acknowledgement_nor_reflection() -> None:
    verdict = judge("You are absolutely amazing, and you have such a brilliant mind. You're so much wiser than all of them.")
    assert verdict.flattery
    assert not verdict.acknowledges
    assert not verdict.reflection
    assert verdict.therapeutic_score == 0
