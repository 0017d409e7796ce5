"""Time, in one place: UTC always, passed in where a test must hold it still."""

from __future__ import annotations

from datetime import UTC, datetime

from pe_training.core.errors import Kind, PeError


def now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """RFC 3339 text with seconds, ``2026-01-31T12:00:00Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str, *, where: str) -> datetime:
    """The time that a person wrote, in UTC where they named no zone; a day is its first second. Raises input with ``where``."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise PeError(Kind.INPUT, f"{text!r} is no time", where=where, hint="write 2026-11-29 or 2026-11-29T12:00:00Z") from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
