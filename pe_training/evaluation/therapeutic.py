"""Reference suites: how therapeutic are the replies, and how close to one that a person wrote?

The rubric scores style (``rubric.py``), ``language.py`` wording, variety and length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pe_training.evaluation import language
from pe_training.evaluation.examples import ReferenceExample
from pe_training.evaluation.measures import Better, Measure, Replies, Row, Scored, check_aligned, each, empties
from pe_training.evaluation.rubric import Judgement, judge
from pe_training.evaluation.suites import SuiteConfig

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


def score_replies(examples: Sequence[ReferenceExample], *, config: SuiteConfig, tuned: Replies, base: Replies | None) -> Scored:
    """Judge one reply per example (``None`` where it is missing). Replies are in the order of the examples."""
    check_aligned(asked=len(examples), tuned=tuned, base=base)
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

    rows: list[Row] = []
    for i, example in enumerate(examples):
        row: Row = {"id": example.id, "topic": example.topic}
        row |= _said("tuned", tuned[i], verdicts[i], example)
        if base is not None and base_verdicts is not None:
            row |= _said("base", base[i], base_verdicts[i], example)
        rows.append(row)
    return Scored(metrics=tuple(metrics), rows=tuple(rows))


def _score(verdict: Judgement) -> float:
    return verdict.therapeutic_score


def _outcome(attribute: str, better: Better) -> Callable[[Judgement], bool]:
    """An empty reply has none of the good properties already; it also fails where less is better."""
    return lambda verdict: bool(getattr(verdict, attribute)) or (better == "lower" and verdict.empty)


def _said(who: str, reply: str | None, verdict: Judgement | None, example: ReferenceExample) -> Row:
    if reply is None or verdict is None:
        return {f"{who}_reply": None}
    found: Row = {f"{who}_reply": reply, f"{who}_chrf": language.chrf(reply, example.reference), f"{who}_score": verdict.therapeutic_score}
    return found | {f"{who}_{name}": bool(getattr(verdict, name)) for _, name, _ in _RATES}
