"""Proof that the registry's rows are those that were written through this code, all of them, and no others.

The chain of entries is read from a head that is believed (the one of the last audit, or nothing at all) to its end; every entry
must follow the one before, and every row must be as its newest entry says. A row that was changed, a row that is gone, a row that
came in by another door, an entry that was changed, dropped, put in or moved: each breaks one of the comparisons, and is named.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from pe_training.core.ids import digest_json
from pe_training.lineage.check import Check
from pe_training.storage import tables as t
from pe_training.storage.ledger import BEGUN, HEAD, NOTHING, Head, key_text, row_digest
from pe_training.storage.state import State

PAGE_ENTRIES = 500
START = Head(seq=0, hash=NOTHING)
Entry = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Walked:
    """What was read. ``head``: the last entry that was seen; ``rows``: how many rows were compared; ``findings``: what does not hold."""

    since: int
    head: Head
    rows: int
    findings: tuple[Check, ...]

    @property
    def entries(self) -> int:
        """How many entries were read."""
        return self.head.seq - self.since

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return not self.findings


def walk(state: State, *, since: Head = START) -> Walked:
    """Read the ledger from ``since`` on, and compare the rows that it names. From the start on, also look for rows that it does not name.

    Where rows are more or fewer than the ledger names, all of it is read whatever ``since`` is. What is written meanwhile is not seen.
    """
    with state.registry.reading() as connection:
        _hold_still(connection)
        if since != START and any(_miscounted(connection)):
            since = START
        head, rows, findings = since, 0, list[Check]()
        for page in _pages(connection, since):
            for one in page:
                findings += _follows(one, head)
                head = Head(seq=one["seq"], hash=str(one["hash"]))
            compared, found = _compare(connection, page)
            rows, findings = rows + compared, findings + found
        findings += _ends(connection, head)
        if since == START:
            findings += [check for name in sorted(t.CHAINED) for check in _without_entry(connection, t.metadata.tables[name])]
    return Walked(since=since.seq, head=head, rows=rows, findings=tuple(findings))


def compare_rows(state: State, table: sa.Table, keys: Sequence[tuple[Any, ...]]) -> list[Check]:
    """One comparison for each of these rows of a chained table, with its newest entry."""
    texts = [key_text(key) for key in keys]
    with state.registry.reading() as connection:
        _hold_still(connection)
        newest = _newest(connection, table.name, texts)
        rows = _rows(connection, table, dict(zip(texts, keys, strict=True)))
    return [_row(table.name, text, rows.get(text), newest.get(text)) for text in texts]


def entry_at(state: State, seq: int) -> Head | None:
    """The entry of this number, as the end of the chain up to it."""
    query = sa.select(t.ledger.c.seq, t.ledger.c.hash).where(t.ledger.c.seq == seq)
    with state.registry.reading() as connection:
        row = connection.execute(query).first()
    return Head(**row._mapping) if row else None


def _hold_still(connection: sa.Connection) -> None:
    """Let every look of this transaction see the same moment, as SQLite does anyway."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def _pages(connection: sa.Connection, since: Head) -> Iterator[list[Entry]]:
    """Entries after ``since``, in order."""
    seq, last = t.ledger.c.seq, since.seq
    while numbers := connection.execute(sa.select(seq).where(seq > last).order_by(seq).limit(PAGE_ENTRIES)).scalars().all():
        try:
            page = connection.execute(sa.select(t.ledger).where(seq.between(numbers[0], numbers[-1])).order_by(seq)).mappings().all()
            yield [dict(row) for row in page]
        except DBAPIError:  # text that is no text: one entry at a time, and what cannot be read says so
            yield [_entry(connection, number) for number in numbers]
        last = numbers[-1]


def _entry(connection: sa.Connection, seq: int) -> Entry:
    try:
        return dict(connection.execute(sa.select(t.ledger).where(t.ledger.c.seq == seq)).mappings().one())
    except DBAPIError:
        return dict.fromkeys(t.ledger.c.keys(), "") | {"seq": seq}


def _follows(one: Entry, before: Head) -> Iterator[Check]:
    """Whether an entry is the next one after ``before``, and says what its hash is of."""
    if one["seq"] != before.seq + 1:
        gone = f"{before.seq + 1}" if one["seq"] == before.seq + 2 else f"{before.seq + 1} to {one['seq'] - 1}"
        yield _about_entry(gone, "is not in the ledger")
    elif one["previous"] != before.hash:
        yield _about_entry(str(one["seq"]), "does not follow from the entry before it")
    said = {name: one[name] for name in ("seq", "previous", "what", "key", "digest")}
    if digest_json(said) != one["hash"]:
        yield _about_entry(str(one["seq"]), "was changed: its hash is not of what it says")
    if one["what"] not in t.CHAINED and (one["what"], one["seq"]) != (BEGUN, 1):
        yield _about_entry(str(one["seq"]), f"is about {one['what']!r}, which is no chained table")


def _ends(connection: sa.Connection, head: Head) -> Iterator[Check]:
    """Whether the ledger ends where the last writer left it."""
    kept = [tuple(row) for row in connection.execute(sa.select(t.ledger_head).order_by(t.ledger_head.c.id))]
    if kept != [(HEAD, head.seq, head.hash)]:
        said = ", ".join(str(row[1]) for row in kept) or "no entry"
        problem = f"it ends with entry {head.seq}, and its head names {said}"
        problem = "its head names the last entry with another hash" if [row[1] for row in kept] == [head.seq] else problem
        yield Check(record_id="ledger", what="head", name="", place="ledger_head", problem=problem)


def _compare(connection: sa.Connection, page: list[Entry]) -> tuple[int, list[Check]]:
    """How many rows the newest entries of a page name, and those that are not as they say."""
    compared, findings = 0, list[Check]()
    for name in sorted({str(one["what"]) for one in page} & t.CHAINED):
        table = t.metadata.tables[name]
        mine = {str(one["key"]): one for one in page if one["what"] == name}  # of several about one row the newest counts
        keys = {text: key for text in mine if (key := _key(table, text)) is not None}
        newest = _newest(connection, name, list(mine))
        rows = _rows(connection, table, keys)
        for text, one in mine.items():
            if newest.get(text, one)["seq"] == one["seq"]:  # else a later page compares it
                found = _row(name, text, rows.get(text), one)
                compared, findings = compared + 1, findings + ([found] if found.problem else [])
    return compared, findings


def _newest(connection: sa.Connection, name: str, texts: Sequence[str]) -> dict[str, Entry]:
    """The newest entry about each of these rows of a table."""
    e = t.ledger.c
    last = sa.select(sa.func.max(e.seq)).where(e.what == name, e.key.in_(texts)).group_by(e.key)
    query = sa.select(e.seq, e.key, e.digest).where(e.seq.in_(last))
    return {str(row["key"]): dict(row) for row in connection.execute(query).mappings()}


def _rows(connection: sa.Connection, table: sa.Table, keys: dict[str, tuple[Any, ...]]) -> dict[str, Entry | None]:
    """Rows of a table by the text of their key; ``None`` for one that is there and cannot be read."""
    primary = tuple(table.primary_key)
    if not keys:
        return {}
    try:
        found = connection.execute(sa.select(table).where(sa.tuple_(*primary).in_(list(keys.values())))).mappings().all()
    except DBAPIError:
        if len(keys) == 1:
            return dict.fromkeys(keys)
        return {text: row for one, key in keys.items() for text, row in _rows(connection, table, {one: key}).items()}
    return {key_text([row[column.name] for column in primary]): dict(row) for row in found}


def _row(name: str, text: str, row: Entry | None, one: Entry | None) -> Check:
    problem = None
    if one is None:
        problem = "is not in the ledger: it was not written by this code" if row else "is in no ledger and no table"
    elif row is None:
        problem = f"is gone or cannot be read; entry {one['seq']} of the ledger names it"
    elif _digest(row) != one["digest"]:
        problem = f"was changed after entry {one['seq']} of the ledger"
    return Check(record_id=str(row["id"]) if name == "records" and row else text, what="row", name=name, place=name, problem=problem)


def _digest(row: Entry) -> str | None:
    """As :func:`row_digest`, or ``None`` for a row with values that no column has."""
    try:
        return row_digest(row)
    except ValueError:
        return None


def _key(table: sa.Table, text: str) -> tuple[Any, ...] | None:
    """The key that an entry names, or ``None`` where no row of the table could have it."""
    kinds = [column.type.python_type for column in table.primary_key]
    try:
        key = json.loads(text)
    except ValueError:
        return None
    fits = isinstance(key, list) and [type(part) for part in key] == kinds and all(abs(part) < 2**63 for part in key if type(part) is int)
    return tuple(key) if fits else None


def _without_entry(connection: sa.Connection, table: sa.Table) -> Iterator[Check]:
    """Rows of a table that no entry names, a page at a time."""
    primary, after = tuple(table.primary_key), None
    query, e = sa.select(*primary).order_by(*primary).limit(PAGE_ENTRIES), t.ledger.c
    while True:
        page = [tuple(row) for row in connection.execute(query if after is None else query.where(sa.tuple_(*primary) > after))]
        texts = [key_text(key) for key in page]
        named = set(connection.execute(sa.select(e.key).where(e.what == table.name, e.key.in_(texts))).scalars())
        for text in texts:
            if text not in named:
                problem = "is not in the ledger: it was not written by this code"
                yield Check(record_id=text, what="row", name=table.name, place=table.name, problem=problem)
        if len(page) < PAGE_ENTRIES:
            return
        after = sa.tuple_(*map(sa.literal, page[-1]))


def _miscounted(connection: sa.Connection) -> Iterator[str]:
    """Tables that do not have as many rows as the ledger names."""
    e = t.ledger.c
    for name in sorted(t.CHAINED):
        rows = connection.execute(sa.select(sa.func.count()).select_from(t.metadata.tables[name])).scalar_one()
        if rows != connection.execute(sa.select(sa.func.count(e.key.distinct())).where(e.what == name)).scalar_one():
            yield name


def _about_entry(name: str, problem: str) -> Check:
    return Check(record_id="ledger", what="entry", name=name, place="ledger", problem=problem)
