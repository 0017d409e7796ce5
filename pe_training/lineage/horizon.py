"""How far a look into the past sees: up to which record, and up to which moment.

Records have a sequence number, which never lies, and a time, which a clock may have got wrong. So a moment is turned into a number
once, and what records there were goes by the number; who does not trust the clock gives the number. Recalls, moves of stages and
releases go by the moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

import sqlalchemy as sa

from pe_training.core.clock import stamp
from pe_training.core.errors import Kind, PeError
from pe_training.storage import tables as t
from pe_training.storage.state import State

ALWAYS = "9999-12-31T23:59:59Z"  # after every moment
_FORMS = "write 2026-01-31T12:00:00Z, 2026-01-31 (the end of that day, UTC) or the `seq` of a record"


@dataclass(frozen=True, kw_only=True)
class Horizon:
    """The registry as it was. ``seq``: of the newest record that was there, 0 where none was; ``at``: the moment, RFC 3339."""

    seq: int
    at: str


def horizon(state: State, text: str) -> Horizon:
    """The horizon that a person typed: a time or a record's ``seq``. Raises input, or not_found for a ``seq`` that is not there."""
    with state.registry.reading() as connection:
        if text.isascii() and text.isdigit():
            found = connection.execute(sa.select(t.records.c.seq, t.records.c.created_at).where(t.records.c.seq == int(text))).first()
            if found is None:
                raise PeError(Kind.NOT_FOUND, f"no record has the seq {text}", hint="`pe ls KIND` shows the seq of each")
            return Horizon(seq=found.seq, at=found.created_at)
        at = _moment(text)
        return Horizon(seq=connection.execute(newest_query(at)).scalar() or 0, at=at)


def newest_query(at: str) -> sa.Select[Any]:
    """The record that was the newest at a moment."""
    r = t.records.c
    return sa.select(r.seq).where(r.created_at <= at).order_by(r.created_at.desc(), r.seq.desc()).limit(1)


def _moment(text: str) -> str:
    try:
        found = datetime.fromisoformat(text.strip().upper())
        if len(text.strip()) == len("2026-01-31"):
            found = datetime.combine(found, time(23, 59, 59))
        return stamp(found if found.tzinfo else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise PeError(Kind.INPUT, f"{text!r} is no moment", where="--at", hint=_FORMS) from None
