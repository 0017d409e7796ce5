"""Take data back: everything that was made from it becomes tainted at once, and the way out of every stage is named.

A recall is one transaction: the fact, the taint of every record below, and the alert that is owed. Records are evidence and stay
as they are; a recall lies beside them and can be lifted, with a reason, without anything being made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from pe_training.core.clock import now, stamp
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import KINDS
from pe_training.datasets.recall import Selector, holders
from pe_training.lineage.substitutes import TaintedStage, tainted_stages_in
from pe_training.storage import tables as t
from pe_training.storage.registry import PAGE_ROWS
from pe_training.storage.state import State
from pe_training.storage.taints import Recall, downstream_query, lock_lineage_in, spread_in, tainted_in, taints_in

_PATIENCE = 5


@dataclass(frozen=True, kw_only=True)
class RecallOutcome:
    """What a recall taints, or would. ``seq`` is ``None`` where nothing was written."""

    seq: int | None
    kind: str
    value: str
    reason: str
    actor: str
    tainted: dict[str, tuple[str, ...]]  # kind of record -> ids, oldest first
    stages: tuple[TaintedStage, ...]

    @property
    def records(self) -> int:
        """How many records."""
        return sum(len(found) for found in self.tainted.values())


@dataclass(frozen=True, kw_only=True)
class LiftOutcome:
    """What a lifted recall sets free, or would, and what other recalls still taint."""

    seq: int
    reason: str
    actor: str
    restored: dict[str, tuple[str, ...]]
    still_tainted: dict[str, tuple[str, ...]]


def recall(state: State, selector: Selector, *, reason: str, actor: str) -> RecallOutcome:
    """Recall what ``selector`` names, in one transaction. Raises not_found where no accepted version holds it, corrupt, input."""
    _require_reason(reason)
    for _ in range(_PATIENCE):
        judged, found = _judgements(state), holders(selector, state=state)
        with state.registry.writing() as connection:
            lock_lineage_in(connection)
            if connection.execute(_judgements_query()).scalar_one() != judged:
                continue  # a version was accepted while the shards were read: it may hold the data too
            values = {"kind": selector.kind, "value": selector.value, "reason": reason, "actor": actor, "at": stamp(now())}
            made = connection.execute(sa.insert(t.recalls).values(**values)).inserted_primary_key
            assert made is not None
            spread_in(connection, made[0], found)
            outcome = _outcome_in(connection, selector, found, seq=made[0], reason=reason, actor=actor)
            _owe_in(connection, "recall", "critical", _told(outcome))
            return outcome
    raise PeError(Kind.CONFLICT, "dataset versions keep being accepted meanwhile", hint="run the same command again")


def impact(state: State, selector: Selector, *, reason: str, actor: str) -> RecallOutcome:
    """What :func:`recall` would answer, with nothing written."""
    found = holders(selector, state=state)
    with state.registry.reading() as connection:
        return _outcome_in(connection, selector, found, seq=None, reason=reason, actor=actor)


def lift(state: State, seq: int, *, reason: str, actor: str) -> LiftOutcome:
    """End a recall. Records that another recall taints stay tainted. Raises not_found, conflict where it was lifted, input."""
    _require_reason(reason)
    with state.registry.writing() as connection:
        outcome = _lift_outcome_in(connection, seq, reason=reason, actor=actor)
        lifted = {"lifted_at": stamp(now()), "lifted_by": actor, "lift_reason": reason}
        connection.execute(sa.update(t.recalls).where(t.recalls.c.seq == seq).values(**lifted))
        counts = {name: _counts(found) for name, found in (("restored", outcome.restored), ("still_tainted", outcome.still_tainted))}
        _owe_in(connection, "recall_lifted", "warning", {"recall": seq, **counts})
    return outcome


def lift_impact(state: State, seq: int, *, reason: str, actor: str) -> LiftOutcome:
    """What :func:`lift` would answer, with nothing written."""
    with state.registry.reading() as connection:
        return _lift_outcome_in(connection, seq, reason=reason, actor=actor)


def taints_of(state: State, identifier: str) -> tuple[Recall, ...]:
    """The recalls that hold and taint a record, first one first."""
    with state.registry.reading() as connection:
        return taints_in(connection, identifier)


def tainted_by(state: State, identifiers: Iterable[str], *, at: str | None = None) -> dict[str, tuple[int, ...]]:
    """Of these records the tainted ones, now or ``at`` a moment, with the ``seq`` of the recalls that taint them."""
    with state.registry.reading() as connection:
        return tainted_in(connection, identifiers, at=at)


def recalls(state: State, *, before: int | None = None, limit: int = PAGE_ROWS) -> tuple[Recall, ...]:
    """All recalls, lifted ones too, newest first, one page; ``before`` is the ``seq`` of the last row of the page above."""
    query = sa.select(t.recalls).order_by(t.recalls.c.seq.desc()).limit(limit)
    query = query.where(t.recalls.c.seq < before) if before is not None else query
    with state.registry.reading() as connection:
        return tuple(Recall(**row._mapping) for row in connection.execute(query))


def _outcome_in(
    connection: sa.Connection, selector: Selector, seeds: Iterable[str], *, seq: int | None, reason: str, actor: str
) -> RecallOutcome:
    found = [(str(row.kind), str(row.id)) for row in connection.execute(downstream_query(seeds))]
    return RecallOutcome(
        seq=seq,
        kind=selector.kind,
        value=selector.value,
        reason=reason,
        actor=actor,
        tainted=_by_kind(found),
        stages=tainted_stages_in(connection, {identifier for _, identifier in found}),
    )


def _lift_outcome_in(connection: sa.Connection, seq: int, *, reason: str, actor: str) -> LiftOutcome:
    row = connection.execute(sa.select(t.recalls).where(t.recalls.c.seq == seq).with_for_update()).first()
    if row is None:
        raise PeError(Kind.NOT_FOUND, f"no recall {seq}", hint="`pe recalls` lists those there are")
    if row.lifted_at is not None:
        raise PeError(Kind.CONFLICT, f"recall {seq} was lifted at {row.lifted_at} by {row.lifted_by}", hint="nothing needs doing")
    named = connection.execute(lifted_query(seq)).all()
    return LiftOutcome(
        seq=seq,
        reason=reason,
        actor=actor,
        restored=_by_kind((row.kind, row.id) for row in named if not row.others),
        still_tainted=_by_kind((row.kind, row.id) for row in named if row.others),
    )


def lifted_query(seq: int) -> sa.Select[tuple[str, str, bool]]:
    """``(kind, id, others)`` of what a recall taints, and whether another recall that holds does too."""
    other, held = t.taints.alias("other"), t.recalls.c
    others = sa.exists().where(
        other.c.record_id == t.taints.c.record_id, other.c.recall_seq != seq, held.seq == other.c.recall_seq, held.lifted_at.is_(None)
    )
    query = sa.select(t.records.c.kind, t.records.c.id, others.label("others"))
    return query.where(t.taints.c.recall_seq == seq, t.records.c.id == t.taints.c.record_id).order_by(t.records.c.seq)


def _by_kind(found: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    sorted_out: dict[str, list[str]] = {}
    for kind, identifier in found:
        sorted_out.setdefault(kind, []).append(identifier)
    return {kind: tuple(sorted_out[kind]) for kind in KINDS if kind in sorted_out}


def _counts(found: dict[str, tuple[str, ...]]) -> dict[str, int]:
    return {kind: len(ids) for kind, ids in found.items()}


def _told(outcome: RecallOutcome) -> dict[str, object]:
    """The alert: what and where, without the reason, which a person typed and which may repeat a dialogue."""
    return {
        "recall": outcome.seq,
        "kind": outcome.kind,
        "value": outcome.value,
        "tainted": _counts(outcome.tainted),
        "stages": [asdict(stage) for stage in outcome.stages],
    }


def _owe_in(connection: sa.Connection, kind: str, severity: str, body: dict[str, object]) -> None:
    values = {"kind": kind, "severity": severity, "body": json.dumps(body, sort_keys=True), "at": stamp(now())}
    connection.execute(sa.insert(t.owed_alerts).values(**values))


def _judgements(state: State) -> int:
    with state.registry.reading() as connection:
        return int(connection.execute(_judgements_query()).scalar_one())


def _judgements_query() -> sa.Select[Any]:
    """How many there are, not the highest number: on PostgreSQL a row can be committed after one with a higher number."""
    return sa.select(sa.func.count()).select_from(t.releases)


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise PeError(Kind.INPUT, "a recall needs a reason", where="--reason", hint="say why; it is kept and shown with every refusal")
