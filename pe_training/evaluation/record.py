"""The evaluation report: every number with its n and its 95 % interval, tuned model beside base model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pe_training.core.records import LATER, Attachment, Frozen, Growing, Record

Unit = Literal["proportion", "nats", "perplexity", "score", "tokens", "words"]


class Estimate(Frozen):
    """A value with its 95 % confidence interval over ``n`` independent units."""

    value: float
    low: float
    high: float
    n: int
    method: str  # e.g. wilson, student-t, cluster-bootstrap-2000


class Comparison(Frozen):
    """Tuned minus base on the same examples."""

    value: float
    low: float
    high: float
    n: int
    method: str
    p_value: float | None = None  # exact McNemar where the outcome is yes or no


class PairedTest(Frozen):
    """A paired test behind a measure, with its p corrected for the ``family`` of tests that it was one of."""

    p_value: float
    adjusted_p: float
    family: int  # how many tests were corrected together
    method: str  # e.g. sign-flip-exact, holm


class Metric(Frozen):
    """One measure of one slice of one suite. ``tuned`` is ``None`` where there is no evidence; ``note`` says why."""

    suite: str
    name: str
    slice: str = "all"  # e.g. crisis_type=self_harm
    unit: Unit
    better: Literal["higher", "lower", "neither"]  # neither: it describes, e.g. the length of a reply
    tuned: Estimate | None = None
    base: Estimate | None = None
    difference: Comparison | None = None
    test: PairedTest | None = None
    note: str | None = None


class SuiteUse(Growing):
    """Which examples of which suite were put to the model and count."""

    digest: str  # the suite's definition and all its examples
    selection: str  # digest of the ids put to the model
    available: int
    used: int
    contaminated: Annotated[int | None, LATER] = None  # chosen, and left out: they occur in what was trained on. None: not looked for


class EvaluationReport(Record):
    """What one checkpoint showed. Unique per question: checkpoint, examples, decoding and measuring code."""

    kind: ClassVar[str] = "ev"

    checkpoint_id: str
    line: str
    request: str  # digest of what was asked, see evaluation/request.py
    suites: dict[str, SuiteUse]
    decoding: dict[str, int | str]
    baseline: str  # base_model | none
    judge: str  # what scored the replies, with its version
    metrics: tuple[Metric, ...]
    predictions: tuple[Attachment, ...]  # per-example results, one Parquet file a suite

    def parents(self) -> dict[str, str]:
        """The checkpoint."""
        return {"checkpoint": self.checkpoint_id}

    def files(self) -> Sequence[Attachment]:
        """Per-example results."""
        return self.predictions

    def key(self) -> str | None:
        """The question."""
        return self.request

    def label(self) -> str:
        """The model line."""
        return self.line

    def metric(self, suite: str, name: str, slice: str = "all") -> Metric | None:
        """The measure of that name, or ``None`` where it was not taken."""
        return next((m for m in self.metrics if (m.suite, m.name, m.slice) == (suite, name, slice)), None)
