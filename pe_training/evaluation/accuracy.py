"""Held-out suites: how well the model predicts the dataset's own test split.

Causal models: cross-entropy on therapist tokens, in nats per token, with the dialogue as the unit. Classifiers: accuracy, macro-F1
and recall per class, beside the share of the commonest class, which is what always answering the same would score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pe_training.evaluation.confusion import macro_f1, macro_f1_difference
from pe_training.evaluation.measures import Measure, Row, Scored, pick
from pe_training.evaluation.ratios import perplexity, weighted_ratio, weighted_ratio_difference
from pe_training.evaluation.record import Metric
from pe_training.evaluation.suites import SuiteConfig


@dataclass(frozen=True, kw_only=True)
class DialogueLoss:
    """Summed cross-entropy over the therapist tokens of one test dialogue; ``base_nats`` from the untuned model."""

    id: str
    tokens: int
    nats: float
    base_nats: float | None = None


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """The right label of one test text and what the models said."""

    id: str
    expected: str
    tuned: str
    base: str | None = None


def score_losses(dialogues: Sequence[DialogueLoss], *, config: SuiteConfig) -> Scored:
    """Loss and perplexity of a causal model. Raises divergence where a loss is not finite."""
    loss = Measure(suite=config.name, name="loss", better="lower", unit="nats", min_n=2)
    ppl = Measure(suite=config.name, name="perplexity", better="lower", unit="perplexity", min_n=2)
    rows: list[Row] = [{"id": d.id, "tokens": d.tokens, "tuned_nats": d.nats, "base_nats": d.base_nats} for d in dialogues]
    if len(dialogues) < 2:
        return Scored(metrics=(loss.insufficient(len(dialogues)), ppl.insufficient(len(dialogues))), rows=tuple(rows))
    tokens, nats = [float(d.tokens) for d in dialogues], [d.nats for d in dialogues]
    base_nats = [d.base_nats for d in dialogues if d.base_nats is not None]
    assert len(base_nats) in (0, len(dialogues)), "a baseline answers every dialogue or none"
    tuned = weighted_ratio(nats, tokens)
    base = weighted_ratio(base_nats, tokens) if base_nats else None
    difference = weighted_ratio_difference(nats, base_nats, tokens) if base_nats else None
    metrics = (
        loss.metric(tuned=tuned, base=base, difference=difference, note=f"{int(sum(tokens))} therapist tokens"),
        ppl.metric(tuned=perplexity(tuned), base=perplexity(base) if base else None),
    )
    return Scored(metrics=metrics, rows=tuple(rows))


def score_labels(texts: Sequence[Labelled], *, config: SuiteConfig, seed: int) -> Scored:
    """Accuracy, macro-F1, majority share and recall per class (slice ``label=<class>``) of a classifier."""
    expected, tuned = [t.expected for t in texts], [t.tuned for t in texts]
    given = [t.base for t in texts if t.base is not None]
    assert len(given) in (0, len(texts)), "a baseline answers every text or none"
    base = given or None
    hits = [t.tuned == t.expected for t in texts]
    base_hits = None if base is None else [t.base == t.expected for t in texts]
    metrics: list[Metric] = [Measure(suite=config.name, name="accuracy", better="higher").rate(hits, base_hits)]
    f1 = Measure(suite=config.name, name="macro_f1", better="higher", unit="score", min_n=2)
    if len(texts) < 2:
        metrics.append(f1.insufficient(len(texts)))
    else:
        difference = None if base is None else macro_f1_difference(expected, tuned, base, seed=seed)
        found = macro_f1(expected, tuned, seed=seed)
        metrics.append(f1.metric(tuned=found, base=None if base is None else macro_f1(expected, base, seed=seed), difference=difference))
    commonest = min(Counter(expected).items(), key=lambda item: (-item[1], item[0]))[0] if texts else ""
    majority = Measure(suite=config.name, name="majority_share", better="higher")
    metrics.append(
        majority.rate([label == commonest for label in expected], None, note=f"always answering {commonest!r}" if texts else None)
    )
    for label in sorted(set(expected)):
        own = [i for i, name in enumerate(expected) if name == label]
        measure = Measure(suite=config.name, name="recall", better="higher", slice=f"label={label}", min_n=config.min_cell_n)
        metrics.append(measure.rate(pick(hits, own) or [], pick(base_hits, own)))
    rows: list[Row] = [{"id": t.id, "expected": t.expected, "tuned_label": t.tuned, "base_label": t.base} for t in texts]
    return Scored(metrics=tuple(metrics), rows=tuple(rows))
