"""Text that only looks the same is the same; and no text, however odd, takes a square."""

from __future__ import annotations

import time

import pytest

from pe_training.datasets.texts.contamination import SuiteIndex
from pe_training.datasets.texts.folding import caseless, folded
from pe_training.datasets.texts.personal_data import PhoneBook, findings

PROMPT = "My brother left in spring and since then I lie awake counting every car that passes our house at night."
US = PhoneBook(region="US", hotlines=frozenset({"988"}))


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        ("soft\u00adhyphen", "softhyphen"),
        ("ze\u200bro\ufeff wi\u2060dth", "zero width"),
        ("\uff11\u0662\u06f3\u0969", "1233"),
        ("cafe\u0301", "caf\u00e9"),
        ("plain \u2019text\u2019", "plain \u2019text\u2019"),
    ],
)
def test_folding_keeps_what_is_read(odd: str, plain: str) -> None:
    assert folded(odd) == plain


def test_letters_of_other_alphabets_that_look_latin_are_latin_in_either_case() -> None:
    assert caseless("\u041c\u0443 br\u043eth\u0435r") == "my brother"
    assert caseless("\u0412\u041e\u0421\u0415\u041c\u042c") == caseless("\u0432\u043e\u0441\u0435\u043c\u044c")


@pytest.mark.parametrize(
    "disguised",
    [
        PROMPT.replace("o", "o\u200b"),
        PROMPT.replace("e", "\u0435").replace("o", "\u043e"),
        PROMPT.replace("and", "an\u00add"),
        PROMPT.upper().replace("A", "\u0410"),
    ],
)
def test_a_disguised_prompt_is_found(disguised: str) -> None:
    index = SuiteIndex.build({"nights": [PROMPT]}, threshold=0.8)

    assert index.look(disguised) == "nights"


@pytest.mark.parametrize(
    "text",
    ["call 415\u200b-555-\u200b2671", "call \u0664\u0661\u0665-\u0665\u0665\u0665-\u0662\u0666\u0667\u0661", "a.b@exa\u00admple.com"],
)
def test_personal_data_behind_invisible_characters_and_other_digits_is_found(text: str) -> None:
    assert sum(findings(text, phones=US).values()) == 1


@pytest.mark.parametrize("text", ["seen 2024-01-15 10:30:00", "sha 4155552671abc0", "at 2024/01/15 10"])
def test_dates_and_digests_are_no_telephone_numbers(text: str) -> None:
    assert findings(text, phones=US) == {}


@pytest.mark.parametrize("text", ["2024-01-15 415-555-2671", "\u7535\u8bdd4155552671\u662f", "415-555-2671x12", "202-401-1510"])
def test_a_number_beside_a_date_or_a_letter_of_another_script_is_one(text: str) -> None:
    assert findings(text, phones=US) == {"phone": 1}


@pytest.mark.parametrize("text", ["a" + "\u0301\u0323" * 500_000, "ab@cd.ef " * 100_000, "078-05-1120 " * 30_000])
def test_a_row_of_megabytes_takes_seconds(text: str) -> None:
    began = time.perf_counter()
    findings(text, phones=US)
    caseless(text)

    assert time.perf_counter() - began < 10
