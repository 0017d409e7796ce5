"""Which test rows hang together, and what an evaluation says of them."""

from __future__ import annotations

from pe_training.evaluation.held_out import opening, row_clusters

ASKED = "I put my mother's plates out on the street and I can't sleep since."


def said(*turns: str, system: str | None = None) -> list[dict[str, str]]:
    """Client and therapist in turns."""
    found = [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
    return found if system is None else [{"role": "system", "content": system}, *found]


def clusters(*conversations: list[dict[str, str]], sources: list[str] | None = None) -> list[str]:
    return row_clusters([str(i) for i in range(len(conversations))], conversations, sources)


def test_windows_of_one_conversation_and_answers_to_one_post_are_one_cluster() -> None:
    window = said(ASKED, "What was on them?", "Blue birds.", "You miss them.")
    assert clusters(said(ASKED, "What was on them?"), window, said(ASKED, "Call her.")) == ["0", "0", "0"]


def test_neither_case_nor_punctuation_nor_an_instruction_makes_another_conversation() -> None:
    assert clusters(said(ASKED, "a"), said(ASKED.upper().replace(".", " ...") + " ", "b", system="You are kind.")) == ["0", "0"]


def test_conversations_that_begin_with_the_same_greeting_are_told_apart_by_what_follows() -> None:
    first, second = (
        said("Hi there", "Hello.", ASKED, "x"),
        said("Hi there", "Hello.", "My brother sold the boat without a word to me.", "x"),
    )
    assert clusters(first, second, said("Hi there", "Hello.", ASKED, "Another answer.")) == ["0", "1", "0"]
    assert opening(first) != opening(second)
    assert clusters(said("Hi", "Hello."), said("Hi", "Good morning.")) == ["0", "1"]


def test_rows_of_one_source_are_one_cluster_only_where_the_suite_says_so() -> None:
    texts = [said(f"{name} told me that I should write to you about the flat.") for name in ("Anna", "Bea", "Cleo", "Dora")]
    assert clusters(*texts) == ["0", "1", "2", "3"]
    assert clusters(*texts, sources=["a", "b", "a", "c"]) == ["0", "1", "0", "3"]


def test_sources_that_share_a_conversation_are_one_cluster() -> None:
    texts = [said(f"{name} told me that I should write to you about the flat.") for name in ("Anna", "Bea", "Anna", "Dora")]
    assert clusters(*texts, sources=["a", "b", "b", "c"]) == ["0", "0", "0", "3"]
    assert set(clusters(*texts, sources=["a"] * 4)) == {"0"}
