"""The one error that people see.

An operator at 3 am needs four things from a failure: what kind it is (retry? fix the input? call someone?), what happened,
where, and what to do next. A failure that cannot say those four is a bug of ours and stays a plain exception.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """Closed set of failures; each maps to one exit code (see :attr:`exit_code`)."""

    REFUSED = "refused"  # a gate, check or policy answered no
    CORRUPT = "corrupt"  # stored bytes or facts are not what their digest says
    CONFLICT = "conflict"  # somebody else changed it first, or a write-once fact exists
    BUDGET = "budget"  # the money does not allow it
    INPUT = "input"  # a file, key or argument is wrong
    NOT_FOUND = "not_found"  # the thing named does not exist
    DATA = "data"  # the dataset cannot be used for what was asked
    BUSY = "busy"  # the same work is under way elsewhere
    STOPPED = "stopped"  # ended early on purpose, state saved, can be continued
    DIVERGENCE = "divergence"  # loss became NaN, infinite or kept spiking
    OUT_OF_MEMORY = "out_of_memory"
    INFRASTRUCTURE = "infrastructure"  # disk, network, process, permission
    BUG = "bug"  # this program is wrong; only a child process, whose exception cannot travel, says it so

    @property
    def exit_code(self) -> int:
        """1: the answer is no. 2: the input is wrong. 3: the world failed."""
        if self in {Kind.REFUSED, Kind.CORRUPT, Kind.CONFLICT, Kind.BUDGET}:
            return 1
        if self in {Kind.INPUT, Kind.NOT_FOUND, Kind.DATA}:
            return 2
        return 3


class PeError(Exception):
    """A failure that says what, where and what to do. Never holds conversation text or secrets."""

    def __init__(self, kind: Kind, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        line = f"{self.where}: {self.message}" if self.where else self.message
        return f"{line} ({self.hint})" if self.hint else line

    def to_json(self) -> dict[str, str | None]:
        """The body of ``{"error": ...}`` in the CLI's JSON contract."""
        return {"kind": self.kind.value, "message": self.message, "where": self.where, "hint": self.hint}

    @classmethod
    def from_json(cls, body: dict[str, str | None]) -> PeError:
        """Rebuild an error that a child process reported."""
        return cls(Kind(body["kind"] or ""), body["message"] or "", where=body.get("where"), hint=body.get("hint"))
