"""Whose grade counts: a trained judge's for what it learnt, the rules' for the rest; nobody's where there is no reply."""

from __future__ import annotations

from collections.abc import Sequence

from pe_training.evaluation.empathy import grades
from pe_training.evaluation.judges import Exchange, Grades, Judge
from pe_training.evaluation.trained import mechanism_grades

ASKED = [({"role": "user", "content": f"Question {i}."},) for i in range(4)]
REPLIES = ["So sorry. What did you feel?", "", None, "Call the bank."]


def judging(label: str, grade: int, heard: list[Exchange]) -> Judge:
    def grade_all(exchanges: Sequence[Exchange]) -> list[Grades]:
        heard.extend(exchanges)
        return [{label: grade} for _ in exchanges]

    return Judge(name=f"judge of {label}", labels=(label,), digest="ck_1", grade=grade_all, checkpoint_id="ck_1")


def test_without_a_trained_judge_the_rules_grade() -> None:
    assert mechanism_grades(ASKED, REPLIES, ()) == [None if reply is None else grades(reply) for reply in REPLIES]


def test_a_trained_judge_hears_every_reply_with_what_it_answers_and_speaks_for_its_label_only() -> None:
    heard: list[Exchange] = []
    found = mechanism_grades(ASKED, REPLIES, [judging("interpretation", 2, heard)])
    assert [(one.asked[-1]["content"], one.reply) for one in heard] == [("Question 0.", REPLIES[0]), ("Question 3.", REPLIES[3])]
    assert found[2] is None
    assert found[1] == {"emotional_reaction": 0, "interpretation": 0, "exploration": 0}  # nothing was said: nobody is asked
    for i in (0, 3):
        graded, by_rule = found[i], grades(str(REPLIES[i]))
        assert graded is not None
        assert graded["interpretation"] == 2
        assert {name: graded[name] for name in ("emotional_reaction", "exploration")} == {
            name: by_rule[name] for name in ("emotional_reaction", "exploration")
        }


def test_the_rules_grade_as_they_say() -> None:
    for reply, wanted in (
        ("I'm so sorry about your dog.", (2, 0, 0)),
        ("It took courage to come here.", (1, 0, 0)),
        ("I completely understand.", (0, 1, 0)),
        ("So the quiet evenings are what you miss most since she moved out.", (0, 2, 0)),
        ("Was it on Monday?", (0, 0, 1)),
        ("What did you feel when he left?", (0, 0, 2)),
        ("Have you tried yoga?", (0, 0, 0)),
        ("", (0, 0, 0)),
    ):
        assert tuple(grades(reply).values()) == wanted, reply
