"""Who judges replies, and which of a judge's labels stand behind which measure.

A measure is no better than the labels that it counts. Each label of a judge is compared with people (``calibration.py``); where it
agrees with them too little, every measure that rests on it is withheld: no value, and a note that says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pe_training.core.ids import digest_file, digest_json
from pe_training.evaluation import conduct, empathy, rubric
from pe_training.evaluation.conduct import BOUNDARIES, HARMS
from pe_training.evaluation.generate import Conversation
from pe_training.evaluation.measures import Replies
from pe_training.evaluation.record import Agreement, JudgeCalibration, Metric
from pe_training.manifests.judges import MECHANISMS

_STYLE = ("reflection", "acknowledges", "open_question", "advice", "boilerplate", "flattery", *HARMS)
_RIGHT = ("crisis_response", *HARMS)
_FAIR = (*_RIGHT, *_STYLE)  # a scenario of a crisis is judged by the first, any other by the second
# Measure of a suite of replies -> the labels that it counts. A slice may count fewer (:func:`labels_behind`).
RESTS_ON: dict[str, tuple[str, ...]] = {
    "crisis_recall": ("crisis_response",), "false_negative_rate": ("crisis_response",), "false_positive_rate": ("crisis_response",),
    "safety_score": ("crisis_response", "refusal", *BOUNDARIES, *HARMS), "harmful_rate": HARMS, "method_rate": ("method",),
    "acknowledge_rate": ("acknowledges",), "asks_safety_rate": ("asks_safety",), "refers_to_help_rate": ("refers_to_help",),
    "over_refusal_rate": ("refusal",), "boundary_violation_rate": BOUNDARIES,
    "therapeutic_score": _STYLE, "reflection_rate": ("reflection",), "open_question_rate": ("open_question",),
    "closed_question_rate": ("closed_question",), "reflection_to_question_ratio": ("reflection", "open_question", "closed_question"),
    "advice_rate": ("advice",), "boilerplate_rate": ("boilerplate",), "flattery_rate": ("flattery",),
    **{f"{mechanism}_level": (mechanism,) for mechanism in MECHANISMS},
    "group_score": _FAIR, "largest_gap": _FAIR, "pair_difference": _FAIR, "worst_group": _FAIR, "flip_rate": ("crisis_response",),
}  # fmt: skip
_OF_KIND = {
    "crisis": _RIGHT, "hard_negative": (*_RIGHT, "refusal"), "safe": (*_RIGHT, "refusal"), "boundary_probe": (*BOUNDARIES, *HARMS),
}  # fmt: skip
_COUNTS = {"crisis": (*_RIGHT, "acknowledges", "asks_safety", "refers_to_help", "refusal", *BOUNDARIES), "counterfactual": _FAIR}
# Measures of replies that are counted and not judged.
COUNTED = frozenset({
    "empty_rate", "chrf", "rouge_l", "distinct_1", "distinct_2", "echo_rate", "repetition_rate", "length_words",
    "training_overlap_words", "training_leak_rate", "canary_leak_rate",
})  # fmt: skip


# Label -> how far it is seen: 0 or 1, or up to the highest grade that the label set names. Without a label of which no grade was given.
Grades = Mapping[str, int]


Verdicts = Sequence[rubric.Judgement | None]
Spoken = Mapping[str, int | None]  # what judges besides the rules said of a reply, by label; None: asked, and gave no grade
Heard = tuple[Sequence[Spoken], Sequence[Spoken] | None]  # of each reply of the tuned and of the base model


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A reply, and the conversation that it answers (rules read the reply alone)."""

    asked: Conversation = ()
    reply: str


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Somebody or something that sees labels in replies."""

    name: str
    labels: tuple[str, ...]
    digest: str  # of all that its verdicts follow from
    grade: Callable[[Sequence[Exchange]], list[Grades]]
    checkpoint_id: str | None = None  # of one that was trained here


def _sources(*names: str) -> str:
    return digest_json({name: digest_file(Path(__file__).parent / name) for name in names})


def _by_rubric(reply: str) -> Grades:
    verdict = rubric.judge(reply)
    return {**{label: int(getattr(verdict, label)) for label in rubric.JUDGED}, **empathy.grades(reply, verdict)}


def _by_conduct(reply: str) -> Grades:
    seen = conduct.conduct(reply).seen
    return {label: int(label in seen) for label in conduct.CONDUCT}


def rules() -> tuple[Judge, ...]:
    """The two word lists: transparent, instant, and the same on every machine."""
    shared = ("conduct.py", "conduct_patterns.py", "rubric_patterns.py")
    return (
        Judge(
            name=rubric.VERSION,
            labels=(*rubric.JUDGED, *MECHANISMS),
            digest=_sources("rubric.py", "empathy.py", *shared),
            grade=lambda exchanges: [_by_rubric(one.reply) for one in exchanges],
        ),
        Judge(
            name=conduct.VERSION,
            labels=conduct.CONDUCT,
            digest=_sources(*shared),
            grade=lambda exchanges: [_by_conduct(one.reply) for one in exchanges],
        ),
    )


def verdicts_of(tuned: Replies, base: Replies | None, heard: Heard | None) -> tuple[Verdicts, Verdicts | None]:
    """What the rubric sees in every reply, and in its place what trained judges said; of a missing reply ``None``."""

    def verdicts(replies: Replies, spoken: Sequence[Spoken] | None) -> Verdicts:
        said = spoken or [rubric.NOTHING] * len(replies)
        return [None if reply is None else rubric.judge(reply, grades) for reply, grades in zip(replies, said, strict=True)]

    return verdicts(tuned, heard and heard[0]), None if base is None else verdicts(base, heard and heard[1])


def who_counts(kind: str, judges: Sequence[Judge]) -> tuple[Judge, ...]:
    """Those of the judges whose labels suites of this kind count; a suite of references counts all."""
    return tuple(judge for judge in judges if kind == "reference" or set(judge.labels).intersection(_COUNTS[kind]))


def labels_behind(name: str, slice: str = "all") -> tuple[str, ...]:
    """The labels that a measure of replies counts; none where it is not judged. Raises KeyError for a measure that nobody thought of."""
    if name in COUNTED:
        return ()
    field, _, value = slice.partition("=")
    if field == "category" and name == "harmful_rate":
        return (value,)
    return _OF_KIND[value] if field == "kind" and name == "safety_score" else RESTS_ON[name]


def speakers(calibrations: Sequence[JudgeCalibration]) -> dict[str, tuple[JudgeCalibration, Agreement]]:
    """Who speaks for each label, and how far people agree with them: the later of two calibrations that know it."""
    return {agreement.label: (found, agreement) for found in calibrations for agreement in found.agreements}


def judged(metrics: Iterable[Metric], calibrations: Sequence[JudgeCalibration]) -> list[Metric]:
    """Measures of replies with the names of those who judged; without values where one of their labels may not be relied on."""
    speaks = {label: found.judge for label, (found, _) in speakers(calibrations).items()}
    lapses = {label: agreement.lapse for label, (_, agreement) in speakers(calibrations).items()}
    found = []
    for metric in metrics:
        behind = labels_behind(metric.name, metric.slice)
        wanting = [f"{label} was never compared with people" for label in behind if label not in speaks]
        wanting += [f"{speaks[label]} on {label}: {lapse}" for label in behind if (lapse := lapses.get(label))]
        spoke = ", ".join(sorted({speaks[label] for label in behind if label in speaks})) or None
        why = {
            "tuned": None,
            "base": None,
            "difference": None,
            "test": None,
            "incumbent": None,
            "over_incumbent": None,
            "note": f"not measured: {'; '.join(wanting)}",
        }
        found.append(metric.model_copy(update={"judge": spoke, **(why if wanting else {})}))
    return found
