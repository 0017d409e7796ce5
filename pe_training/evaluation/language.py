"""How replies read, without judging them: closeness to a written reply, variety, repetition, echo of the client, length in words.

Words are what stands between spaces, in lower case, without punctuation at their ends. Sources: chrF Popovic 2015 (here sacrebleu's
chrF2 divided by 100); ROUGE-L Lin 2004 (F-measure, both sides weighing the same); distinct-n Li et al. 2016; repeated 3-grams after
Welleck et al. 2020. The reply is the unit of every interval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from pe_training.evaluation.clusters import Clusters, degrees, together
from pe_training.evaluation.measures import Measure, Replies, each, empties, whole
from pe_training.evaluation.ratios import jackknife
from pe_training.evaluation.record import Comparison, Estimate, Metric
from pe_training.evaluation.statistics import comparison, estimate

ECHO_WORDS = 5  # a run of the client's words as long as this is a quotation
MOST_WORDS = 2048.0  # no reply is longer; the bound that an interval of a mean length needs
_EDGES = ".,;:!?\"'()[]*\u2019\u2018\u201c\u201d\u2026-"
Gram = tuple[str, ...]
T = TypeVar("T")


def words(text: str) -> list[str]:
    """The words of a text, as this module counts them."""
    return [word for part in text.lower().split() if (word := part if part.isalnum() else part.strip(_EDGES))]


def reference_metrics(
    suite: str, references: Sequence[str], *, tuned: Replies, base: Replies | None, clusters: Clusters = None
) -> list[Metric]:
    """chrF and ROUGE-L of replies against one written reply each, in 0..1."""
    return [
        Measure(suite=suite, name=name, better="higher", unit="score").average(
            _against(references, tuned, score) or [], _against(references, base, score), note=_empties(tuned), clusters=clusters
        )
        for name, score in (("chrf", chrf), ("rouge_l", rouge_l))
    ]


def style_metrics(suite: str, questions: Sequence[str], *, tuned: Replies, base: Replies | None, clusters: Clusters = None) -> list[Metric]:
    """Variety, repetition, echo of the client's last turn (``questions``) and length of replies."""
    note = _empties(tuned)
    echo = Measure(suite=suite, name="echo_rate", better="lower")
    repetition = Measure(suite=suite, name="repetition_rate", better="lower")
    length = Measure(suite=suite, name="length_words", better="neither", unit="words")
    return [
        distinct(suite, 1, tuned=tuned, base=base, clusters=clusters),
        distinct(suite, 2, tuned=tuned, base=base, clusters=clusters),
        repetition.average(each(tuned, repeated) or [], each(base, repeated), note=note, clusters=clusters),
        echo.rate(_against(questions, tuned, echoes) or [], _against(questions, base, echoes), note=note, clusters=clusters),
        length.average(each(tuned, _length) or [], each(base, _length), bounds=(0.0, MOST_WORDS), clusters=clusters),
    ]


def chrf(reply: str, reference: str) -> float:
    """chrF2 in 0..1; an empty reply has none."""
    from sacrebleu import sentence_chrf

    return float(sentence_chrf(reply, [reference]).score) / 100 if reply.strip() else 0.0


def rouge_l(reply: str, reference: str) -> float:
    """F-measure of the longest common subsequence of words, 0..1."""
    mine, theirs = words(reply), words(reference)
    if not mine or not theirs:
        return 0.0
    row = [0] * (len(theirs) + 1)
    for word in mine:
        before = 0  # the value up and to the left
        for i, other in enumerate(theirs, start=1):
            before, row[i] = row[i], before + 1 if word == other else max(row[i], row[i - 1])
    return 2 * row[-1] / (len(mine) + len(theirs))


def repeated(reply: str) -> float:
    """Share of a reply's 3-grams of words that it has said before, 0..1. An empty reply fails; one without a 3-gram repeats none."""
    said = words(reply)
    grams = grams_of(said, 3)
    if not said:
        return 1.0
    return 1 - len(grams) / grams.total() if grams else 0.0


def echoes(reply: str, question: str) -> bool:
    """Whether more than half of a reply's words are quoted from the client, in runs of five or more. An empty reply fails."""
    said = words(reply)
    if not said:
        return True
    asked = grams_of(words(question), ECHO_WORDS)
    quoted: set[int] = set()
    for start in range(len(said) - ECHO_WORDS + 1):
        if tuple(said[start : start + ECHO_WORDS]) in asked:
            quoted.update(range(start, start + ECHO_WORDS))
    return len(quoted) > len(said) / 2


def grams_of(said: Sequence[str], n: int) -> Counter[Gram]:
    """How often each run of ``n`` words occurs."""
    return Counter(tuple(said[i : i + n]) for i in range(len(said) - n + 1))


def distinct(suite: str, n: int, *, tuned: Replies, base: Replies | None, clusters: Clusters = None) -> Metric:
    """Share of different n-grams among all of all replies: low where a model says the same thing to everybody."""
    measure = Measure(suite=suite, name=f"distinct_{n}", better="higher", min_n=2)
    if lacking := measure.lacking(tuned, clusters):
        return lacking
    mine, theirs, shared = whole(tuned) or [], whole(base), together(clusters)
    value, without = _distinct(mine, n, shared)
    if theirs is None:
        return measure.metric(tuned=_jackknifed(value, without, shared))
    base_value, base_without = _distinct(theirs, n, shared)
    return measure.metric(
        tuned=_jackknifed(value, without, shared),
        base=_jackknifed(base_value, base_without, shared),
        difference=_difference(value - base_value, [a - b for a, b in zip(without, base_without, strict=True)], shared),
    )


def _distinct(replies: Sequence[str], n: int, clusters: Clusters) -> tuple[float, list[float]]:
    """Distinct-n of all replies, and without each in turn, or without each cluster. Without any n-gram it is 0."""
    grams: dict[Hashable, Counter[Gram]] = {}
    for place, reply in enumerate(replies):
        grams.setdefault(clusters[place] if clusters else place, Counter()).update(grams_of(words(reply), n))
    all_of_them = sum(grams.values(), Counter[Gram]())
    distinct, total = len(all_of_them), all_of_them.total()
    without = []
    for own in grams.values():
        left = total - own.total()
        lost = sum(all_of_them[gram] == count for gram, count in own.items())
        without.append((distinct - lost) / left if left else 0.0)
    return (distinct / total if total else 0.0), without


def _jackknifed(value: float, without: Sequence[float], clusters: Clusters) -> Estimate:
    low, high = jackknife(value, without, degrees=degrees(clusters) if clusters else None)
    ends, method = (min(max(low, 0.0), value), max(min(high, 1.0), value)), "cluster-jackknife-t" if clusters else "jackknife-t"
    return estimate(value, *ends, n=len(without), method=method, examples=len(clusters) if clusters else None)


def _difference(value: float, without: Sequence[float], clusters: Clusters) -> Comparison:
    low, high = jackknife(value, without, degrees=degrees(clusters) if clusters else None)
    method = "paired-cluster-jackknife-t" if clusters else "paired-jackknife-t"
    ends = max(low, -1.0), min(high, 1.0)
    return comparison(value, *ends, n=len(without), method=method, examples=len(clusters) if clusters else None)


def _against(texts: Sequence[str], replies: Replies | None, score: Callable[[str, str], T]) -> list[T | None] | None:
    if replies is None:
        return None
    return [None if reply is None else score(reply, text) for reply, text in zip(replies, texts, strict=True)]


def _length(reply: str) -> float:
    return float(min(len(words(reply)), MOST_WORDS))


def _empties(replies: Replies) -> str | None:
    return empties(sum(reply is not None and not words(reply) for reply in replies))
