"""Which language a text is in, by letter statistics and offline. It costs a third of a millisecond, so callers look at a sample."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lingua import LanguageDetector

LANGUAGES = (
    "en", "es", "fr", "de", "pt", "it", "nl", "pl", "ru", "uk", "tr", "ar", "hi", "zh", "ja", "ko", "vi", "id", "tl", "sv",
)  # fmt: skip
MIN_LETTERS = 40  # below, guesses are wrong too often: "I feel sad" is taken for Dutch
MIN_DENSE_LETTERS = 12  # of scripts where a letter is a syllable or a word
MAX_CHARACTERS = 400  # of a text: more do not change the answer


@cache
def _detector() -> LanguageDetector:
    """Trigrams only (lingua's low accuracy mode): right above :data:`MIN_LETTERS`, at a quarter of the memory."""
    from lingua import IsoCode639_1, LanguageDetectorBuilder

    codes = [getattr(IsoCode639_1, code.upper()) for code in LANGUAGES]
    return LanguageDetectorBuilder.from_iso_codes_639_1(*codes).with_low_accuracy_mode().build()


def detect(text: str) -> tuple[str, float] | None:
    """ISO 639-1 code of :data:`LANGUAGES` and lingua's confidence, 0 to 1; None for a text too short to tell."""
    text = text[:MAX_CHARACTERS]
    letters = sum(map(str.isalpha, text))
    dense = sum("\u3040" <= letter <= "\u9fff" or "\uac00" <= letter <= "\ud7a3" for letter in text) if not text.isascii() else 0
    if letters < MIN_LETTERS and dense < MIN_DENSE_LETTERS:
        return None
    best = _detector().compute_language_confidence_values(text)[0]
    return best.language.iso_code_639_1.name.lower(), round(best.value, 3)
