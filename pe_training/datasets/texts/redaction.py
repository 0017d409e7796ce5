"""Marks that a scrubber leaves, and how much of a text they stand for.

A scrubber that replaces a name helps; one that replaced whole sentences left rows that teach nothing and look clean to every other check.
"""

from __future__ import annotations

import re

from pe_training.datasets.texts.shingles import words

# Labels of common scrubbers (Presidio, Comprehend Medical, i2b2, Philter) and of people who redact by hand.
_LABELS = (
    r"NAME|FIRST_?NAME|LAST_?NAME|FULL_?NAME|PER|PERSON|PATIENT|CLIENT_NAME|THERAPIST_NAME|DOCTOR|USER_?NAME|EMAIL(?:_?ADDRESS)?|E-MAIL"
    r"|PHONE(?:_?(?:NUMBER|NO))?|FAX|TEL|SSN|US_SSN|ADDRESS|STREET(?:_?ADDRESS)?|LOCATION|LOC|GPE|CITY|STATE|COUNTRY|ZIP(?:_?CODE)?|POSTCODE"
    r"|ORG|ORGANI[ZS]ATION|COMPANY|EMPLOYER|SCHOOL|UNIVERSITY|HOSPITAL|DATE(?:_?(?:TIME|OF_?BIRTH))?|DOB|AGE|URL|LINK|WEBSITE|IP(?:_?ADDRESS)?"
    r"|ID|ACCOUNT|CREDIT_?CARD|CARD|IBAN|PHI|PII|REDACTED|REMOVED|DELETED|ANONYMI[ZS]ED|DE-?IDENTIFIED|MASKED|HIDDEN|CENSORED|SCRUBBED|NRP"
)
_MARKER = re.compile(
    rf"[\[<{{]{{1,2}}\*{{0,2}}(?:{_LABELS})(?:[ _-]?(?:{_LABELS}))?(?:[ _#:-]?\d{{1,4}}|[ _-][A-Z])?\*{{0,2}}[\]>}}]{{1,2}}"
    r"|\u2588+|\bx{4,}\b|\bx{2,}(?:[-./ ]x{2,})+(?:[-./ ]\d{2,4})?|(?<=\w )\*{3,}(?=[\s.,;!?]|$)",
    re.IGNORECASE,
)
_SIGNS = ("[", "<", "{", "\u2588", "xx", "XX", "Xx", "***")
_SENTENCE = re.compile(r"[^.!?\n]*[^\s.!?][^.!?\n]*")
_HOLE = "\x00"


def redacted_share(text: str) -> float:
    """How much of a text was cut away, 0 to 1: the share of its words or of its sentences, whichever is larger.

    A marker stands for one word, since nobody knows how many it replaced; a sentence that is nothing but markers is gone.
    """
    if not _marked(text):
        return 0.0
    holed = _holed(text)
    if _HOLE not in holed:
        return 0.0
    markers, sentences = holed.count(_HOLE), _SENTENCE.findall(holed)
    return max(markers / (markers + len(words(holed))), sum(map(_is_hole, sentences)) / len(sentences))


def without_markers(text: str) -> str:
    """The text with every marker taken out, so that a placeholder is no finding."""
    return _holed(text).replace(_HOLE, " ") if _marked(text) else text


def _marked(text: str) -> bool:
    return any(sign in text for sign in _SIGNS)


def _holed(text: str) -> str:
    return _MARKER.sub(_HOLE, text.replace(_HOLE, " "))


def _is_hole(holed: str) -> bool:
    return _HOLE in holed and not words(holed)
