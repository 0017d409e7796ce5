"""From outcomes to metrics: the shapes that all suites share.

An outcome exists for every example that was asked. A missing or empty reply fails its measure, whichever way is better, and is
counted in the note: a model that says nothing must not look harmless. No examples, or too few for a slice, is ``tuned = None``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pe_training.evaluation.record import Metric, Unit
from pe_training.evaluation.statistics import mean, paired_means, paired_proportions, proportion

Better = Literal["higher", "lower"]
Row = dict[str, str | int | float | bool | None]
Replies = Sequence[str | None]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a suite showed: its metrics, and one row per question for the predictions file."""

    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Name and sense of a measure of one slice of one suite; ``min_n``: fewer examples are insufficient."""

    suite: str
    name: str
    better: Better
    slice: str = "all"
    unit: Unit = "proportion"
    min_n: int = 1

    def rate(self, tuned: Sequence[bool], base: Sequence[bool] | None, *, note: str | None = None) -> Metric:
        """Share of examples where the outcome is true: Wilson, and Newcombe with McNemar for the difference."""
        if lacking := self._lacking(len(tuned)):
            return lacking
        return self.metric(
            tuned=proportion(sum(tuned), len(tuned)),
            base=None if base is None else proportion(sum(base), len(base)),
            difference=None if base is None else paired_proportions(tuned, base),
            note=note,
        )

    def average(self, tuned: Sequence[float], base: Sequence[float] | None, *, note: str | None = None) -> Metric:
        """Mean of scores in 0..1: Student's t, paired for the difference."""
        if lacking := self._lacking(len(tuned)):
            return lacking
        return self.metric(
            tuned=mean(tuned),
            base=None if base is None else mean(base),
            difference=None if base is None else paired_means(tuned, base),
            note=note,
        )

    def metric(self, *, note: str | None = None, **found: object) -> Metric:
        """A metric of this name from its estimates."""
        shared = {"suite": self.suite, "name": self.name, "slice": self.slice, "unit": self.unit, "better": self.better}
        return Metric.model_validate({"tuned": None, **shared, **found, "note": note})

    def insufficient(self, n: int) -> Metric:
        """No evidence, and how much of it there was."""
        return self.metric(note=f"insufficient: {n} of {self.min_n}" if n else "no examples")

    def _lacking(self, n: int) -> Metric | None:
        return self.insufficient(n) if n < max(self.min_n, 1) else None


def check_aligned(*, asked: int, tuned: Sequence[object], base: Sequence[object] | None) -> None:
    """Every question has an answer (or ``None``) from each model. Anything else is a bug of the caller."""
    assert len(tuned) == asked, (len(tuned), asked)
    assert base is None or len(base) == asked, (asked,)


def empties(count: int) -> str | None:
    """The note about replies that were empty."""
    return f"{count} empty {'reply counts' if count == 1 else 'replies count'} as failures" if count else None


def pick(values: Sequence[bool] | None, indices: Sequence[int]) -> list[bool] | None:
    """The outcomes of one slice."""
    return None if values is None else [values[index] for index in indices]
