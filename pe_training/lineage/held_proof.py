"""Proof of what holds a stage: from the pointer by its decision down to the rows that the model was trained on.

The checks come in that order, so that the first finding is the link at which the evidence for the stage breaks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.lineage.check import Check, Verification
from pe_training.lineage.ledger import compare_rows
from pe_training.lineage.verify import verify
from pe_training.promotion.earned import was_opened
from pe_training.promotion.pointers import Pointer, pointer_in
from pe_training.promotion.policy import Stage, known_stage
from pe_training.promotion.record import PromotionDecision
from pe_training.storage import tables as t
from pe_training.storage.state import State


def parse_held(text: str) -> tuple[str, Stage]:
    """``LINE@STAGE`` as its two parts. Raises input."""
    line, _, stage = text.rpartition("@")
    if not line:
        raise PeError(Kind.INPUT, f"{text!r} names no model line", hint="write it like empathy-sft@production")
    return line, known_stage(stage)


def verify_held(state: State, line: str, stage: Stage) -> Verification:
    """Check the pointer, and everything behind what it points to. Raises not_found where nothing holds the stage."""
    with state.registry.reading() as connection:
        pointer = pointer_in(connection, line, stage)
        moves = connection.execute(_moves(line, stage)).all()
    if pointer is None:
        raise PeError(Kind.NOT_FOUND, f"nothing holds {stage} of {line}", where=line, hint="`pe stages` lists what holds which stage")
    if not pointer.holds:
        message = f"{stage} of {line} was withdrawn: {pointer.withdrawn}"
        raise PeError(Kind.REFUSED, message, where=line, hint="`pe stages` tells its history; `pe verify ID` proves a record by itself")
    checks = list(_pointer(pointer, moves))
    checks += compare_rows(state, t.stages, [(line, stage)]) + compare_rows(state, t.stage_moves, [(row.seq,) for row in moves])
    checks += _decided(state, pointer, stage)
    records, objects = set[str](), 0
    for top in dict.fromkeys(top for top in (pointer.decision_id, pointer.checkpoint_id) if top):
        try:
            found = verify(state, top)
        except PeError as error:
            checks.append(Check(record_id=top, what="record", name="", place="records", problem=error.message))
            continue
        objects = max(objects, found.objects)  # a decision's lineage holds its checkpoint's
        for identifier in dict.fromkeys(check.record_id for check in found.checks):
            if identifier not in records:
                records.add(identifier)
                checks += [check for check in found.checks if check.record_id == identifier]
                checks += _entered(state, identifier)
    return Verification(records=len(records), compared=len(checks), checks=tuple(checks), objects=objects)


def _pointer(pointer: Pointer, moves: Any) -> Iterator[Check]:
    """The pointer against the log: the newest move put it there, and each move counted one."""
    said = [(row.to_id, row.decision_id) for row in moves[-1:]]
    problem = None
    if said != [(pointer.checkpoint_id, pointer.decision_id)]:
        by = f"the newest move brought {short(said[0][0])}" if said else "no move brought anything there"
        problem = f"it names {short(pointer.checkpoint_id)}, and {by}"
    elif pointer.version != len(moves):
        problem = f"it says that it moved {pointer.version} times, and the log has {len(moves)} moves"
    yield Check(record_id=f"{pointer.line}@{pointer.stage}", what="pointer", name="", place="stages", problem=problem)


def _decided(state: State, pointer: Pointer, stage: Stage) -> Iterator[Check]:
    """The decision that the pointer names against what it was used for."""
    if stage == "training":
        return  # needs none
    problem = None
    if pointer.decision_id is None:
        problem = "it names no decision"
    else:
        try:
            decision = state.registry.get(pointer.decision_id, PromotionDecision)
        except PeError as error:
            problem = f"its decision: {error.message}"
        else:
            passed = was_opened(decision, state=state)
            if (decision.checkpoint_id, decision.stage) != (pointer.checkpoint_id, pointer.stage) or not passed:
                about = f"{decision.verdict} of {short(decision.checkpoint_id)} for {decision.stage}"
                problem = f"its decision {short(decision.id)} is another: {about}"
    yield Check(record_id=f"{pointer.line}@{pointer.stage}", what="pointer", name="decision", place="stages", problem=problem)


def _entered(state: State, identifier: str) -> list[Check]:
    """The rows of one record against the ledger."""
    mine = (
        (t.records, t.records.c.id),
        (t.edges, t.edges.c.child),
        (t.attachments, t.attachments.c.record_id),
        (t.releases, t.releases.c.dataset_id),
    )
    checks = list[Check]()
    for table, owner in mine:
        with state.registry.reading() as connection:
            keys = [tuple(row) for row in connection.execute(sa.select(*table.primary_key).where(owner == identifier))]
        checks += compare_rows(state, table, keys)
    return checks


def _moves(line: str, stage: Stage) -> sa.Select[Any]:
    m = t.stage_moves.c
    return sa.select(m.seq, m.to_id, m.decision_id).where(m.line == line, m.stage == stage).order_by(m.seq)
