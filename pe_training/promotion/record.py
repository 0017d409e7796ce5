"""The promotion decision: a verdict, every reason for it, and exactly what it was about."""

from __future__ import annotations

from typing import ClassVar, Literal

from pe_training.core.ids import digest_json
from pe_training.core.records import Frozen, Record

EVIDENCE_PAGE = "evidence.html"  # the attachment of a decision that people read
Verdict = Literal["pass", "fail", "inconclusive"]
Finding = Literal["pass", "fail", "inconclusive", "not_applicable"]  # a rule for another task is named, never passed silently


class Outcome(Frozen):
    """What one rule of the policy found."""

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


class PromotionDecision(Record):
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

    def parents(self) -> dict[str, str]:
        """Checkpoint, report and the manifest that asked."""
        return {"checkpoint": self.checkpoint_id, "report": self.report_id, "manifest": self.manifest_id}

    def key(self) -> str | None:
        """The question, without the answer."""
        return decision_key(checkpoint_id=self.checkpoint_id, policy=self.policy, evidence=self.evidence)

    def label(self) -> str:
        """The model line."""
        return self.line


def decision_key(*, checkpoint_id: str, policy: str, evidence: str) -> str:
    """The question that a decision answers; at most one answer is ever kept."""
    return digest_json({"checkpoint": checkpoint_id, "policy": policy, "evidence": evidence})
