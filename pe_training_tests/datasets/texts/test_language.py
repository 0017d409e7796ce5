"""Languages are told apart where there is enough to tell by."""

from __future__ import annotations

import pytest

from pe_training.datasets.texts.language import LANGUAGES, detect
from pe_training_tests.datasets.texts import planted
from pe_training_tests.shared_data import SHARED_DATA, needs_shared_data

SAID = {
    "en": "I keep putting off my exams and every evening I promise myself that tomorrow will be different.",
    "es": "Llevo semanas sin dormir bien y no sé cómo decírselo a mi familia sin preocuparlos demasiado.",
    "fr": "Depuis que mon frère est parti, je me réveille chaque nuit et je n'arrive plus à me rendormir.",
    "de": "Seit der Trennung schlafe ich kaum noch, und auf der Arbeit kann ich mich nicht mehr konzentrieren.",
    "pt": "Não consigo parar de pensar no que aconteceu e sinto que ninguém aqui me entende de verdade.",
    "ru": "Я уже несколько недель плохо сплю и не знаю, как рассказать об этом своей семье.",  # noqa: RUF001
    "ja": "最近よく眠れなくて、仕事にも集中できません。どうすればいいのでしょうか。",
    "ar": "لم أعد أستطيع النوم منذ أسابيع ولا أعرف كيف أخبر عائلتي بذلك دون أن أقلقهم",
}


@pytest.mark.parametrize("code", SAID)
def test_a_sentence_is_told_by_its_language(code: str) -> None:
    found = detect(SAID[code])
    assert found is not None
    assert found[0] == code
    assert code in LANGUAGES
    assert found[1] > 0.9


@pytest.mark.parametrize("text", ["", "ok", "I feel sad", "no se", "12345 67890 " * 20, "🙂" * 100, "はい"])
def test_a_text_too_short_to_tell_has_no_language(text: str) -> None:
    assert detect(text) is None


def test_the_answer_is_the_same_in_every_process() -> None:
    assert planted.said_by_another_process(f"language.detect({SAID['es']!r})", hash_seed="1") == str(detect(SAID["es"]))


def test_the_sample_release_is_english() -> None:
    rows = planted.sample_messages()
    found = [detect(" ".join(content for _, content in row)) for row in rows]
    assert sum(code is not None and code[0] != "en" for code in found) == 0
    assert sum(code is None for code in found) == 0


@needs_shared_data
def test_real_counselling_in_english_is_english() -> None:
    rows = [row["messages"] for row in planted.lines(SHARED_DATA / "counsel_chat.jsonl")][:500]
    found = [detect(message["content"]) for row in rows for message in row]
    assert sum(code is not None and code[0] != "en" for code in found) <= len(found) // 200
