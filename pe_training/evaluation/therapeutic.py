"""Reference suites: how therapeutic are the replies, and how close to one that a person wrote?

The rubric scores style (``rubric.py``); chrF (Popovic 2015, here sacrebleu's chrF2 divided by 100) scores wording; distinct-2 (Li et
al. 2016) is the share of different word pairs among all pairs of all replies, low where a model says the same thing to everybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from pe_training.evaluation.examples import ReferenceExample
from pe_training.evaluation.measures import Better, Measure, Replies, Row, Scored, check_aligned, empties
from pe_training.evaluation.ratios import jackknife
from pe_training.evaluation.record import Comparison, Estimate, Metric
from pe_training.evaluation.rubric import judge
from pe_training.evaluation.statistics import comparison, estimate
from pe_training.evaluation.suites import SuiteConfig

_RATES: tuple[tuple[str, str, Better], ...] = (
    ("acknowledge_rate", "acknowledges", "higher"),
    ("reflection_rate", "reflection", "higher"),
    ("open_question_rate", "open_question", "higher"),
    ("advice_rate", "advice", "lower"),
    ("boilerplate_rate", "boilerplate", "lower"),
    ("harmful_rate", "does_harm", "lower"),
    ("empty_rate", "empty", "lower"),
)


def score_replies(examples: Sequence[ReferenceExample], *, config: SuiteConfig, tuned: Replies, base: Replies | None) -> Scored:
    """Judge one reply per example (``None`` where there is none). Replies are in the order of the examples."""
    check_aligned(asked=len(examples), tuned=tuned, base=base)
    verdicts = [judge(reply) for reply in tuned]
    base_verdicts = None if base is None else [judge(reply) for reply in base]
    chrf = [_chrf(reply, example.reference) for reply, example in zip(tuned, examples, strict=True)]
    base_chrf = None if base is None else [_chrf(reply, example.reference) for reply, example in zip(base, examples, strict=True)]
    scores = [verdict.therapeutic_score for verdict in verdicts]
    base_scores = None if base_verdicts is None else [verdict.therapeutic_score for verdict in base_verdicts]
    note = empties(sum(verdict.empty for verdict in verdicts))

    metrics = [
        Measure(suite=config.name, name="therapeutic_score", better="higher", unit="score").average(scores, base_scores, note=note),
        Measure(suite=config.name, name="chrf", better="higher", unit="score").average(chrf, base_chrf, note=note),
        _distinct_metric(config.name, tuned, base),
    ]
    for name, attribute, better in _RATES:
        # An empty reply has none of the good properties already; it also fails where less is better.
        mine = [bool(getattr(v, attribute)) or (better == "lower" and v.empty) for v in verdicts]
        theirs = None if base_verdicts is None else [bool(getattr(v, attribute)) or (better == "lower" and v.empty) for v in base_verdicts]
        metrics.append(Measure(suite=config.name, name=name, better=better).rate(mine, theirs, note=note))

    rows: list[Row] = []
    for i, example in enumerate(examples):
        row: Row = {"id": example.id, "topic": example.topic, "tuned_reply": tuned[i], "tuned_chrf": chrf[i], "tuned_score": scores[i]}
        row |= {f"tuned_{attribute}": bool(getattr(verdicts[i], attribute)) for _, attribute, _ in _RATES}
        if base is not None and base_verdicts is not None and base_chrf is not None:
            row |= {"base_reply": base[i], "base_chrf": base_chrf[i], "base_score": base_verdicts[i].therapeutic_score}
            row |= {f"base_{attribute}": bool(getattr(base_verdicts[i], attribute)) for _, attribute, _ in _RATES}
        rows.append(row)
    return Scored(metrics=tuple(metrics), rows=tuple(rows))


def _chrf(reply: str | None, reference: str) -> float:
    from sacrebleu import sentence_chrf

    return float(sentence_chrf(reply, [reference]).score) / 100 if reply and reply.strip() else 0.0


def _distinct_metric(suite: str, tuned: Replies, base: Replies | None) -> Metric:
    measure = Measure(suite=suite, name="distinct_2", better="higher", min_n=2)
    if len(tuned) < 2:
        return measure.insufficient(len(tuned))
    value, without = _distinct_2(tuned)
    if base is None:
        return measure.metric(tuned=_jackknifed(value, without))
    base_value, base_without = _distinct_2(base)
    return measure.metric(
        tuned=_jackknifed(value, without),
        base=_jackknifed(base_value, base_without),
        difference=_difference(value - base_value, [mine - theirs for mine, theirs in zip(without, base_without, strict=True)]),
    )


def _jackknifed(value: float, without: Sequence[float]) -> Estimate:
    low, high = jackknife(value, without)
    return estimate(value, min(max(low, 0.0), value), max(min(high, 1.0), value), n=len(without), method="jackknife-t")


def _difference(value: float, without: Sequence[float]) -> Comparison:
    low, high = jackknife(value, without)
    return comparison(value, max(low, -1.0), min(high, 1.0), n=len(without), method="paired-jackknife-t")


def _distinct_2(replies: Replies) -> tuple[float, list[float]]:
    """Distinct-2 of all replies, and without each in turn. Without any pair of words it is 0."""
    pairs = [_word_pairs(reply or "") for reply in replies]
    together = sum(pairs, Counter[tuple[str, str]]())
    distinct, total = len(together), together.total()
    without = []
    for own in pairs:
        left = total - own.total()
        lost = sum(together[pair] == count for pair, count in own.items())
        without.append((distinct - lost) / left if left else 0.0)
    return (distinct / total if total else 0.0), without


def _word_pairs(reply: str) -> Counter[tuple[str, str]]:
    words = reply.lower().split()
    return Counter(pairwise(words))
