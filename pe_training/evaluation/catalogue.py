"""What can be measured: of each kind of suite the measures, their units, their slices, and how many examples a suite has for one.

A policy that asks for a measure which nobody takes waits for ever, and looks like one that is careful. So what the scorers take is
written down once; a test holds it against what they do take.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pe_training.evaluation.conduct import BOUNDARIES, HARMS
from pe_training.evaluation.examples import CRISIS_LEVELS, CRISIS_TYPES, CrisisExample, Scenario
from pe_training.evaluation.measures import Better
from pe_training.evaluation.record import Unit
from pe_training.evaluation.suites import Suite
from pe_training.manifests.judges import MECHANISMS

Source = Literal["replies", "labels", "both"]  # a model that talks, one that names labels
JUDGES = "judge"  # the suite of measures that are about a report's judges; every report has it
_KINDS = ("crisis", "hard_negative", "safe", "boundary_probe")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measure. ``slices``: fields that it is taken by, with the values that they can have (none: any)."""

    unit: Unit
    better: Better
    of: Source
    slices: dict[str, tuple[str, ...]]
    low: float
    high: float
    whole: bool = True  # taken of the whole suite as well


def _of(
    source: Source, unit: Unit, better: Better, names: str, *, by: str = "", ends: tuple[float, float] | None = None, whole: bool = True
) -> dict[str, Measured]:
    infinite = float("inf")
    low, high = ends or {"proportion": (0.0, 1.0), "score": (0.0, 1.0), "perplexity": (1.0, infinite)}.get(unit, (0.0, infinite))
    values = {"crisis_type": CRISIS_TYPES, "crisis_level": CRISIS_LEVELS, "category": HARMS, "boundary": BOUNDARIES, "kind": _KINDS}
    slices = {field: values.get(field, ()) for field in by.split()}
    return {name: Measured(unit=unit, better=better, of=source, slices=slices, low=low, high=high, whole=whole) for name in names.split()}


CATALOGUE: dict[str, dict[str, Measured]] = {
    "held_out": {
        **_of("replies", "nats", "lower", "loss"),
        **_of("replies", "perplexity", "lower", "perplexity"),
        **_of("labels", "proportion", "higher", "accuracy", by="confidence"),
        **_of("labels", "proportion", "higher", "recall precision", by="label", whole=False),
        **_of("labels", "proportion", "neither", "majority_share"),
        **_of("labels", "proportion", "neither", "confusion", by="expected", whole=False),  # better one way or the other, by slice
        **_of("labels", "score", "higher", "macro_f1 auroc auprc"),
        **_of("labels", "score", "lower", "calibration_error"),
        **_of("labels", "score", "lower", "brier", ends=(0.0, 2.0)),
        **_of("labels", "score", "neither", "mean_confidence", by="confidence", whole=False),
    },
    "crisis": {
        **_of("both", "proportion", "higher", "crisis_recall", by="crisis_type crisis_level"),
        **_of("both", "proportion", "lower", "false_negative_rate", by="crisis_type crisis_level"),
        **_of("both", "proportion", "lower", "false_positive_rate", by="trap"),
        **_of("both", "proportion", "higher", "safety_score", by="kind"),
        **_of("labels", "score", "higher", "crisis_auroc"),
        **_of("replies", "proportion", "higher", "acknowledge_rate asks_safety_rate refers_to_help_rate", by="crisis_level"),
        **_of("replies", "proportion", "lower", "harmful_rate", by="category"),
        **_of("replies", "proportion", "lower", "method_rate empty_rate training_leak_rate canary_leak_rate"),
        **_of("replies", "proportion", "lower", "over_refusal_rate", by="kind"),
        **_of("replies", "proportion", "lower", "boundary_violation_rate", by="kind boundary"),
        **_of("replies", "words", "lower", "training_overlap_words"),
    },
    "counterfactual": {
        **_of("both", "proportion", "lower", "largest_gap", by="dimension"),
        **_of("both", "proportion", "lower", "flip_rate"),
        **_of("both", "score", "higher", "group_score", by="*"),
        **_of("both", "score", "higher", "worst_group", by="dimension", whole=False),
        **_of("both", "score", "lower", "pair_difference", by="pair", ends=(-1.0, 1.0), whole=False),
        **_of("labels", "proportion", "lower", "demographic_parity_difference equalized_odds_difference", by="dimension", whole=False),
    },
    "reference": {
        **_of("replies", "score", "higher", "therapeutic_score chrf rouge_l"),
        **_of("replies", "score", "higher", " ".join(f"{mechanism}_level" for mechanism in MECHANISMS), ends=(0.0, 2.0)),
        **_of("replies", "proportion", "higher", "acknowledge_rate reflection_rate open_question_rate distinct_1 distinct_2"),
        **_of("replies", "proportion", "neither", "closed_question_rate"),
        **_of("replies", "proportion", "lower", "advice_rate boilerplate_rate flattery_rate harmful_rate empty_rate echo_rate"),
        **_of("replies", "proportion", "lower", "repetition_rate"),
        **_of("replies", "words", "neither", "length_words"),
        **_of("replies", "ratio", "higher", "reflection_to_question_ratio"),
    },
    JUDGES: {
        **_of("replies", "score", "higher", "kappa rank_correlation", by="label", ends=(-1.0, 1.0), whole=False),
        **_of("replies", "score", "higher", "macro_f1", by="label", whole=False),
        **_of("replies", "proportion", "higher", "precision recall", by="label", whole=False),
    },
}  # fmt: skip


def examples_behind(suite: Suite, name: str, slice: str) -> int | None:
    """The most examples that ``suite`` has for a measure; ``None`` where that depends on the dataset."""
    if suite.config.kind == "held_out":
        return None
    field, _, value = slice.partition("=")
    if suite.config.kind == "counterfactual":
        scenarios = [example for example in suite.examples if isinstance(example, Scenario)]
        if field in ("all", "pair"):
            return len(scenarios)
        return sum(one.dimension == (value if field == "dimension" else field) for one in scenarios)
    if suite.config.kind == "reference":
        return len(suite.examples)
    found: Iterable[CrisisExample] = (example for example in suite.examples if isinstance(example, CrisisExample))
    if kinds := _ASKED.get(name):
        found = (one for one in found if one.kind in kinds)
    if field in ("crisis_type", "crisis_level", "trap", "kind", "boundary"):
        found = (one for one in found if getattr(one, field) == value)
    return sum(1 for _ in found)


_ASKED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("crisis_recall", "false_negative_rate", "acknowledge_rate", "asks_safety_rate", "refers_to_help_rate"), ("crisis",)),
    "false_positive_rate": ("hard_negative",), "over_refusal_rate": ("hard_negative", "safe"), "canary_leak_rate": ("canary",),
    "safety_score": _KINDS,
}  # fmt: skip
