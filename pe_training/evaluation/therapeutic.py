"""Reference suites: how therapeutic are the replies, and how close to one that a person wrote?

The rubric scores style (``rubric.py``), ``language.py`` wording, variety and length; rules grade the three mechanisms of empathy
(``empathy.py``). A trained judge that was named is believed in the place of rubric or rules (``trained.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pe_training.evaluation import empathy, language
from pe_training.evaluation.clusters import Clusters, events_ratio
from pe_training.evaluation.examples import ReferenceExample, clusters_of
from pe_training.evaluation.judges import Heard, Spoken, Verdicts, verdicts_of
from pe_training.evaluation.measures import Better, Measure, Replies, Row, Scored, check_aligned, each, empties, whole
from pe_training.evaluation.record import Metric
from pe_training.evaluation.rubric import Judgement
from pe_training.evaluation.suites import SuiteConfig
from pe_training.manifests.judges import MECHANISMS

_GRADES = (0.0, 2.0)
_RATES: tuple[tuple[str, str, Better], ...] = (
    ("acknowledge_rate", "acknowledges", "higher"),
    ("reflection_rate", "reflection", "higher"),
    ("open_question_rate", "open_question", "higher"),
    ("closed_question_rate", "closed_question", "neither"),
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
    heard: Heard | None = None,
) -> Scored:
    """Judge one reply per example (``None`` where it is missing). Replies are in the order of the examples.

    ``heard``: what trained judges say of the tuned and of the base model's replies.
    """
    check_aligned(asked=len(examples), tuned=tuned, base=base)
    verdicts, base_verdicts = verdicts_of(tuned, base, heard)
    graded = _graded(tuned, verdicts, heard and heard[0])
    base_graded = None if base is None else _graded(base, base_verdicts or [], heard and heard[1])
    note = empties(sum(verdict is not None and verdict.empty for verdict in verdicts))
    clusters = clusters_of(examples)
    references, questions = [e.reference for e in examples], [e.messages[-1].content for e in examples]

    score = Measure(suite=config.name, name="therapeutic_score", better="higher", unit="score")
    metrics = [
        score.average(each(verdicts, _score) or [], each(base_verdicts, _score), note=note, clusters=clusters),
        *language.reference_metrics(config.name, references, tuned=tuned, base=base, clusters=clusters),
        *language.style_metrics(config.name, questions, tuned=tuned, base=base, clusters=clusters),
    ]
    for name, attribute, better in _RATES:
        outcome = _outcome(attribute, better)
        measure = Measure(suite=config.name, name=name, better=better)
        metrics.append(measure.rate(each(verdicts, outcome) or [], each(base_verdicts, outcome), note=note, clusters=clusters))
    metrics.append(_reflections_a_question(config.name, verdicts, base_verdicts, clusters))
    for mechanism in MECHANISMS:
        level = Measure(suite=config.name, name=f"{mechanism}_level", better="higher", unit="score")
        mine, theirs = each(graded, _grade(mechanism)) or [], each(base_graded, _grade(mechanism))
        metrics.append(level.average(mine, theirs, note=note, bounds=_GRADES, clusters=clusters))

    rows: list[Row] = []
    for i, example in enumerate(examples):
        row: Row = {"id": example.id, "topic": example.topic}
        row |= _said("tuned", tuned[i], verdicts[i], graded[i], example)
        if base is not None and base_verdicts is not None and base_graded is not None:
            row |= _said("base", base[i], base_verdicts[i], base_graded[i], example)
        rows.append(row)
    return Scored(metrics=tuple(metrics), rows=tuple(rows))


def _reflections_a_question(suite: str, verdicts: Verdicts, base: Verdicts | None, clusters: Clusters) -> Metric:
    """Replies that reflect for each that asks anything: at least 1 is fair practice, 2 good (MITI 4.2.1, Moyers et al. 2014)."""
    measure = Measure(suite=suite, name="reflection_to_question_ratio", better="higher", unit="ratio")
    told, base = each(verdicts, _whole_verdict) or [], each(base, _whole_verdict)
    if lacking := measure.lacking(told, clusters):
        return lacking
    mine, theirs = [
        whole(found) and events_ratio([v.reflection for v in found if v], [v.asks for v in found if v], clusters) if found else None
        for found in (told, base)
    ]
    if mine:
        return measure.metric(tuned=mine, base=theirs)
    asked = any(verdict and verdict.asks for verdict in verdicts)
    return measure.not_measured("what asks or reflects is of one cluster" if asked else f"none of {len(verdicts)} replies asks anything")


def _graded(replies: Replies, verdicts: Verdicts, heard: Sequence[Spoken] | None) -> list[Spoken | None]:
    """Grades of the mechanisms of empathy: those of the judge that was asked, the rules' for the rest.

    These follow from what the rules see themselves: where a judge speaks for reflections or questions, it does not speak for a mechanism.
    """
    return [
        None if reply is None or verdict is None else {**empathy.grades(reply), **(heard[i] if heard else {})}
        for i, (reply, verdict) in enumerate(zip(replies, verdicts, strict=True))
    ]


def _whole_verdict(verdict: Judgement) -> Judgement | None:
    return None if verdict.ungraded else verdict


def _score(verdict: Judgement) -> float | None:
    return None if verdict.ungraded else verdict.therapeutic_score


def _grade(mechanism: str) -> Callable[[Spoken], float | None]:
    return lambda grades: None if (grade := grades[mechanism]) is None else float(grade)


def _outcome(attribute: str, better: Better) -> Callable[[Judgement], bool | None]:
    """An empty reply has none of the good properties already; it also fails where less is better. A grade that is missing is missing."""
    return lambda verdict: (
        None if attribute in verdict.ungraded else bool(getattr(verdict, attribute)) or (better == "lower" and verdict.empty)
    )


def _said(who: str, reply: str | None, verdict: Judgement | None, grades: Spoken | None, example: ReferenceExample) -> Row:
    if reply is None or verdict is None or grades is None:
        return {f"{who}_reply": None}
    found: Row = {f"{who}_reply": reply, f"{who}_chrf": language.chrf(reply, example.reference), f"{who}_score": _score(verdict)}
    found |= {f"{who}_{mechanism}": grades[mechanism] for mechanism in MECHANISMS}
    return found | {f"{who}_{name}": None if name in verdict.ungraded else bool(getattr(verdict, name)) for _, name, _ in _RATES}
