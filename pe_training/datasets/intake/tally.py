"""What becomes of foreign records, counted while they pass: every one is converted, dropped or refused, with its reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.conversion import Conversion
from pe_training.datasets.intake.formats import CUT, Dropped
from pe_training.datasets.report import Problem
from pe_training.datasets.rows import Row

MAX_REASONS = 100
MAX_PLACES = 5
OTHER_REASONS = "other reasons"


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What became of one record (``about`` row), or what is wrong with a whole file (``about`` file: always a problem)."""

    where: str  # file:line, or the file
    outcome: Row | Dropped | Problem
    about: Literal["row", "file"] = "row"


class Tally:
    """Counts outcomes while they pass. Of reasons beyond the first hundred only the number is kept."""

    def __init__(self) -> None:
        self._converted = self._cut = 0
        self._dropped: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._files: Counter[str] = Counter()
        self._first: dict[str, Problem] = {}  # reason -> its first place

    def add(self, item: Converted) -> Converted:
        """Count ``item`` and hand it on."""
        if isinstance(item.outcome, Row):
            self._converted += 1
            self._cut += CUT in (item.outcome.metadata.provenance.processing_steps or ())
        elif isinstance(item.outcome, Dropped):
            _count(self._dropped, item.outcome.reason)
        else:
            reason = _reason(item.outcome)
            _count(self._refused if item.about == "row" else self._files, reason)
            if len(self._first) < MAX_PLACES:
                self._first.setdefault(reason, item.outcome)
        return item

    @property
    def whole(self) -> bool:
        """Whether nothing was refused."""
        return not self._first

    def refusal(self, *, name: str) -> PeError:
        """The error for a source of which anything was refused: counts by reason, where to look first for each, and every help once."""
        problems = list(self._first.values())
        assert problems
        helps = dict.fromkeys(part for problem in problems for part in problem.message.split("; ")[1:])
        places = ", ".join(f"{problem.where} {problem.field}".strip() for problem in problems)
        message = f"{name} is not what was declared, and nothing of it was taken: {self.conversion().summary}"
        return PeError(Kind.REFUSED, message, where=problems[0].where, hint="; ".join((f"look at {places}", *helps)))

    def conversion(self) -> Conversion:
        """What was counted so far."""
        counts = {"dropped": dict(self._dropped), "refused": dict(self._refused), "files": dict(self._files)}
        read = self._converted + self._dropped.total() + self._refused.total()
        return Conversion(read=read, converted=self._converted, cut=self._cut, **counts)


def _reason(problem: Problem) -> str:
    """Field and message without the indexes, which differ from record to record."""
    field = ".".join("*" if part.isdigit() else part for part in problem.field.split("."))
    message = problem.message.partition(";")[0]
    return f"{field}: {message}" if field else message


def _count(counter: Counter[str], reason: str) -> None:
    counter[reason if reason in counter or len(counter) < MAX_REASONS else OTHER_REASONS] += 1
