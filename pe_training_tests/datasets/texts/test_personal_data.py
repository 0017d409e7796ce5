"""What identifies a person is found and counted; what only looks like it, and what helps in a crisis, is not."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pe_training.datasets.texts.personal_data import KINDS, PhoneBook
from pe_training.datasets.texts.personal_data import findings as findings_with
from pe_training.datasets.texts.redaction import redacted_share
from pe_training_tests.datasets.samples import shipped_policy
from pe_training_tests.datasets.texts import planted
from pe_training_tests.shared_data import SHARED_DATA, needs_shared_data

PHONES = shipped_policy().phone_book

PLANTED = [
    ("email", "Write to jo.lee+night@mail.example.com please."),
    ("email", "jo_lee@example.org."),
    ("email", "it is jo (at) example (dot) com"),
    ("email", "mine: j\u00fcrgen@example.de"),
    ("phone", "Call me at (212) 555-0123 tonight"),  # 555-01xx of a real area is fictional, and valid to the library
    ("phone", "my cell is 415.555.0142"),
    ("phone", "+44 20 7946 0958 is the office"),  # reserved for drama by Ofcom
    ("phone", "text 2125550187"),
    ("us_ssn", "It's 123-45-6789, I think"),
    ("us_ssn", "my social security number is 123456789"),
    ("credit_card", "the card was 4111 1111 1111 1111 last year"),
    ("credit_card", "5555-5555-5555-4444"),
    ("credit_card", "378282246310005"),
    ("iban", "pay DE89 3704 0044 0532 0130 00 or cash"),
    ("iban", "GB82WEST12345698765432"),
    ("ip_address", "he logged in from 203.0.113.42 again"),
    ("ip_address", "2001:db8:85a3:0:0:8a2e:370:7334"),
    ("url_with_credentials_or_user", "https://jo:secret@files.example.com/x"),
    ("url_with_credentials_or_user", "see https://www.facebook.com/jo.lee.example"),
    ("url_with_credentials_or_user", "https://example.com/reset?token=abc123def"),
    ("street_address", "I live at 1600 Maple Hill Avenue with her"),
    ("street_address", "at 12 N. 3rd St, second floor"),
    ("street_address", "P.O. Box 1234"),
    ("date_of_birth", "DOB: 03/14/1985"),
    ("date_of_birth", "I was born on March 14th, 1985 in a small town"),
    ("date_of_birth", "my birthday is 14 March 1985"),
]
CLEAN = [
    "Call or text 988, or 911 if you are in danger. Text HOME to 741741. The old number, 1-800-273-8255, works too.",
    "RAINN: 1-800-656-4673, SAMHSA (800) 662-4357, +1 800 799 7233; Samaritans 116 123; Lifeline 13 11 14.",
    "[EMAIL] <PHONE> [REDACTED] [NAME_1] \u2588\u2588\u2588 xxxx xxx-xx-xxxx xxx@xxx.com {{ADDRESS}} XXX-XX-1234",
    "It costs $1,234,567.89, or 1234567 in all, 3.14159265358979 exactly; 1,000,000,000 people.",
    "From 2010-2019 to 12/03/2024, 10:30:45, 7-8 hours, 24/7, scores 10 9 8 7 6 5 4.",
    "Version 2.0.1.15 on localhost 127.0.0.1; section 1.2.3.4 of the book; std::vector a::b",
    "I drove 20 miles down the road, a 2 way street; a 10 Minute Drive; in 5 steps; 3 Day Court hearing.",
    "I was born in 1985. My birthday is next week. She was born on a Tuesday.",
    "4111 1111 1111 1112 fails its checksum, as DE89 3704 0044 0532 0130 01 does; 000-12-3456 and 900-12-3456 are none.",
    "@home we @ each other; meet me @ 5; https://www.facebook.com/groups/grief and https://example.com/a?page=2",
    "555-0123 alone has no area, order no. 12345678 and 1111 1111 1111 1111 are numbers.",
    "3, 2, 1... 5-4-3-2-1 grounding: 5 things you see, 4 you touch. 4-7-8 breathing for 4 7 8 4 7 8 4 7 8",
    "",
]


def findings(text: str) -> dict[str, int]:
    return findings_with(text, phones=PHONES)


@pytest.mark.parametrize(("kind", "text"), PLANTED)
def test_each_kind_is_found_once(kind: str, text: str) -> None:
    assert findings(text) == {kind: 1}
    assert kind in KINDS


@pytest.mark.parametrize("text", CLEAN)
def test_what_only_looks_like_it_is_not(text: str) -> None:
    assert findings(text) == {}


@pytest.mark.parametrize("number", sorted(number for number in PHONES.hotlines if len(number) == 10 and number.startswith("8")))
def test_a_hotline_is_nobody_in_every_spelling(number: str) -> None:
    area, middle, last = number[:3], number[3:6], number[6:]
    for spelling in (
        f"1-{area}-{middle}-{last}",
        f"({area}) {middle}-{last}",
        f"+1 {area} {middle} {last}",
        f"{area}.{middle}.{last}",
        number,
    ):
        assert findings(f"Call {spelling} now.") == {}


def test_all_of_them_at_once_are_counted_by_kind() -> None:
    expected = Counter(kind for kind, _ in PLANTED)
    assert findings("\n".join(text for _, text in PLANTED)) == {kind: expected[kind] for kind in KINDS}
    assert findings(" and ".join(["jo@example.com"] * 50)) == {"email": 50}


def test_numbers_without_a_country_are_read_by_the_region() -> None:
    assert findings_with("call 020 7946 0958", phones=PhoneBook("GB", frozenset())) == {"phone": 1}
    assert findings_with("call 020 7946 0958", phones=PhoneBook("US", frozenset())) == {}


def test_a_list_of_thousands_of_numbers_is_not_looked_up_one_by_one() -> None:
    assert findings("order 0000001; " * 1_000) == {}
    assert findings("order 0000001; " * 1_003) == {"phone": 3}


def test_findings_are_the_same_in_every_process() -> None:
    text = "\n".join(text for _, text in PLANTED)
    assert planted.said_by_another_process(f"personal_data.findings({text!r}, phones=personal_data.{PHONES!r})", hash_seed="1") == str(
        findings(text)
    )


@given(
    st.text(max_size=200), st.text(max_size=200), st.from_regex(r"[a-z][a-z0-9.]{0,9}[a-z0-9]@[a-z]{4,10}\.(com|org|de)", fullmatch=True)
)
@settings(max_examples=200)
def test_an_address_put_into_any_text_is_found(before: str, after: str, address: str) -> None:
    if not address.split("@")[1].startswith("xxx"):
        found = findings(f"{before} {address} {after}")
        assert sum(found.get(kind, 0) for kind in ("email", "url_with_credentials_or_user")) >= 1


@given(st.text(alphabet="abc ABC.,!?'\n", max_size=300))
@settings(max_examples=100)
def test_words_alone_are_never_personal(text: str) -> None:
    assert findings(text) == {}
    assert redacted_share(text) == 0


@pytest.mark.parametrize(
    "text", ["a" * 100_000 + "@", "1 " * 50_000, "1.1" * 30_000, "@" * 50_000, "[" * 50_000, "x" * 100_000 + "@b", "a1:" * 30_000]
)
@pytest.mark.timeout(30)
def test_no_text_takes_the_square_of_its_length(text: str) -> None:
    findings(text)
    redacted_share(text)


def test_the_sample_release_has_none() -> None:
    rows = planted.sample_messages()
    total = sum((Counter(findings(content)) for row in rows for _, content in row), Counter())
    assert total == Counter()
    assert sum(redacted_share(content) for row in rows for _, content in row) == 0


@needs_shared_data
def test_real_counselling_has_the_telephone_numbers_of_practices_and_nothing_else() -> None:
    """Some answers are signed with the number of a practice: those are real findings. No other kind fires on 2,129 rows."""
    rows = [row["messages"] for row in planted.lines(SHARED_DATA / "counsel_chat.jsonl")]
    fired = Counter(kind for row in rows for kind in findings("\n".join(message["content"] for message in row)))
    assert set(fired) == {"phone"}
    assert fired["phone"] <= 20


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("I told [NAME] about it", 0.2),  # of five words
        ("[NAME_1] and <PERSON> met [LOCATION-2]", 0.6),
        ("\u2588\u2588\u2588\u2588 said xxxx", 2 / 3),
        ("[REDACTED]", 1.0),
        ("My number is XXX-XX-1234 ok", 0.2),
        ("the [pause] was long [sighs] <b>bold</b> (state) xxx", 0.0),
        ("", 0.0),
        (
            "[REDACTED]. I see you there and I wait. [NAME] [NAME]!\n[REDACTED]\nThen [NAME] left us all at the old station.",
            3 / 5,
        ),  # of five sentences
    ],
)
def test_what_was_cut_away_is_a_share_of_words_or_of_sentences(text: str, share: float) -> None:
    assert redacted_share(text) == pytest.approx(share)
