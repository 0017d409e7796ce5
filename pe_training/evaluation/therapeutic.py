"""Reference suites: how therapeutic are the replies, and how close to one that a person wrote?

The rubric scores style (``rubric.py``), ``language.py`` wording, variety and length. The three mechanisms of empathy are graded by rules
(``empathy.py``) or by trained judges (``trained.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pe_training.evaluation import empathy, language
from pe_training.evaluation.examples import ReferenceExample
from pe_training.evaluation.judges import Grades
from pe_training.evaluation.measures import Better, Measure, Replies, Row, Scored, check_aligned, each, empties
from pe_training.evaluation.rubric import Judgement, judge
from pe_training.evaluation.suites import SuiteConfig
from pe_training.manifests.judges import MECHANISMS

Graded = Sequence[Grades | None]
_GRADES = (0.0, 2.0)
_RATES: tuple[tuple[str, str, Better], ...] = (
    ("acknowledge_rate", "acknowledges", "higher"),
    ("reflection_rate", "reflection", "higher"),
    ("open_question_rate", "open_question", "higher"),
    ("advice_rate", "advice", "lower"),
    ("boilerplate_rate", "boilerplate", "lower"),
    ("flattery_rate", "flattery", "lower"),
    ("harmful_rate", "does_harm", "lower"),
    ("empty_rate", "empty", "lower"),
)


def score_replies(
    examples: Sequence[ReferenceExample],
    *,
    config: SuiteConfig,
    tuned: Replies,
    base: Replies | None,
    grades: tuple[Graded, Graded | None] | None = None,
) -> Scored:
    """Judge one reply per example (``None`` where it is missing). Replies are in the order of the examples.

    ``grades``: of the mechanisms of empathy in the tuned and in the base model's replies; by default what the rules give.
    """
    check_aligned(asked=len(examples), tuned=tuned, base=base)
    graded, base_graded = grades or (each(tuned, empathy.grades) or [], each(base, empathy.grades))
    check_aligned(asked=len(examples), tuned=graded, base=base_graded)
    verdicts, base_verdicts = each(tuned, judge) or [], each(base, judge)
    note = empties(sum(verdict is not None and verdict.empty for verdict in verdicts))
    references, questions = [e.reference for e in examples], [e.messages[-1].content for e in examples]

    score = Measure(suite=config.name, name="therapeutic_score", better="higher", unit="score")
    metrics = [
        score.average(each(verdicts, _score) or [], each(base_verdicts, _score), note=note),
        *language.reference_metrics(config.name, references, tuned=tuned, base=base),
        *language.style_metrics(config.name, questions, tuned=tuned, base=base),
    ]
    for name, attribute, better in _RATES:
        outcome = _outcome(attribute, better)
        measure = Measure(suite=config.name, name=name, better=better)
        metrics.append(measure.rate(each(verdicts, outcome) or [], each(base_verdicts, outcome), note=note))
    for mechanism in MECHANISMS:
        level = Measure(suite=config.name, name=f"{mechanism}_level", better="higher", unit="score")
        mine, theirs = each(graded, _grade(mechanism)) or [], each(base_graded, _grade(mechanism))
        metrics.append(level.average(mine, theirs, note=note, bounds=_GRADES))

    rows: list[Row] = []
    for i, example in enumerate(examples):
        row: Row = {"id": example.id, "topic": example.topic}
        row |= _said("tuned", tuned[i], verdicts[i], graded[i], example)
        if base is not None and base_verdicts is not None and base_graded is not None:
            row |= _said("base", base[i], base_verdicts[i], base_graded[i], example)
        rows.append(row)
    return Scored(metrics=tuple(metrics), rows=tuple(rows))


def _score(verdict: Judgement) -> float:
    return verdict.therapeutic_score


def _grade(mechanism: str) -> Callable[[Grades], float]:
    return lambda grades: float(grades[mechanism])


def _outcome(attribute: str, better: Better) -> Callable[[Judgement], bool]:
    """An empty reply has none of the good properties already; it also fails where less is better."""
    return lambda verdict: bool(getattr(verdict, attribute)) or (better == "lower" and verdict.empty)


def _said(who: str, reply: str | None, verdict: Judgement | None, grades: Grades | None, example: ReferenceExample) -> Row:
    if reply is None or verdict is None or grades is None:
        return {f"{who}_reply": None}
    found: Row = {f"{who}_reply": reply, f"{who}_chrf": language.chrf(reply, example.reference), f"{who}_score": verdict.therapeutic_score}
    found |= {f"{who}_{mechanism}": grades[mechanism] for mechanism in MECHANISMS}
    return found | {f"{who}_{name}": bool(getattr(verdict, name)) for _, name, _ in _RATES}
