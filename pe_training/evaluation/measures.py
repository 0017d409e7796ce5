"""From outcomes to metrics: the shapes that all suites share.

An empty reply is the model's own: it fails its measure, whichever way is better, and is counted in the note, since a model that
says nothing must not look harmless. A missing reply (``None``) is evidence that was lost: every measure that it belongs to is not
measured, because the rest might have been kept for how it looks. No examples, or too few for a slice, is ``tuned = None`` as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from pe_training.evaluation.clusters import (
    Clusters,
    clustered_mean,
    clustered_paired_means,
    clustered_paired_proportions,
    clustered_proportion,
    together,
)
from pe_training.evaluation.record import Comparison, Estimate, Metric, Unit
from pe_training.evaluation.statistics import UNIT_INTERVAL, Bounds, mean, paired_means, paired_proportions, proportion

_OF_BASE = re.compile(r"^base(?=_)|(?<=^probability_)base(?=_)")  # in the names of a predictions file's columns
Better = Literal["higher", "lower", "neither"]
Row = dict[str, str | int | float | bool | None]
Replies = Sequence[str | None]
T = TypeVar("T")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a suite showed: its metrics, and one row per question for the predictions file."""

    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]

    def with_incumbent(self, beside: Scored) -> Scored:
        """The same with what the incumbent showed, from ``beside``: this suite scored with its answers in the place of the base's.

        What it gives away of training text is left out: it learnt from other rows than those that were searched.
        """
        theirs = {
            (metric.name, metric.slice): metric for metric in beside.metrics if "leak" not in metric.name and "overlap" not in metric.name
        }
        metrics = [
            metric.model_copy(update={"incumbent": found.base, "over_incumbent": found.difference}) if found else metric
            for metric in self.metrics
            for found in [theirs.get((metric.name, metric.slice))]
        ]
        rows = [
            row
            | {_OF_BASE.sub("incumbent", name): value for name, value in other.items() if _OF_BASE.search(name) and "overlap" not in name}
            for row, other in zip(self.rows, beside.rows, strict=True)
        ]
        return Scored(metrics=tuple(metrics), rows=tuple(rows))


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Name and sense of a measure of one slice of one suite; ``min_n``: fewer examples are insufficient, or clusters where there are."""

    suite: str
    name: str
    better: Better
    slice: str = "all"
    unit: Unit = "proportion"
    min_n: int = 1

    def rate(
        self, tuned: Sequence[bool | None], base: Sequence[bool | None] | None, *, note: str | None = None, clusters: Clusters = None
    ) -> Metric:
        """Share of examples where the outcome is true: Wilson, and Newcombe with McNemar for the difference."""
        if lacking := self.lacking(tuned, clusters):
            return lacking
        mine, theirs = whole(tuned), whole(base)
        assert mine is not None
        return self.metric(
            tuned=_share(mine, clusters),
            base=None if theirs is None else _share(theirs, clusters),
            difference=None if theirs is None else _share_difference(mine, theirs, clusters),
            note=_with_base_note(note, base=base, whole=theirs),
        )

    def average(
        self,
        tuned: Sequence[float | None],
        base: Sequence[float | None] | None,
        *,
        note: str | None = None,
        bounds: Bounds = UNIT_INTERVAL,
        clusters: Clusters = None,
    ) -> Metric:
        """Mean of scores within ``bounds``: Student's t, paired for the difference."""
        if lacking := self.lacking(tuned, clusters):
            return lacking
        mine, theirs = whole(tuned), whole(base)
        assert mine is not None
        return self.metric(
            tuned=_mean(mine, clusters, bounds),
            base=None if theirs is None else _mean(theirs, clusters, bounds),
            difference=None if theirs is None else _mean_difference(mine, theirs, clusters, bounds),
            note=_with_base_note(note, base=base, whole=theirs),
        )

    def metric(self, *, note: str | None = None, **found: object) -> Metric:
        """A metric of this name from its estimates."""
        shared = {"suite": self.suite, "name": self.name, "slice": self.slice, "unit": self.unit, "better": self.better}
        return Metric.model_validate({"tuned": None, **shared, **found, "note": note})

    def insufficient(self, n: int, of: str = "") -> Metric:
        """No evidence, and how much of it there was; ``of``: what is counted, if not examples."""
        return self.metric(note=f"insufficient: {n} of {self.min_n}{of}" if n else "no examples")

    def not_measured(self, why: str) -> Metric:
        """No value, because an input is absent."""
        return self.metric(note=f"not measured: {why}")

    def lacking(self, outcomes: Sequence[object], clusters: Clusters = None) -> Metric | None:
        """The metric without a value where outcomes are missing or too few, ``None`` where there is enough evidence.

        Examples that share a cluster count once, and one cluster alone shows nothing beyond itself.
        """
        if missing := sum(outcome is None for outcome in outcomes):
            return self.not_measured(f"{missing} of {len(outcomes)} answers missing")
        if found := together(clusters):
            units = len(set(found))
            if units < self.min_n:
                return self.insufficient(units, " clusters")
            return self.not_measured(f"all {len(found)} examples are of one cluster") if units == 1 else None
        return self.insufficient(len(outcomes)) if len(outcomes) < max(self.min_n, 1) else None


def _share(outcomes: Sequence[bool], clusters: Clusters) -> Estimate:
    found = together(clusters)
    return clustered_proportion(outcomes, found) if found else proportion(sum(outcomes), len(outcomes))


def _share_difference(mine: Sequence[bool], theirs: Sequence[bool], clusters: Clusters) -> Comparison:
    found = together(clusters)
    return clustered_paired_proportions(mine, theirs, found) if found else paired_proportions(mine, theirs)


def _mean(values: Sequence[float], clusters: Clusters, bounds: Bounds) -> Estimate:
    found = together(clusters)
    return clustered_mean(values, found, bounds=bounds) if found else mean(values, bounds=bounds)


def _mean_difference(mine: Sequence[float], theirs: Sequence[float], clusters: Clusters, bounds: Bounds) -> Comparison:
    found = together(clusters)
    return clustered_paired_means(mine, theirs, found, bounds=bounds) if found else paired_means(mine, theirs, bounds=bounds)


def _with_base_note(note: str | None, *, base: object, whole: object) -> str | None:
    lost = "no comparison: answers of the base model are missing" if base is not None and whole is None else None
    return "; ".join(part for part in (note, lost) if part) or None


def whole(outcomes: Sequence[T | None] | None) -> list[T] | None:
    """The outcomes where all of them are there, else ``None``: a part of a baseline is no baseline."""
    found = None if outcomes is None else [outcome for outcome in outcomes if outcome is not None]
    return None if found is None or outcomes is None or len(found) < len(outcomes) else found


def each(answers: Sequence[T | None] | None, outcome: Callable[[T], Outcome]) -> list[Outcome | None] | None:
    """``outcome`` of every answer; that of a missing answer is missing."""
    return None if answers is None else [None if answer is None else outcome(answer) for answer in answers]


def check_aligned(*, asked: int, tuned: Sequence[object], base: Sequence[object] | None) -> None:
    """Every question has an answer (or ``None``) from each model. Anything else is a bug of the caller."""
    assert len(tuned) == asked, (len(tuned), asked)
    assert base is None or len(base) == asked, (asked,)


def empties(count: int) -> str | None:
    """The note about replies that were empty."""
    return f"{count} empty {'reply counts' if count == 1 else 'replies count'} as failures" if count else None


def pick(values: Sequence[T] | None, indices: Sequence[int]) -> list[T] | None:
    """The outcomes of one slice."""
    return None if values is None else [values[index] for index in indices]
