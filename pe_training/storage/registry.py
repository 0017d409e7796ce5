"""Facts: which records exist, what each was made from, which files belong to it.

Every write of one record is one transaction: the record, its links and its attachments appear together or not at all.
Records are write-once. Putting the same record again is free; putting a different answer to a question that has one
(same kind and key) is a conflict, which is what makes a verdict impossible to re-roll.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pe_training.core.clock import now, stamp
from pe_training.core.config import suggest
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import KINDS, kind_of, short
from pe_training.core.records import Attachment, Record
from pe_training.storage import tables as t
from pe_training.storage.database import database_errors, open_database
from pe_training.storage.ledger import chain_in, chaining
from pe_training.storage.taints import inherit_in

RecordT = TypeVar("RecordT", bound=Record)
PAGE_ROWS = 50
# By dialect: inserts that can leave a row alone which is there already.
INSERTS: dict[str, Callable[[sa.Table], sqlite.Insert | postgresql.Insert]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One record as the registry lists it, without reading its body."""

    seq: int
    id: str
    kind: str
    label: str
    created_at: str


class Registry:
    """The SQL side of storage. Rooms that own further tables query them through :meth:`reading` and :meth:`writing`."""

    def __init__(self, url: str, *, lock: Path) -> None:
        self.url = url
        self._engine = open_database(url, lock=lock)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that only reads."""
        with database_errors(self.url), self._engine.connect() as plain:
            connection = plain.execution_options(read_only=True)
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that holds the write lock from its start; commits at the end, chained (see ledger.py), or leaves nothing."""
        with database_errors(self.url), self._engine.connect() as plain:
            connection = chaining(plain)
            with connection.begin():
                yield connection
                chain_in(connection)

    def put(self, record: Record) -> None:
        """Store a record with its links and files. Idempotent; raises conflict if another answer to its key exists."""
        with self.writing() as connection:
            self.put_in(connection, record)

    def put_in(self, connection: sa.Connection, record: Record) -> None:
        """As :meth:`put`, inside a transaction that also writes other facts."""
        assert type(record).from_json(record.to_json()) == record, f"{record.id} would not come back as it is"
        if self._is_stored(connection, record):
            return
        values = {"id": record.id, "kind": record.kind, "key": record.key(), "label": record.label(), "body": record.to_json()}
        insert = INSERTS[connection.dialect.name](t.records).values(**values, created_at=stamp(now())).on_conflict_do_nothing()
        if not connection.execute(insert).rowcount:  # where two may write at once: this one has waited for the other's commit
            assert self._is_stored(connection, record)
            return
        for role, parent in record.parents().items():
            connection.execute(sa.insert(t.edges).values(child=record.id, role=role, parent=parent))
        inherit_in(connection, record.id)  # after the links: see taints.py
        for file in record.files():
            self.attach_in(connection, record.id, file)

    def attach_in(self, connection: sa.Connection, record_id: str, file: Attachment) -> None:
        """Tie a file to a record that exists or is being put. The same path twice must be the same bytes."""
        found = connection.execute(
            sa.select(t.attachments.c.digest).where(t.attachments.c.record_id == record_id, t.attachments.c.path == file.path)
        ).scalar()
        if found is None:
            connection.execute(sa.insert(t.attachments).values(record_id=record_id, **file.content()))
        elif found != file.digest:
            raise PeError(Kind.CONFLICT, f"{short(record_id)} already has another file {file.path!r}", hint="attachments are write-once")

    def get(self, identifier: str, model: type[RecordT]) -> RecordT:
        """The record of a whole id. Raises not_found."""
        record = self.find(identifier, model)
        if record is None:
            raise PeError(Kind.NOT_FOUND, f"no {KINDS[model.kind]} {short(identifier)}", hint=f"`pe ls {model.kind}` lists those there are")
        return record

    def find(self, identifier: str, model: type[RecordT]) -> RecordT | None:
        """The record of a whole id, or ``None``."""
        assert kind_of(identifier) == model.kind, (identifier, model)
        return self._load(t.records.c.id == identifier, model)

    def answer(self, key: str, model: type[RecordT]) -> RecordT | None:
        """The record that answers ``key`` (see :meth:`Record.key`), or ``None``. Raises corrupt if it answers another question."""
        record = self._load((t.records.c.kind == model.kind) & (t.records.c.key == key), model)
        if record is not None and record.key() != key:
            message = f"{short(record.id)} is filed under a question that it does not answer"
            raise PeError(Kind.CORRUPT, message, where=record.id, hint="restore the registry from a backup")
        return record

    def the_answer(self, key: str, model: type[RecordT]) -> RecordT:
        """As :meth:`answer`, after work that must have left one. Raises infrastructure if it has not."""
        record = self.answer(key, model)
        if record is None:
            message = f"the work ended well and left no {KINDS[model.kind]} for the question that was asked"
            hint = "was the code changed meanwhile? run the same command again"
            raise PeError(Kind.INFRASTRUCTURE, message, where=short(key), hint=hint)
        return record

    def body(self, identifier: str) -> str:
        """The stored JSON text of a record, unparsed, for proof and for people."""
        with self.reading() as connection:
            text = connection.execute(sa.select(t.records.c.body).where(t.records.c.id == identifier)).scalar()
        if text is None:
            raise PeError(Kind.NOT_FOUND, f"no record {short(identifier)}", hint="`pe ls` lists the kinds")
        return str(text)

    def resolve(self, text: str) -> str:
        """The whole id that ``text`` (an id or its beginning) stands for. Raises not_found, or input when ambiguous."""
        prefix = kind_of(text)
        if prefix not in KINDS or "_" not in text or not text.isascii():
            raise PeError(Kind.INPUT, f"{text!r} is not an id", hint=f"ids begin with {', '.join(kind + '_' for kind in KINDS)}")
        upper = text[:-1] + chr(ord(text[-1]) + 1)
        with self.reading() as connection:
            query = sa.select(t.records.c.id).where(t.records.c.id >= text, t.records.c.id < upper).limit(3)
            found = [str(row.id) for row in connection.execute(query)]
        if len(found) == 1:
            return found[0]
        if found:
            raise PeError(Kind.INPUT, f"{text} stands for several ids", hint=f"give more digits: {', '.join(short(i) for i in found)} ...")
        raise PeError(Kind.NOT_FOUND, f"no {KINDS[prefix]} {text}", hint=f"`pe ls {prefix}` lists those there are")

    def rows(self, kind: str, *, label: str | None = None, before: int | None = None, limit: int = PAGE_ROWS) -> list[Row]:
        """Records of a kind, newest first, one page; ``before`` is the ``seq`` of the last row of the page above."""
        if kind not in KINDS:
            raise PeError(Kind.INPUT, f"unknown kind {kind!r}", hint=suggest(kind, KINDS))
        r = t.records.c
        query = sa.select(r.seq, r.id, r.kind, r.label, r.created_at).where(r.kind == kind).order_by(r.seq.desc()).limit(limit)
        query = query.where(r.label == label) if label is not None else query
        query = query.where(r.seq < before) if before is not None else query
        with self.reading() as connection:
            return [Row(**row._mapping) for row in connection.execute(query)]

    def latest(self, model: type[RecordT], *, label: str) -> RecordT | None:
        """The newest record of a kind with this label, or ``None``."""
        rows = self.rows(model.kind, label=label, limit=1)
        return self.find(rows[0].id, model) if rows else None

    def parents(self, identifier: str) -> dict[str, str]:
        """Role -> id of what a record was made from."""
        e = t.edges.c
        with self.reading() as connection:
            return {
                str(r.role): str(r.parent)
                for r in connection.execute(sa.select(e.role, e.parent).where(e.child == identifier).order_by(e.role))
            }

    def children(self, identifier: str, *, limit: int = PAGE_ROWS) -> list[tuple[str, str]]:
        """``(role, id)`` of what was made from a record, one page."""
        e = t.edges.c
        query = sa.select(e.role, e.child).where(e.parent == identifier).order_by(e.child).limit(limit)
        with self.reading() as connection:
            return [(str(row.role), str(row.child)) for row in connection.execute(query)]

    def attachments(self, identifier: str) -> Sequence[Attachment]:
        """Files of a record, by path."""
        a = t.attachments.c
        query = sa.select(a.path, a.digest, a.size_bytes).where(a.record_id == identifier).order_by(a.path)
        with self.reading() as connection:
            return [Attachment(**row._mapping) for row in connection.execute(query)]

    def close(self) -> None:
        """Let go of the database's connections."""
        self._engine.dispose()

    def _load(self, where: sa.ColumnElement[bool], model: type[RecordT]) -> RecordT | None:
        with self.reading() as connection:
            row = connection.execute(sa.select(t.records.c.id, t.records.c.body).where(where)).first()
        if row is None:
            return None
        record = parse_record(row.body, model, where=row.id)
        if record.id != row.id:
            raise PeError(Kind.CORRUPT, f"{row.id} does not match its content", where=row.id, hint="restore the registry from a backup")
        return record

    def _is_stored(self, connection: sa.Connection, record: Record) -> bool:
        """Raises conflict where another record answers its key."""
        r = t.records.c
        if connection.execute(sa.select(r.id).where(r.id == record.id)).scalar():
            return True
        if record.key() is None:
            return False
        other = connection.execute(sa.select(r.id).where(r.kind == record.kind, r.key == record.key())).scalar()
        if other:
            message = f"{short(other)} already answers this question; {short(record.id)} differs and is not kept"
            raise PeError(Kind.CONFLICT, message, where=other, hint="answers are write-once: change the inputs to ask a new question")
        return False


def parse_record(text: str, model: type[RecordT], *, where: str) -> RecordT:
    """A stored body as its record. Raises corrupt where it does not fit."""
    try:
        return model.from_json(text)
    except ValueError as error:
        raise PeError(
            Kind.CORRUPT,
            f"{short(where)} is stored as something that is no {KINDS[model.kind]}",
            where=where,
            hint="restore the registry from a backup",
        ) from error
