"""What identifies a person, counted by kind; and how much of a text was cut away to hide it. Never the text itself.

Rules, not a language model: each kind has a form that can be checked (a checksum, a numbering plan, a keyword), so that a finding can be
defended. Names of people are not looked for: a rule cannot tell them from words. Tests of real dialogues measure what fires wrongly.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pe_training.datasets.texts.folding import folded
from pe_training.datasets.texts.redaction import without_markers

KINDS: Final = (
    "url_with_credentials_or_user", "email", "iban", "credit_card", "us_ssn", "date_of_birth", "ip_address", "phone", "street_address",
)  # fmt: skip


@dataclass(frozen=True)
class PhoneBook:
    """How telephone numbers are read. ``hotlines`` (digits as dialled, without country code) belong to no person."""

    region: str  # ISO 3166, of numbers without a country code
    hotlines: frozenset[str]


_URL_USER = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,15}://[^\s/@:]{1,64}:[^\s/@]{1,64}@[^\s/]+"  # name and password
    r"|[?&](?:token|access_token|password|passwd|pwd|api_?key|session(?:id)?|user(?:name|id)?|email)=(?!x{3}|\*{3}|\[|<)[^\s&]{3,}"
    r"|\b(?:facebook|instagram|twitter|x|tiktok|github|threads|snapchat)\.com/(?:add/)?@?(?!(?:share|sharer|intent|hashtag|search|home"
    r"|help|about|policies|legal|login|explore|groups|watch|events|pages|p|reel|reels|tag|features|topics)\b)[\w.]{3,40}"
    r"|\blinkedin\.com/in/[\w-]{3,}|\breddit\.com/u(?:ser)?/[\w-]{3,}|\bt\.me/(?!joinchat|share)\w{4,}",
    re.IGNORECASE,
)
_EMAIL = re.compile(
    r"[\w+%-]@(?!x{3,}\.)(?:[^\W_](?:[\w-]{0,62})\.){1,6}[^\W\d_]{2,24}"
    r"|\w\s{0,2}[\[(]\s?at\s?[\])]\s{0,2}[\w-]{1,63}\s{0,2}(?:[\[(]\s?dot\s?[\])]|\.)\s{0,2}[^\W\d_]{2,24}",
    re.IGNORECASE,
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}", re.IGNORECASE)
_IBAN_LENGTHS = {  # the registry of SWIFT
    entry[:2]: int(entry[2:])
    for entry in re.findall(
        ".{4}",
        "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18FO18FR27GB22GE22GI23GL18GR27GT28"
        "HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MR27MT31MU30NL18NO15PK24PL28PS29PT25"
        "QA29RO24RS22SA24SC31SE24SI19SK24SM27ST25SV28TL23TN24TR26UA29VA22VG24XK20",
    )
}
_CARD = re.compile(r"(?<![\d.])(?<!\d[ -])[2-6]\d{3}(?:[ -]?\d){9,15}(?![\d])")
_SSN = re.compile(r"(?<![\d-])(?!000|666|9)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\d-])")
_SSN_SAID = re.compile(
    r"\b(?:ssn|social security)(?: (?:number|no\.?|#))?\W{0,3}(?:is\W{0,2})?(?!000|666|9)\d{3}(?!00)\d{2}(?!0000)\d{4}(?!\d)", re.IGNORECASE
)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_BIRTH = re.compile(
    r"\b(?:date of birth|birth ?date|d\.?o\.?b\b\.?|born(?: on)?(?: the)?|birthday(?: is| was|'s)?(?: on)?(?: the)?)\W{0,4}(?:is\W{0,2})?"
    r"(?:\d{1,2}[/.-]\d{1,2}[/.-](?:\d{4}|\d{2})|\d{4}-\d{2}-\d{2}"
    rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}|\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH},? \d{{4}})(?!\d)",
    re.IGNORECASE,
)
_IP = re.compile(
    r"(?<![\d.:\w])(?:\d{1,3}\.){3}\d{1,3}(?![\d]|\.\d)"
    r"|(?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])|(?<![\w:])(?:[0-9a-f]{1,4}:){2,6}(?::[0-9a-f]{1,4}){1,5}(?![\w:])",
    re.IGNORECASE,
)
_NOT_AN_IP = re.compile(r"(?:\bv|version|release|section|chapter|clause|update|firmware) ?$", re.IGNORECASE)
_PHONE = re.compile(  # not within an identifier such as a digest; a letter of a script without spaces may stand beside it, and an "x12"
    r"(?<![A-Za-z0-9_.,$€£])[+(]{0,2}\d(?:[ ().\-/\u2010-\u2015]{0,3}\d){6,14}(?![0-9A-WYZa-wyz])"
)
_DATE = re.compile(r"(?<!\d)(?:19|20)\d\d([-/.])(?:0?[1-9]|1[0-2])\1(?:[12]\d|3[01]|0?[1-9])(?![\d-])")
_STREET = re.compile(
    r"(?<![\d.,:/$€£-])\d{1,5}[A-Za-z]?,? (?:(?:North|South|East|West|[NSEW]\.?|NE|NW|SE|SW) )?"
    r"(?:(?!(?:Minute|Hour|Day|Mile|Week|Month|Year|Step|Step-by-Step|Point|Key)s?\b)(?:[A-Z][a-z'\u2019-]+|\d{1,3}(?:st|nd|rd|th)) ){1,3}"
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Terrace|Place|Pl|Highway|Hwy|Parkway|Pkwy|Square|Crescent)"
    r"(?![A-Za-z])|\bP\.? ?O\.? ?Box \d+"
)
_SEPARATORS = str.maketrans("", "", " -")
_OF_DIGITS = re.compile(r"[^\d]")
_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
_NUMBER = re.compile(r"\d+")
_LINKED = ("@", "://", "=", ".com/", ".me/", "(at", "( at", "[at", "[ at")
_LINKING = "@=/(["  # each of them has one of these, which is found at once
_MANY_NUMBERS = 1_000  # what looks like a telephone number after so many others in a text counts as one
_WINDOW = 80  # characters on either side of a number: the longest street, the farthest keyword


def findings(text: str, *, phones: PhoneBook) -> dict[str, int]:
    """How many of each kind, kinds without any left out.

    A stretch of text counts once, as the first kind of :data:`KINDS` that claims it. Placeholders and hotlines are none.
    """
    text = folded(text)  # full-width digits, zero-width spaces
    digits = len(text.encode("utf-8", "surrogatepass").translate(None, _NO_DIGITS))
    linked = any(letter in text for letter in _LINKING) and any(sign in text for sign in _LINKED)
    if not digits and not linked:
        return {}
    text = without_markers(text)
    found: Counter[str] = Counter()
    for kind, find in _LINKED_RULES if linked else ():
        spans = list(find(text, phones))
        found[kind] += len(spans)
        text = _blank(text, spans)
    text = _around_digits(text) if digits else ""
    for kind, least, find in _DIGIT_RULES if digits else ():
        if digits >= least:
            spans = list(find(text, phones))
            found[kind] += len(spans)
            text = _blank(text, spans)
    return {kind: found[kind] for kind in KINDS if found[kind]}


def _around_digits(text: str) -> str:
    """Only the stretches with digits in them: a text of 4 KB with one number is searched for six kinds in a twentieth of the time."""
    parts: list[str] = []
    start = end = 0
    for match in _NUMBER.finditer(text):
        if match.start() - _WINDOW > end:
            parts.append(text[start:end])
            start = match.start() - _WINDOW
        end = match.end() + _WINDOW
    parts.append(text[start:end])
    return "\x00".join(parts)


Span = tuple[int, int]


def _blank(text: str, spans: list[Span]) -> str:
    parts, done = [], 0
    for start, end in sorted(spans):
        parts += [text[done:start], "\x00" * (end - max(start, done))]
        done = max(end, done)
    return "".join([*parts, text[done:]]) if spans else text


def _matches(pattern: re.Pattern[str]) -> Callable[[str, PhoneBook], Iterator[Span]]:
    return lambda text, _phones: (match.span() for match in pattern.finditer(text))


def _ibans(text: str, _phones: PhoneBook) -> Iterator[Span]:
    for match in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(match[0][:2].upper(), 0)
        end, seen = match.start(), 0
        while end < match.end() and seen < length:
            seen += text[end] != " "
            end += 1
        compact = text[match.start() : end].replace(" ", "").upper()
        if length and len(compact) == length and not text[end : end + 1].isalnum():
            number = "".join(str(int(letter, 36)) for letter in compact[4:] + compact[:4])
            if int(number) % 97 == 1:  # ISO 13616
                yield match.start(), end


def _cards(text: str, _phones: PhoneBook) -> Iterator[Span]:
    for match in _CARD.finditer(text):
        number = match[0].translate(_SEPARATORS)
        if len(set(number)) > 1 and _luhn(number):
            yield match.span()


def _luhn(number: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    doubled = [sum(divmod(2 * int(digit), 10)) if at % 2 else int(digit) for at, digit in enumerate(reversed(number))]
    return sum(doubled) % 10 == 0


def _ssns(text: str, _phones: PhoneBook) -> Iterator[Span]:
    for pattern in (_SSN, _SSN_SAID):
        yield from (match.span() for match in pattern.finditer(text))


def _addresses(text: str, _phones: PhoneBook) -> Iterator[Span]:
    for match in _IP.finditer(text):
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            continue
        said_before = text[max(0, match.start() - _WINDOW) : match.start()]
        if not (address.is_loopback or address.is_unspecified or _NOT_AN_IP.search(said_before)):
            yield match.span()


def _numbers(text: str, phones: PhoneBook) -> Iterator[Span]:
    text = _DATE.sub(lambda date: "\x00" * len(date[0]), text)  # "2024-01-15 10:30" begins with ten digits of a number in Washington
    for number, candidate in enumerate(_PHONE.finditer(text)):
        from phonenumbers import Leniency, PhoneNumberMatcher

        if number >= _MANY_NUMBERS:
            yield candidate.span()  # the numbering plan takes a tenth of a millisecond; a text like this is a list, not a dialogue
            continue
        for match in PhoneNumberMatcher(candidate[0], phones.region, leniency=Leniency.VALID):
            dialled = _OF_DIGITS.sub("", match.raw_string)
            if phones.hotlines.isdisjoint((dialled, str(match.number.national_number))):
                yield candidate.start() + match.start, candidate.start() + match.end


_LINKED_RULES: Final = (("url_with_credentials_or_user", _matches(_URL_USER)), ("email", _matches(_EMAIL)))
_DIGIT_RULES: Final = (  # with the fewest digits that one has
    ("iban", 8, _ibans),
    ("credit_card", 13, _cards),
    ("us_ssn", 9, _ssns),
    ("date_of_birth", 4, _matches(_BIRTH)),
    ("ip_address", 4, _addresses),
    ("phone", 7, _numbers),
    ("street_address", 1, _matches(_STREET)),
)
assert (*(kind for kind, _ in _LINKED_RULES), *(kind for kind, _, _ in _DIGIT_RULES)) == KINDS
