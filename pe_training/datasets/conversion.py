"""Where a release comes from that was made from files in another shape, and what became of their records: a part of its manifest."""

from __future__ import annotations

from pydantic import Field

from pe_training.core.records import Frozen
from pe_training.datasets.rows import Count, Name

MAX_SHOWN = 5  # reasons, in a line for people


class OriginalFile(Frozen):
    """A file, or a folder that ``save_to_disk`` wrote, below the folder of the source."""

    path: Name
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Conversion(Frozen):
    """How many records were read and what became of them: ``read`` is ``converted`` and all ``dropped`` and ``refused`` together."""

    read: Count
    converted: Count
    cut: Count = 0  # of the converted: those without the client turns after their last answer
    dropped: dict[str, Count]  # reason -> records
    refused: dict[str, Count] = Field(default={})  # field and reason -> records
    files: dict[str, Count] = Field(default={})  # reason -> files that are not what was declared, or that cannot be read to their end

    @property
    def summary(self) -> str:
        """One line for people."""
        parts = [
            f"{self.read:,} records read",
            f"{self.converted:,} converted{f' ({self.cut:,} cut after the last answer)' if self.cut else ''}",
        ]
        parts += [f"{sum(self.dropped.values()):,} dropped{_reasons(self.dropped)}"]
        parts += [f"{sum(self.refused.values()):,} refused{_reasons(self.refused)}"] if self.refused else []
        parts += [f"{sum(self.files.values()):,} wrong files{_reasons(self.files)}"] if self.files else []
        return ", ".join(parts)


class Origin(Frozen):
    """The files that a release was made from, as they were declared, and the count of their records."""

    format: Name
    declaration: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")  # digest of what was declared
    files: tuple[OriginalFile, ...]
    counts: Conversion


def _reasons(counts: dict[str, int]) -> str:
    """The commonest ones."""
    if not counts:
        return ""
    commonest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{reason}: {number:,}" for reason, number in commonest[:MAX_SHOWN]]
    others = commonest[MAX_SHOWN:]
    shown += [f"{len(others)} more reasons: {sum(number for _, number in others):,}"] if others else []
    return f" ({', '.join(shown)})"
