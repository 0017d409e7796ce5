"""How far a judge agrees with people: precision and recall per label on replies that its rules were not tuned on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from pe_training.evaluation.examples import Example
from pe_training.evaluation.record import Metric
from pe_training.evaluation.statistics import proportion

Labelled = TypeVar("Labelled", bound=Example)
Labels = Mapping[str, bool]


def held_out_half(labelled: Sequence[Labelled]) -> tuple[Labelled, ...]:
    """The replies with even numbers, which the patterns were not tuned on."""
    return tuple(row for row in labelled if int(row.id.rpartition("-")[2]) % 2 == 0)


def agreement_metrics(pairs: Sequence[tuple[Labels, Labels]], *, labels: Sequence[str], judge: str) -> tuple[Metric, ...]:
    """Precision and recall of each label from pairs of (what the judge sees, what a person saw), Wilson intervals, n of each.

    Suite ``judge``, slice ``label=<label>``. Where a label never occurs (or the judge never saw it) there is no evidence.
    """
    metrics: list[Metric] = []
    for label in labels:
        hits = sum(mine[label] and theirs[label] for mine, theirs in pairs)
        for name, n in (("precision", sum(mine[label] for mine, _ in pairs)), ("recall", sum(theirs[label] for _, theirs in pairs))):
            metrics.append(
                Metric(
                    suite="judge",
                    name=name,
                    slice=f"label={label}",
                    unit="proportion",
                    better="higher",
                    tuned=proportion(hits, n) if n else None,
                    note=f"{judge} against {len(pairs)} replies labelled by hand" + ("" if n else "; no such reply"),
                )
            )
    return tuple(metrics)
