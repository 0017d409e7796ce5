"""The promotion decision: a verdict, every reason for it, and exactly what it was about."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pe_training.core.ids import digest_json
from pe_training.core.records import LATER, Frozen, Growing, Record

EVIDENCE_PAGE = "evidence.html"  # the attachment of a decision that people read
Verdict = Literal["pass", "fail", "inconclusive"]
Finding = Literal["pass", "fail", "inconclusive", "not_applicable"]  # a rule for another task is named, never passed silently


class Outcome(Growing):
    """What one rule of the policy found, or one of the things that it asks besides."""

    rule: str
    title: str
    verdict: Finding
    severity: Literal["block", "warn"] = "block"  # only a blocking rule decides the verdict
    reason: str  # one sentence for people, numbers included
    suite: str
    metric: str
    slice: str
    of: Literal["tuned", "difference"] = "tuned"  # the tuned model's value, or tuned minus base on the same examples
    bound: Literal["at_least", "at_most"]
    threshold: float
    min_n: int
    unit: str = "proportion"
    value: float | None = None  # None: no evidence
    low: float | None = None
    high: float | None = None
    n: int | None = None
    more_examples: int | None = None  # how many more would decide, at the observed value
    against: Annotated[Literal["base", "incumbent"], LATER] = "base"  # of a difference
    test: Annotated[Literal["non_inferiority", "superiority"] | None, LATER] = None
    margin: Annotated[float | None, LATER] = None
    confidence: Annotated[float, LATER] = 0.95  # of the interval low to high


class Holder(Frozen):
    """What held the stage when a decision compared with it. ``checkpoint_id`` is ``None`` where nothing did."""

    checkpoint_id: str | None = None
    recalled: bool = False  # what comes from recalled data cannot be asked, and is nothing to be as good as


class PromotionDecision(Record, Growing):
    """Write-once: one verdict for one checkpoint, policy and set of examples, whatever is retried."""

    kind: ClassVar[str] = "pd"

    checkpoint_id: str
    report_id: str
    manifest_id: str
    line: str
    policy_name: str
    policy: str  # digest
    stage: str  # where a pass allows the model to go
    evidence: str  # digest of the suites, selections and decoding that the report used
    verdict: Verdict
    outcomes: tuple[Outcome, ...]
    holder: Annotated[Holder | None, LATER] = None  # where a rule asks about the incumbent
    compared: Annotated[str | None, LATER] = None  # the incumbent that the report asked, where a rule asks about it
    attempt: Annotated[int | None, LATER] = None  # the how-manieth try of the line for the stage, where the policy counts them
    renews: Annotated[str | None, LATER] = None  # the decision whose evidence had grown too old; no parent, nothing was made from it

    def parents(self) -> dict[str, str]:
        """Checkpoint, report and the manifest that asked."""
        return {"checkpoint": self.checkpoint_id, "report": self.report_id, "manifest": self.manifest_id}

    def key(self) -> str | None:
        """The question, without the answer."""
        return decision_key(
            checkpoint_id=self.checkpoint_id, policy=self.policy, evidence=self.evidence, compared=self.compared, renews=self.renews
        )

    def label(self) -> str:
        """The model line."""
        return self.line


def decision_key(*, checkpoint_id: str, policy: str, evidence: str, compared: str | None = None, renews: str | None = None) -> str:
    """The question that a decision answers; at most one answer is ever kept."""
    asked: dict[str, Any] = {"checkpoint": checkpoint_id, "policy": policy, "evidence": evidence}
    later = {"compared": compared, "renews": renews}
    return digest_json(asked | {name: value for name, value in later.items() if value is not None})
