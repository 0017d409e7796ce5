"""Held-out suites of language models: how well the model predicts what the therapist said in the dataset's own test split.

Cross-entropy on therapist tokens, in nats per token, with the dialogue as the unit. Classifiers: ``classification.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pe_training.evaluation.clusters import together
from pe_training.evaluation.measures import Measure, Row, Scored, whole
from pe_training.evaluation.ratios import perplexity, weighted_ratio, weighted_ratio_difference
from pe_training.evaluation.suites import SuiteConfig


@dataclass(frozen=True, kw_only=True)
class DialogueLoss:
    """Summed cross-entropy over the therapist tokens of one test dialogue, ``base_nats`` from the untuned model; ``None``: not there."""

    id: str
    tokens: int
    nats: float | None
    base_nats: float | None = None
    cluster: str | None = None  # dialogues of one conversation share it


def score_losses(dialogues: Sequence[DialogueLoss], *, config: SuiteConfig) -> Scored:
    """Loss and perplexity of a causal model. Raises divergence where a loss is not finite."""
    loss = Measure(suite=config.name, name="loss", better="lower", unit="nats", min_n=2)
    ppl = Measure(suite=config.name, name="perplexity", better="lower", unit="perplexity", min_n=2)
    rows: list[Row] = [{"id": d.id, "tokens": d.tokens, "tuned_nats": d.nats, "base_nats": d.base_nats} for d in dialogues]
    nats, base_nats = [d.nats for d in dialogues], [d.base_nats for d in dialogues]
    clusters = together([d.cluster or d.id for d in dialogues])
    if loss.lacking(nats, clusters):
        return Scored(metrics=tuple(found for measure in (loss, ppl) if (found := measure.lacking(nats, clusters))), rows=tuple(rows))
    tokens, mine, theirs = [float(d.tokens) for d in dialogues], whole(nats) or [], whole(base_nats)
    tuned = weighted_ratio(mine, tokens, clusters=clusters)
    base = weighted_ratio(theirs, tokens, clusters=clusters) if theirs else None
    difference = weighted_ratio_difference(mine, theirs, tokens, clusters=clusters) if theirs else None
    metrics = (
        loss.metric(tuned=tuned, base=base, difference=difference, note=f"{int(sum(tokens))} therapist tokens"),
        ppl.metric(tuned=perplexity(tuned), base=perplexity(base) if base else None),
    )
    return Scored(metrics=metrics, rows=tuple(rows))
