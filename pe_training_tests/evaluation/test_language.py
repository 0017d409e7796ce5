"""How replies read, by figures made with pencil and paper."""

from __future__ import annotations

import pytest

from pe_training.evaluation import language
from pe_training.evaluation.record import Metric


def metric(metrics: list[Metric], name: str) -> Metric:
    return next(found for found in metrics if found.name == name)


@pytest.mark.parametrize(
    ("reply", "reference", "score"),
    [
        ("the cat sat", "the cat sat", 1.0),
        ("The cat, sat!", "the cat sat", 1.0),
        ("the cat ran home", "the cat sat", 2 * 2 / 7),
        ("sat cat the", "the cat sat", 2 * 1 / 6),
        ("", "the cat sat", 0.0),
        ("dogs", "the cat sat", 0.0),
    ],
)
def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence(reply: str, reference: str, score: float) -> None:
    assert language.rouge_l(reply, reference) == pytest.approx(score)


@pytest.mark.parametrize(
    ("reply", "share"),
    [("a b c d", 0.0), ("a b c a b c", 0.25), ("go go go go go", 2 / 3), ("two words", 0.0), ("", 1.0), (" ... ", 1.0)],
)
def test_repetition_is_the_share_of_three_grams_said_before(reply: str, share: float) -> None:
    assert language.repeated(reply) == pytest.approx(share)


def test_an_echo_is_quoted_for_the_most_part() -> None:
    asked = "I keep putting off my exams and I feel stuck."
    assert language.echoes(asked, asked)
    assert language.echoes("So: i keep putting off my exams?", asked)
    assert not language.echoes("You keep putting off the exams, and it feels stuck.", asked)
    assert not language.echoes("Feeling stuck.", asked)
    assert language.echoes("", asked)


def test_variety_and_length_over_replies() -> None:
    found = language.style_metrics("s", ["x"] * 4, tuned=["a b c", "a b d", "a b", "e"], base=None)
    for name, value in (("distinct_1", 5 / 9), ("distinct_2", 3 / 5), ("length_words", 9 / 4), ("echo_rate", 0.0)):
        made = metric(found, name).tuned
        assert made is not None
        assert made.value == pytest.approx(value, abs=1e-6)
        assert made.low <= made.value <= made.high
        assert made.n == 4
    assert metric(found, "length_words").better == "neither"
    assert metric(found, "length_words").unit == "words"


def test_a_baseline_is_compared_reply_by_reply() -> None:
    found = language.reference_metrics("s", ["the cat sat"] * 3, tuned=["the cat sat"] * 3, base=["a dog", "the cat", "the cat sat"])
    difference = metric(found, "rouge_l").difference
    assert difference is not None
    assert difference.value == pytest.approx((1 + 0.2) / 3, abs=1e-6)
