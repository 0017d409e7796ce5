"""What people say about decisions: rows that are added and never changed, each the exact text that its speaker sealed.

A statement names everything that it is about by digest: this registry, the decision, checkpoint, report and policy. It holds a day and
no time, so that the same words on the same day are the same statement: what somebody was shown is what they then seal, at whichever door.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, Self

import sqlalchemy as sa
from pydantic import Field, ValidationError, model_validator

from pe_training.core.clock import now, stamp
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import canonical_json, digest_bytes, short
from pe_training.core.records import Frozen
from pe_training.storage.registry import PAGE_ROWS
from pe_training.storage.state import State
from pe_training.storage.tables import records, registry_identity, statements

MAX_SEAL_BYTES = 20_000
Act = Literal["approve", "waive", "revoke"]


class Subject(Frozen):
    """What a statement is about, to the bit."""

    registry: str
    decision: str
    decision_digest: str
    checkpoint: str
    checkpoint_digest: str
    report: str
    report_digest: str
    policy: str  # digest


class Statement(Frozen):
    """Somebody's word: an approval, a waiver of one rule, or that an earlier statement no longer holds."""

    act: Act
    about: Subject
    person: str
    role: str
    reason: str
    on: str  # the day it was given, UTC
    rule: str | None = None  # of a waiver
    owner: str | None = None  # of a waiver: who answers for mending it
    expires: str | None = None  # of a waiver: the last day on which it holds
    revokes: str | None = None  # digest of the statement that no longer holds

    @model_validator(mode="after")
    def _whole(self) -> Self:
        named = {name for name in ("rule", "owner", "expires", "revokes") if getattr(self, name) is not None}
        if named != {"approve": set(), "waive": {"rule", "owner", "expires"}, "revoke": {"revokes"}}[self.act]:
            raise ValueError(f"this is no whole statement of the kind {self.act}")
        for day in (self.on, self.expires or self.on):
            if not (len(day) == 10 and 2000 <= date.fromisoformat(day).year < 3000):
                raise ValueError(f"{day!r} is no day of this time")
        return self

    @property
    def day(self) -> date:
        """The day it was given."""
        return date.fromisoformat(self.on)


class KeySeal(Frozen):
    """A signature with the speaker's own key."""

    kind: Literal["key"] = "key"
    key: str = Field(pattern=r"^[0-9a-f]{64}$")  # fingerprint
    signature: str = Field(min_length=1, max_length=1000)  # base64


class TokenSeal(Frozen):
    """A token of the identity provider whose nonce is the digest of the statement."""

    kind: Literal["token"] = "token"
    token: str = Field(min_length=1, max_length=MAX_SEAL_BYTES)


Seal = KeySeal | TokenSeal


@dataclass(frozen=True, kw_only=True)
class Said:
    """A statement as the registry holds it."""

    seq: int
    digest: str
    statement: Statement
    seal: Seal
    at: str


def text_of(statement: Statement) -> bytes:
    """What is sealed: canonical JSON."""
    return canonical_json(statement.content())


def registry_name(connection: sa.Connection) -> str:
    """The name that this registry drew when it was made. Raises corrupt where it has lost it."""
    found = connection.execute(sa.select(registry_identity.c.id)).scalars().all()
    if len(found) != 1:
        message = f"the registry has {len(found)} names, so nobody can say what was said here"
        raise PeError(Kind.CORRUPT, message, where="registry_identity", hint="restore the registry from a backup")
    return str(found[0])


def lock_decision_in(connection: sa.Connection, decision_id: str) -> None:
    """Let nobody else speak about a decision, or move a stage by it, until this transaction ends. SQLite has one writer anyway."""
    connection.execute(sa.select(records.c.id).where(records.c.id == decision_id).with_for_update())


def add_statement_in(connection: sa.Connection, statement: Statement, seal: Seal) -> int:
    """Keep a statement whose seal was checked; the one way into the table. Returns its number. Raises conflict if it was said before."""
    body = text_of(statement)
    digest, decision_id = digest_bytes(body), statement.about.decision
    known = connection.execute(sa.select(statements.c.seq).where(statements.c.digest == digest)).scalar()
    if known is not None:
        message = f"{statement.person} has said exactly this today already: statement {known}"
        raise PeError(Kind.CONFLICT, message, where=decision_id, hint=f"`pe approvals {short(decision_id)}` lists what was said")
    values = {"digest": digest, "decision_id": decision_id, "body": body.decode(), "seal": json.dumps(seal.content()), "at": stamp(now())}
    made = connection.execute(sa.insert(statements).values(**values))
    assert made.inserted_primary_key is not None
    return int(made.inserted_primary_key[0])


def said_in(connection: sa.Connection, decision_id: str) -> tuple[Said, ...]:
    """All that was said about a decision, in order. Raises corrupt for a row that is not what was said."""
    query = sa.select(statements).where(statements.c.decision_id == decision_id).order_by(statements.c.seq)
    return tuple(_read(row) for row in connection.execute(query))


def statement_of(state: State, seq: int) -> Said:
    """One statement by its number. Raises not_found."""
    with state.registry.reading() as connection:
        row = connection.execute(sa.select(statements).where(statements.c.seq == seq)).first()
    if row is None:
        raise PeError(Kind.NOT_FOUND, f"no statement {seq}", hint="`pe approvals DECISION` lists what was said, with numbers")
    return _read(row)


def spoken_since(state: State, seq: int, *, limit: int = PAGE_ROWS) -> Sequence[tuple[int, str]]:
    """``(seq, decision id)`` of statements after ``seq``, in order, one page."""
    s = statements.c
    with state.registry.reading() as connection:
        rows = connection.execute(sa.select(s.seq, s.decision_id).where(s.seq > seq).order_by(s.seq).limit(limit))
        return [(int(row.seq), str(row.decision_id)) for row in rows]


def _read(row: sa.Row[tuple[object, ...]]) -> Said:
    problem = "its text is not what its digest says"
    if digest_bytes(str(row.body).encode()) == row.digest:
        try:
            statement = Statement.model_validate(json.loads(row.body))
            data = json.loads(row.seal)
            seal = (TokenSeal if data.get("kind") == "token" else KeySeal).model_validate(data)
        except (ValidationError, ValueError, AttributeError):
            problem = "it cannot be read"
        else:
            if text_of(statement).decode() != row.body:
                problem = "its text is not written as it was sealed"
            elif statement.about.decision == row.decision_id:
                return Said(seq=row.seq, digest=row.digest, statement=statement, seal=seal, at=row.at)
            else:
                problem = "it is filed under a decision that it is not about"
    message = f"statement {row.seq} was changed: {problem}"
    raise PeError(Kind.CORRUPT, message, where="statements", hint="restore the registry from a backup, and find out who wrote to it")
