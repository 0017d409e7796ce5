"""The evaluation report: every number with its n and its 95 % interval, tuned model beside base model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pe_training.core.ids import short
from pe_training.core.records import LATER, Attachment, Frozen, Growing, Record
from pe_training.manifests.llm_judge import LlmJudge

_ROLE = 32  # see storage/tables.py: PostgreSQL refuses more
Unit = Literal["proportion", "nats", "perplexity", "score", "tokens", "words", "ratio"]


class Estimate(Growing):
    """A value with its 95 % confidence interval over ``n`` independent units: examples, or clusters of them."""

    value: float
    low: float
    high: float
    n: int
    method: str  # e.g. wilson, student-t, cluster-bootstrap-2000
    examples: Annotated[int | None, LATER] = None  # in the n clusters. None: every one of n stands for itself


class Comparison(Growing):
    """Tuned minus another model (the base, or the incumbent) on the same examples."""

    value: float
    low: float
    high: float
    n: int
    method: str
    p_value: float | None = None  # exact McNemar where the outcome is yes or no, paired permutation where clusters of them are
    examples: Annotated[int | None, LATER] = None  # in the n clusters, as for an estimate


class PairedTest(Frozen):
    """A paired test behind a measure, with its p corrected for the ``family`` of tests that it was one of."""

    p_value: float
    adjusted_p: float
    family: int  # how many tests were corrected together
    method: str  # e.g. sign-flip-exact, holm


class Metric(Growing):
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
    judge: Annotated[str | None, LATER] = None  # who saw in the replies what is counted here
    incumbent: Annotated[Estimate | None, LATER] = None  # of the checkpoint that the report names as incumbent
    over_incumbent: Annotated[Comparison | None, LATER] = None  # tuned minus incumbent


class Agreement(Growing):
    """How a judge's verdicts on one label compare with a person's. ``lapse``: why they may not be relied on, ``None`` where they may.

    A label is seen or not (grades 0 and 1), or has more grades. Precision and recall are of seeing it at all.
    """

    label: str
    grades: Annotated[int, LATER] = 1  # the highest one
    n: int
    positives: int  # replies in which the person saw it
    kappa: Estimate | None = None  # with more grades quadratically weighted. None: a person saw it everywhere or nowhere
    precision: Estimate | None = None
    recall: Estimate | None = None
    rank_correlation: Annotated[Estimate | None, LATER] = None  # Spearman's, with more grades than two
    macro_f1: Annotated[Estimate | None, LATER] = None  # over the grades that occur, with more than two
    min_kappa: float
    min_recall: float | None = None
    elsewhere: Annotated[str | None, LATER] = None  # agreement with people on other replies
    lapse: str | None = None


class JudgeCalibration(Record, Growing):
    """What a judge's word is worth: its agreement with people, bound to the judge, to what the labels mean and to the labelled replies."""

    kind: ClassVar[str] = "jc"

    judge: str
    judge_digest: str
    checkpoint_id: Annotated[str | None, LATER] = None  # of a judge that was trained here
    label_set: str
    rubric_digest: str
    labels_digest: str
    replies: int
    consistency: Estimate  # share of replies that it judges alike when only blanks, line ends and apostrophes differ
    agreements: tuple[Agreement, ...]

    @property
    def lapses(self) -> dict[str, str]:
        """The labels that it may not be relied on for, each with the reason."""
        return {agreement.label: agreement.lapse for agreement in self.agreements if agreement.lapse}

    def parents(self) -> dict[str, str]:
        """The judge's own checkpoint, so that a recall of what it learnt from reaches what it said."""
        return {"checkpoint": self.checkpoint_id} if self.checkpoint_id else {}

    def label(self) -> str:
        """The judge."""
        return self.judge


class SuiteUse(Growing):
    """Which examples of which suite were put to the model and count."""

    digest: str  # the suite's definition and all its examples
    selection: str  # digest of the ids put to the model
    available: int
    used: int
    contaminated: Annotated[int | None, LATER] = None  # chosen, and left out: they occur in what was trained on. None: not looked for


class EvaluationReport(Record, Growing):
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
    calibrations: Annotated[dict[str, str] | None, LATER] = None  # judge -> what its word was worth
    judges: Annotated[tuple[str, ...], LATER] = ()  # checkpoints of the trained judges that spoke
    llm_judge: Annotated[LlmJudge | None, LATER] = None  # the model at an endpoint that was asked; who answered is in its calibration
    incumbent: Annotated[str | None, LATER] = None  # the checkpoint that answered beside tuned and base model; no parent of what was shown

    def parents(self) -> dict[str, str]:
        """The checkpoint, and the calibration of every judge."""
        worth = {_role(judge, found): found for judge, found in (self.calibrations or {}).items()}
        return {"checkpoint": self.checkpoint_id, **worth}

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


def _role(judge: str, calibration: str) -> str:
    """What a calibration is to a report, in no more characters than a link has room for."""
    role = f"calibration of {judge}"
    return role if len(role) <= _ROLE else f"calibration {short(calibration)}"
