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

FACTS = ("crisis_type", "crisis_level", "trap", "theme", "boundary", "topic", "dimension", "group")
Messages = tuple[Mapping[str, str], ...]  # role and content of each turn


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one model said to a prompt. ``seen``: what the judge found, by name. No reply is ``None`` or empty."""

    text: str | None
    seen: tuple[tuple[str, bool | int | float], ...]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One prompt of a suite with the answers to it. ``base`` is ``None`` where no baseline was asked."""

    id: str
    facts: tuple[str, ...]
    messages: Messages
    tuned: Answer
    base: Answer | None


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


def sample_of(row: Mapping[str, Any], messages: Messages) -> Sample:
    """One row of a suite's predictions (``evaluation/predictions.py``) with the prompt that it answers."""
    facts = tuple(str(row[name]) for name in FACTS if row.get(name) not in (None, "", "none"))
    base = _answer(row, "base") if any(f"base_{what}" in row for what in ("reply", "label")) else None
    return Sample(id=str(row["id"]), facts=facts, messages=messages, tuned=_answer(row, "tuned"), base=base)


def _answer(row: Mapping[str, Any], who: str) -> Answer:
    said = row.get(f"{who}_reply", row.get(f"{who}_label"))
    own = {name.removeprefix(f"{who}_"): value for name, value in row.items() if name.startswith(f"{who}_")}
    seen = tuple((name, value) for name, value in sorted(own.items()) if isinstance(value, bool | int | float))
    return Answer(text=None if said is None else str(said), seen=seen)
