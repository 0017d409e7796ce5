"""Text in the one form in which it is compared and searched, so that a copy that only looks the same is the same.

Scraped pages carry soft hyphens, zero-width spaces and letters of other alphabets that look like Latin ones; a comparison that reads
them as they stand finds neither the copied prompt nor the telephone number. What is stored is never folded.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache

MAX_MARKS = 30  # combining marks in a row: the Stream-Safe Text Format of Unicode (UAX 15)
# Default_Ignorable_Code_Point of Unicode: what is drawn as nothing.
_IGNORED = "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
_INVISIBLE = re.compile(f"[{_IGNORED}\U000e0000-\U000e0fff]+")
_UNUSUAL = re.compile(
    f"[\u0300-\u1fff{_IGNORED}\u20d0-\u20ff\u2cef-\uabff\ufb1e-\ufe2f\U00010000-\U0010ffff]"
)  # all that is looked for here
_OTHER_DIGIT = re.compile(r"[^\D0-9]")
_LOOKALIKE = str.maketrans("авекмнорстухѕіјԁһԛԝӏαβεικνορτυχ", "abekmhopctyxsijdhqwlabeikvoptyx")
_OTHER_ALPHABET = re.compile("[\u0370-\u03ff\u0400-\u052f]")


def folded(text: str) -> str:
    """NFKC, with digits of every script as 0 to 9, without characters that are drawn as nothing. Time grows with the length only."""
    if text.isascii():
        return text
    if not _UNUSUAL.search(text):
        return unicodedata.normalize("NFKC", text)
    # Marks are sorted by normalisation, at the square of how many follow each other.
    text = unicodedata.normalize("NFKC", _too_many_marks().sub(r"\1", _INVISIBLE.sub("", text)))
    return _OTHER_DIGIT.sub(lambda found: str(unicodedata.decimal(found[0])), text)


def caseless(text: str) -> str:
    """As :func:`folded`, without case, and with Cyrillic and Greek letters that look like Latin ones written as those."""
    text = folded(text).casefold()
    return text.translate(_LOOKALIKE) if not text.isascii() and _OTHER_ALPHABET.search(text) else text


@cache
def _too_many_marks() -> re.Pattern[str]:
    marks = "".join(chr(code) for code in range(0x300, sys.maxunicode + 1) if unicodedata.combining(chr(code)))
    return re.compile(f"([{marks}]{{{MAX_MARKS}}})[{marks}]+")
