"""The chain of all facts: each row that counts has an entry, written with it, that names the hash of the entry before.

Records prove themselves by their ids; a recall, a charge, a pointer or a refusal does not, and a row that is gone proves nothing.
So every insert and update of a chained table (see tables.py) is noted as it passes, and the notes become entries as the last
thing in their transaction. Nothing else is locked after the head of the chain, so writers that wait for it cannot wait for each
other, and they wait for one insert only.

What is written past this code, by hand or by another program, has no entry. That is the point: lineage/ledger.py finds it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BindParameter
from sqlalchemy.sql.visitors import iterate

from pe_training.core.ids import canonical_json, digest_json
from pe_training.storage.tables import CHAINED, ledger, ledger_head

BEGUN = "begun"  # what the first entry is about
NOTHING: Final = "sha256:" + "0" * 64  # what the first entry follows
HEAD = 1
_UNCHAINED = "unchained"


@dataclass(frozen=True, kw_only=True)
class Head:
    """The end of the chain: the number of its last entry, and that entry's hash, which stands for all before it."""

    seq: int
    hash: str


@dataclass
class Unchained:
    """Rows that a transaction has written and not yet chained, in order. A row without values is read when it is chained."""

    rows: list[tuple[sa.Table, tuple[Any, ...], dict[str, Any] | None]] = field(default_factory=list)
    savepoints: list[int] = field(default_factory=list)  # how many rows there were, for each savepoint that is open


def chaining(connection: sa.Connection) -> sa.Connection:
    """The connection, for a transaction whose writes :func:`chain_in` shall chain."""
    return connection.execution_options(**{_UNCHAINED: Unchained()})


def listen(engine: sa.Engine) -> None:
    """Note every write to a chained table that is made through ``engine``."""
    sa.event.listen(engine, "after_execute", _note)
    sa.event.listen(engine, "savepoint", _open_savepoint)
    sa.event.listen(engine, "release_savepoint", _keep)
    sa.event.listen(engine, "rollback_savepoint", _forget)


def chain_in(connection: sa.Connection) -> None:
    """Append an entry for every row that this transaction has written. To be called last: it locks the head until the commit."""
    unchained = _unchained(connection)
    assert unchained is not None, "this transaction was begun without chaining()"
    if not unchained.rows:
        return
    h = ledger_head.c
    head = connection.execute(sa.select(h.seq, h.hash).where(h.id == HEAD).with_for_update()).one()
    entries, end = [], Head(seq=head.seq, hash=head.hash)
    for table, key, values in unchained.rows:
        row = values if values is not None else _read(connection, table, key)
        made = entry(end, what=table.name, key=key_text(key), digest=row_digest(row))
        entries.append(made)
        end = Head(seq=made["seq"], hash=made["hash"])
    connection.execute(sa.insert(ledger), entries)
    connection.execute(sa.update(ledger_head).where(h.id == HEAD).values(seq=end.seq, hash=end.hash))
    unchained.rows.clear()


def entry(after: Head, *, what: str, key: str, digest: str) -> dict[str, Any]:
    """The entry that follows ``after``."""
    said = {"seq": after.seq + 1, "previous": after.hash, "what": what, "key": key, "digest": digest}
    return said | {"hash": digest_json(said)}


def first_entry(*, rows: int, at: str) -> dict[str, Any]:
    """How a chain begins: with how many rows that were there, which the entries after it name as they were found."""
    key = canonical_json({"at": at, "rows": rows}).decode()
    return entry(Head(seq=0, hash=NOTHING), what=BEGUN, key=key, digest=digest_json(json.loads(key)))


def row_digest(row: Mapping[str, Any]) -> str:
    """Digest of a row. Columns without a value are no part of it, so that a table can gain columns and old rows keep theirs."""
    return digest_json({name: value for name, value in row.items() if value is not None})


def key_text(key: Sequence[Any]) -> str:
    """A primary key as entries name it."""
    return canonical_json(list(key)).decode()


def head_in(connection: sa.Connection) -> Head:
    """The end of the chain, as the last writer left it."""
    h = ledger_head.c
    return Head(**connection.execute(sa.select(h.seq, h.hash).where(h.id == HEAD)).one()._mapping)


def _unchained(connection: sa.Connection) -> Unchained | None:
    found = connection.get_execution_options().get(_UNCHAINED)
    return found if isinstance(found, Unchained) else None


def _note(connection: sa.Connection, statement: Any, _: Any, __: Any, ___: Any, result: sa.CursorResult[Any]) -> None:
    if not isinstance(statement, sa.Insert | sa.Update | sa.Delete):
        return
    table = statement.table
    if not isinstance(table, sa.Table) or table.name not in CHAINED:
        return
    unchained = _unchained(connection)
    assert unchained is not None, f"{table.name} is chained: write to it through Registry.writing"
    assert not isinstance(statement, sa.Delete), f"{table.name} is chained: its rows are never deleted"
    if not result.rowcount:
        return
    if isinstance(statement, sa.Insert):
        assert statement.select is None, f"{table.name} is chained: read the rows first, then insert them"
        unchained.rows += [(table, _key_of(table, row), row) for row in _inserted(table, result)]
    else:
        unchained.rows.append((table, _updated(table, statement), None))


def _inserted(table: sa.Table, result: sa.CursorResult[Any]) -> list[dict[str, Any]]:
    """The rows of an insert, whole, from what was given to it and the number that the database gave."""
    given: Sequence[Mapping[str, Any]] = result.context.compiled_parameters
    names, primary = set(table.c.keys()), {column.name for column in table.primary_key}
    assert all(set(row) <= names for row in given), f"{table.name} is chained: insert values into it, no expressions"
    if all(primary <= set(row) for row in given):
        return [dict(row) for row in given]
    assert len(given) == 1, f"{table.name} is chained and numbers its rows: insert one at a time"
    key = result.inserted_primary_key
    assert key is not None
    return [dict(given[0]) | dict(key._mapping)]


def _key_of(table: sa.Table, row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[column.name] for column in table.primary_key)


def _updated(table: sa.Table, statement: sa.Update) -> tuple[Any, ...]:
    """The key of the one row that an update changes, from its condition."""
    named: dict[str, Any] = {}
    for part in iterate(statement.whereclause) if statement.whereclause is not None else ():
        if isinstance(part, BinaryExpression) and part.operator is operators.eq and isinstance(part.right, BindParameter):
            named[getattr(part.left, "name", "")] = part.right.value
    missing = {column.name for column in table.primary_key} - named.keys()
    assert not missing, f"{table.name} is chained: an update names its row by {', '.join(sorted(missing))} too"
    return _key_of(table, named)


def _read(connection: sa.Connection, table: sa.Table, key: tuple[Any, ...]) -> dict[str, Any]:
    query = sa.select(table).where(*(column == value for column, value in zip(table.primary_key, key, strict=True)))
    return dict(connection.execute(query).one()._mapping)


def _open_savepoint(connection: sa.Connection, _: str | None) -> None:
    if unchained := _unchained(connection):
        unchained.savepoints.append(len(unchained.rows))


def _keep(connection: sa.Connection, _: str, __: None) -> None:
    if unchained := _unchained(connection):
        unchained.savepoints.pop()


def _forget(connection: sa.Connection, _: str, __: None) -> None:
    if unchained := _unchained(connection):
        del unchained.rows[unchained.savepoints.pop() :]
