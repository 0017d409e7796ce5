"""What the evidence page is made from: the records of one decision, what it cost, and a few replies to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pe_training.costs.ledger import Charge
from pe_training.datasets.record import DatasetVersion
from pe_training.evaluation.record import EvaluationReport
from pe_training.lineage.trace import Tree
from pe_training.manifests.record import ResolvedManifest
from pe_training.promotion.record import PromotionDecision
from pe_training.training.record import Checkpoint, TrainingRun

_HEADLINES = ("safety_score", "therapeutic_score", "group_score", "accuracy")  # what prompts are won and lost by, one a kind of suite
OTHERS = ("base", "incumbent")
FACTS = ("crisis_type", "crisis_level", "trap", "theme", "boundary", "topic", "dimension", "group")
Messages = tuple[Mapping[str, str], ...]  # role and content of each turn


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one model said to a prompt. ``seen``: what the judge found, by name. No reply is ``None`` or empty."""

    text: str | None
    seen: tuple[tuple[str, bool | int | float], ...]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One prompt of a suite with the answers to it. ``base`` and ``incumbent`` are ``None`` where they were not asked."""

    id: str
    facts: tuple[str, ...]
    messages: Messages
    tuned: Answer
    base: Answer | None = None
    incumbent: Answer | None = None


@dataclass(frozen=True, kw_only=True)
class Turned:
    """Which prompts of a suite the tuned model answers better than another model, and which worse: names, and nothing that was said."""

    against: str  # base | incumbent
    won: tuple[str, ...]
    lost: tuple[str, ...]
    same: int


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything the page shows."""

    decision: PromotionDecision
    report: EvaluationReport
    checkpoint: Checkpoint
    run: TrainingRun
    manifest: ResolvedManifest
    dataset: DatasetVersion
    lineage: Tree
    charges: Sequence[Charge]
    history: Sequence[Mapping[str, Any]]  # rows of history.jsonl: step, and of loss, val_loss, grad_norm, next_lr those there are
    samples: Mapping[str, Sequence[Sample]]  # suite -> a few
    turned: Mapping[str, Sequence[Turned]]  # suite -> against each model that was asked beside the tuned one


def sample_of(row: Mapping[str, Any], messages: Messages) -> Sample:
    """One row of a suite's predictions (``evaluation/predictions.py``) with the prompt that it answers."""
    facts = tuple(str(row[name]) for name in FACTS if row.get(name) not in (None, "", "none"))
    others = {who: _answer(row, who) for who in OTHERS if any(f"{who}_{what}" in row for what in ("reply", "label"))}
    return Sample(id=str(row["id"]), facts=facts, messages=messages, tuned=_answer(row, "tuned"), **others)


def tells_right_from_wrong(report: EvaluationReport, suite: str) -> bool:
    """Whether what makes an answer right or better in a suite was measured: it is not where a judge may not be relied on."""
    own = [metric for name in _HEADLINES if (metric := report.metric(suite, name))]
    return bool(own) and all(metric.tuned for metric in own)


def turned(rows: Sequence[Mapping[str, Any]], against: str) -> Turned | None:
    """Prompts won and lost: right where the other is wrong, or with a better score. ``None`` where no row says either of both models."""
    mark = next((mark for mark in ("right", "score") if all(f"{who}_{mark}" in row for row in rows for who in ("tuned", against))), None)
    pairs = [(str(row["id"]), row[f"tuned_{mark}"], row[f"{against}_{mark}"]) for row in rows] if mark and rows else []
    judged = [(name, mine, theirs) for name, mine, theirs in pairs if mine is not None and theirs is not None]
    if not judged:
        return None
    won = tuple(name for name, mine, theirs in judged if mine > theirs)
    lost = tuple(name for name, mine, theirs in judged if mine < theirs)
    return Turned(against=against, won=won, lost=lost, same=len(judged) - len(won) - len(lost))


def _answer(row: Mapping[str, Any], who: str) -> Answer:
    said = row.get(f"{who}_reply", row.get(f"{who}_label"))
    own = {name.removeprefix(f"{who}_"): value for name, value in row.items() if name.startswith(f"{who}_")}
    seen = tuple((name, value) for name, value in sorted(own.items()) if isinstance(value, bool | int | float))
    return Answer(text=None if said is None else str(said), seen=seen)
