"""What may take the place of a model that has to leave its stage: the newest one of the stage's own history that nothing taints."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Set
from dataclasses import dataclass

import sqlalchemy as sa

from pe_training.promotion.pointers import PLACES, ROLES, Place, Pointer, known_place, last_arrival_in, pointer_in
from pe_training.promotion.policy import Stage, known_stage, stage_below
from pe_training.promotion.record import PromotionDecision
from pe_training.storage import tables as t
from pe_training.storage.registry import parse_record
from pe_training.storage.state import State
from pe_training.storage.taints import taints_in


@dataclass(frozen=True, kw_only=True)
class TaintedStage:
    """A stage that a tainted checkpoint holds. ``replacement`` and ``command`` are ``None`` where no untainted model may follow."""

    line: str
    stage: str
    checkpoint_id: str
    replacement: str | None
    command: str | None


def tainted_stages(state: State, *, line: str | None = None) -> tuple[TaintedStage, ...]:
    """The stages, of one line or of all, that a tainted model holds now."""
    with state.registry.reading() as connection:
        held = connection.execute(sa.select(t.stages.c.line, t.stages.c.checkpoint_id)).all()
        tainted = {row.checkpoint_id for row in held if line in (None, row.line) and taints_in(connection, row.checkpoint_id)}
        return tuple(found for found in tainted_stages_in(connection, tainted) if line in (None, found.line))


def tainted_stages_in(connection: sa.Connection, tainted: Set[str]) -> tuple[TaintedStage, ...]:
    """The stages and roles that these records hold, by line, lowest stage first: the order in which to give them back."""
    found: list[TaintedStage] = []
    pointers = [Pointer(**row._mapping) for row in connection.execute(sa.select(t.stages))]
    held = [pointer for pointer in pointers if pointer.holds and pointer.checkpoint_id in tainted]
    for pointer in sorted(held, key=lambda held: (held.line, PLACES.index(known_place(held.stage)))):
        found.append(_tainted_stage(connection, pointer, tainted, earlier=found))
    return tuple(found)


def _tainted_stage(connection: sa.Connection, pointer: Pointer, tainted: Set[str], *, earlier: Iterable[TaintedStage]) -> TaintedStage:
    if pointer.stage in ROLES:
        return _tainted_role(connection, pointer, tainted)
    stage, line = known_stage(pointer.stage), pointer.line
    before = _newest_before(connection, pointer, stage, tainted)
    below = None if before else _from_below(connection, line, stage, tainted, earlier)
    command = None
    if before:
        command = f"pe rollback {stage} --line {shlex.quote(line)} --to {before}"
    elif below:
        command = f"pe promote {below} --to {stage}"
    return TaintedStage(line=line, stage=stage, checkpoint_id=pointer.checkpoint_id, replacement=before or below, command=command)


def _tainted_role(connection: sa.Connection, pointer: Pointer, tainted: Set[str]) -> TaintedStage:
    """A role goes to the newest untainted model that came into production."""
    after, line = _newest_before(connection, pointer, "production", tainted), pointer.line
    command = f"pe role set {shlex.quote(line)} {pointer.stage} {after} --reason WHY" if after else None
    return TaintedStage(line=line, stage=pointer.stage, checkpoint_id=pointer.checkpoint_id, replacement=after, command=command)


def _newest_before(connection: sa.Connection, pointer: Pointer, stage: Place, tainted: Set[str]) -> str | None:
    """The untainted checkpoint that came into this stage last, by its own merit: what a rollback accepts."""
    m = t.stage_moves.c
    query = sa.select(m.to_id).where(m.line == pointer.line, m.stage == stage).order_by(m.seq.desc())
    refused = {pointer.checkpoint_id}
    for identifier in connection.execute(query).scalars():
        if identifier in refused:
            continue
        clean = _is_clean(connection, identifier, tainted)
        if clean and last_arrival_in(connection, pointer.line, stage, identifier) is not None:
            return str(identifier)
        refused.add(identifier)
    return None


def _from_below(connection: sa.Connection, line: str, stage: Stage, tainted: Set[str], earlier: Iterable[TaintedStage]) -> str | None:
    """What holds the stage below once that is clean, if it has passed for this stage."""
    below = stage_below(stage)
    if below is None:
        return None
    after = {found.stage: found.replacement for found in earlier if found.line == line}
    held = pointer_in(connection, line, below)
    candidate = after.get(below, held.checkpoint_id if held and held.holds else None)
    if candidate and _is_clean(connection, candidate, tainted) and _has_passed(connection, candidate, stage):
        return candidate
    return None


def _is_clean(connection: sa.Connection, identifier: str, tainted: Set[str]) -> bool:
    return identifier not in tainted and not taints_in(connection, identifier)


def _has_passed(connection: sa.Connection, checkpoint_id: str, stage: Stage) -> bool:
    e, r = t.edges.c, t.records.c
    query = sa.select(r.id, r.body).where(
        e.parent == checkpoint_id, e.role == "checkpoint", r.id == e.child, r.kind == PromotionDecision.kind
    )
    decisions = [parse_record(row.body, PromotionDecision, where=row.id) for row in connection.execute(query)]
    return any(decision.stage == stage and decision.verdict == "pass" for decision in decisions)
