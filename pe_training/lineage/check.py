"""What a proof says: one comparison, and all of them together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was compared. ``problem`` is ``None`` where it holds."""

    record_id: str
    what: str  # record, content, columns, file, link, verdict, pointer, entry ...: see the modules that check
    name: str  # the file or role it is about; empty for the record itself
    place: str  # where to look: a table of the registry or the object's place in the artifact store
    problem: str | None = None

    def __str__(self) -> str:
        about = f"{self.record_id} {self.what}" + (f" {self.name}" if self.name else "")
        return f"{about}: {self.problem or 'holds'} [{self.place}]"


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was compared over how many records. A verification of everything keeps only the checks that found something."""

    records: int
    compared: int
    checks: tuple[Check, ...]
    objects: int = 0  # files read whole, each once
    unit: str = "record"  # what ``records`` counts

    @property
    def findings(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(check for check in self.checks if check.problem is not None)

    @property
    def first(self) -> Check | None:
        """The first thing that does not hold, in the order in which it was gone about: from what was asked for towards the data."""
        return self.findings[0] if self.findings else None

    @property
    def ok(self) -> bool:
        """Whether everything holds. Nothing compared is not a proof."""
        return self.compared > 0 and not self.findings
