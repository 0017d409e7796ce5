"""A row that repeats an evaluation prompt names its suite; a row that only sounds like one does not."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pe_training.datasets.texts.contamination import SuiteIndex
from pe_training_tests.datasets.texts import planted
from pe_training_tests.shared_data import SHARED_DATA, needs_shared_data

LONG = "My sister stopped answering after the funeral and now I count every hour that passes without a single word from her side"
SHORT = "What would you do with a stolen afternoon"
TINY = "Are you human"
INDEX = SuiteIndex.build({"grief": [LONG], "leisure": [SHORT], "identity": [TINY, "Hello"]}, threshold=0.8)


@pytest.mark.parametrize(
    ("messages", "suite"),
    [
        ([("user", LONG)], "grief"),
        ([("user", "Well. " + LONG.upper().replace(" ", "  ") + "! What now?")], "grief"),
        ([("assistant", "You said: " + " ".join(LONG.split()[4:17]) + ".")], "grief"),
        ([("system", LONG)], "grief"),
        ([("user", " ".join(LONG.split()[:10])), ("assistant", " ".join(LONG.split()[10:]))], "grief"),
        ([("user", "Hi."), ("assistant", "Hi."), ("user", "So, what would you do with a stolen afternoon?")], "leisure"),
        ([("user", "are you human?")], "identity"),
    ],
)
def test_a_repeated_prompt_names_its_suite(messages: list[tuple[str, str]], suite: str) -> None:
    assert INDEX.look_row(messages) == suite


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [("user", "")],
        [("user", "Hello")],  # everyone's
        [("user", " ".join(LONG.split()[:12]) + " and I moved to another town")],  # twelve words
        [("assistant", SHORT)],  # short prompts count in a user's turn
        [("user", "What would you do"), ("assistant", "Rest."), ("user", "With a stolen afternoon")],  # not within one turn
        [("user", "What would you do"), ("user", "with a stolen afternoon")],
        [("user", "Are you human or a program that was taught to be kind?")],  # three words inside a turn
        [("user", " ".join(reversed(LONG.split())))],
    ],
)
def test_what_only_resembles_a_prompt_is_clean(messages: list[tuple[str, str]]) -> None:
    assert INDEX.look_row(messages) is None


def test_prompts_too_short_to_mean_anything_are_counted() -> None:
    assert INDEX.passed_over == {"grief": 0, "leisure": 0, "identity": 1}


def test_a_turn_that_nearly_repeats_a_prompt_is_found_without_thirteen_words_in_a_row() -> None:
    """Each twelfth word changed leaves no run of thirteen; the shingles in between are still most of the text's."""
    of = planted.seeded(3)
    known = planted.vocabulary(of)
    prompts = [planted.text(of, known, words=120) for _ in range(50)]
    index = SuiteIndex.build({"made_up": prompts}, threshold=0.35)
    said = prompts[31].split()
    said[::12] = [f"other{at}" for at in range(len(said[::12]))]
    assert index.look(" ".join(said)) == "made_up"
    assert SuiteIndex.build({"made_up": prompts}, threshold=0.9).look(" ".join(said)) is None
    assert index.look_row([("assistant", " ".join(said))]) is None


@given(st.integers(0, 7), st.text(max_size=200), st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_thirteen_words_of_a_prompt_are_found_within_any_text(start: int, before: str, after: str) -> None:
    run = " ".join(LONG.split()[start : start + 13])
    assert INDEX.look(f"{before} {run} {after}") == "grief"


def test_an_index_pickles_and_answers_alike_in_every_process() -> None:
    again = pickle.loads(pickle.dumps(INDEX))  # noqa: S301 - our own bytes
    assert again.look(LONG) == "grief"
    for word in ("sister", "stolen"):
        assert word.encode() not in pickle.dumps(INDEX)
    asked = f"contamination.SuiteIndex.build({{'a': [{LONG!r}]}}, threshold=0.8).long_runs.suites"
    assert planted.said_by_another_process(asked, hash_seed="1") == planted.said_by_another_process(asked, hash_seed="2")


def test_no_suites_find_nothing() -> None:
    assert SuiteIndex.build({}, threshold=0.8).look(LONG) is None


@needs_shared_data
def test_real_suites_find_themselves_and_leave_the_sample_release_clean() -> None:
    suites = ("simple_safety_tests", "vera_crisis_first3", "cbt_bench", "eq_bench_v2")
    prompts = {suite: [row["text"] for row in planted.lines(SHARED_DATA / f"{suite}.jsonl")] for suite in suites}
    index = SuiteIndex.build(prompts, threshold=0.8)
    rows = planted.sample_messages()
    assert sum(index.look_row(row) is not None for row in rows) == 0
    for suite, texts in prompts.items():
        assert sum(index.look(text) is None for text in texts) == index.passed_over[suite]
