"""What validation found: one result per check, with places and never with text. Imports nothing heavy.

The list of checks is here so that the asset graph can declare them without loading Great Expectations.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from pe_training.core.errors import Kind, PeError
from pe_training.core.records import Frozen
from pe_training.datasets.conversion import Origin
from pe_training.datasets.makeup import Makeup

CHECKS = (
    "schema", "manifest_counts", "shard_digests", "content_hash", "unique_rows", "splits_disjoint", "holdout_families",
    "distinct_content", "licences", "pii_status", "role_order", "splits_present", "quality_score", "known_families",
    "conversation_length", "one_purpose", "family_lengths", "label_balance", "mixture", "drift",
    "near_duplicates", "contamination", "personal_data", "redaction", "language",
)  # fmt: skip
MAX_EXAMPLES = 20


class Problem(Frozen):
    """One place where a check fails. ``message`` never holds conversation text."""

    check: str
    where: str  # file:line, or the file
    field: str
    message: str


class Excuse(Frozen):
    """The waiver that excuses a failure, as the policy wrote it."""

    owner: str
    reason: str
    expires: date  # the last day on which it holds


class Check(Frozen):
    """One check: what was observed against what is allowed."""

    name: str
    severity: Literal["error", "warn"] = "error"
    passed: bool  # no fault was found; see `judged`
    judged: bool = True  # False: there was nothing to look at, and the note says why
    waived: bool = False
    excuse: Excuse | None = None  # by what it is waived; a report of an older version of this code names it in the note only
    note: str | None = None  # what was not looked at and why, or by which waiver a failure is excused
    observed: float
    threshold: float
    bound: Literal["at_most", "at_least"] = "at_most"
    failing: int
    unit: str  # what `failing` counts: row, file, count, split, family
    examples: tuple[Problem, ...] = ()  # the first MAX_EXAMPLES

    @property
    def refuses(self) -> bool:
        """Whether it stands in the way of the release."""
        return not self.passed and not self.waived and self.severity == "error"

    @property
    def where(self) -> tuple[str, ...]:
        """Places of the examples, once each."""
        return tuple(dict.fromkeys(problem.where for problem in self.examples))

    @property
    def tally(self) -> str:
        """``licences (1 row)``."""
        plural = self.unit if self.failing == 1 else f"{self.unit[:-1]}ies" if self.unit.endswith("y") else f"{self.unit}s"
        return f"{self.name} ({self.failing:,} {plural})"


class ValidationReport(Frozen):
    """The answer to a release, check by check. Holds no clock: the same release always gets the same report."""

    release_digest: str
    name: str
    version: str
    rows: int  # rows that could be read
    policy: str  # digest of the release policy that judged
    suites: dict[str, str] = Field(default={})  # evaluation suite -> digest, whose prompts were looked for
    checks: tuple[Check, ...]
    accepted: bool
    makeup: Makeup | None = None  # a report from before it was kept has none
    conversion: Origin | None = None  # of a release that was made from files in another shape

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that stand in the way."""
        return tuple(check for check in self.checks if check.refuses)

    @property
    def passed(self) -> int:
        """How many checks had something to judge and found no fault."""
        return sum(check.judged and check.passed for check in self.checks)

    def lapsed(self, day: date) -> tuple[Check, ...]:
        """The failures that stood in the way but for a waiver, and whose waiver does not hold on ``day`` or is not known."""
        excused = (check for check in self.checks if check.waived and check.severity == "error")
        return tuple(check for check in excused if check.excuse is None or check.excuse.expires < day)

    @property
    def warnings(self) -> tuple[Check, ...]:
        """The checks that failed and do not stand in the way."""
        return tuple(check for check in self.checks if not check.passed and not check.refuses)

    @property
    def summary(self) -> str:
        """One line for people."""
        head = f"release {self.name} {self.version}"
        if self.accepted:
            idle = sum(not check.judged for check in self.checks)
            noted = ", ".join(f"{check.tally}{', waived' if check.waived else ''}" for check in self.warnings)
            return (
                f"{head} accepted: {self.passed} checks passed on {self.rows:,} rows"
                + (f", {idle} had nothing to judge" if idle else "")
                + (f"; with a warning: {noted}" if noted else "")
            )
        failed = ", ".join(check.tally for check in self.failed)
        return f"{head} refused: {len(self.failed)} of {len(self.checks)} checks failed: {failed}"

    def refusal(self) -> PeError:
        """The error of a refused release: the summary, and the first place to look."""
        assert not self.accepted
        first = next((problem for check in self.failed for problem in check.examples), None)
        where = f"{first.where}:{first.field}" if first and first.field else first.where if first else None
        return PeError(Kind.REFUSED, self.summary, where=where, hint=first.message if first else None)


def check_result(name: str, problems: list[Problem], *, unit: str, failing: int | None = None) -> Check:
    """A check that allows no problem at all. ``failing`` where ``problems`` are only the first of more."""
    count = len(problems) if failing is None else failing
    return Check(
        name=name,
        passed=count == 0,
        observed=float(count),
        threshold=0.0,
        failing=count,
        unit=unit,
        examples=tuple(problems[:MAX_EXAMPLES]),
    )
