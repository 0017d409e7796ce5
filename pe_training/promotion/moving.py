"""What every move of a pointer has in common: evidence that is whole, a version that is expected, a transaction that a recall can stop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from pe_training.core.errors import PeError
from pe_training.core.ids import short
from pe_training.core.records import Record
from pe_training.datasets.gate import remembering, require_untainted_in
from pe_training.evaluation.record import EvaluationReport
from pe_training.promotion.pointers import Action, Move, Place, Pointer, lost_race
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.verdict import require_follows
from pe_training.storage.signatures import require_signed
from pe_training.storage.state import State
from pe_training.training.record import Checkpoint


@contextmanager
def moving(state: State, route: str, checkpoint_id: str) -> Iterator[sa.Connection]:
    """A transaction that moves pointers to a checkpoint, and fails at its end if that was recalled meanwhile (see taints.py)."""
    with remembering(state, route=route, subject=checkpoint_id), state.registry.writing() as connection:
        yield connection
        require_untainted_in(connection, checkpoint_id)


def proved_decision(decision_id: str, state: State) -> PromotionDecision:
    """The decision from the registry, all bytes behind it read, and derived a second time."""
    decision = state.registry.get(decision_id, PromotionDecision)
    require_intact(
        state,
        [state.registry.get(decision.checkpoint_id, Checkpoint), state.registry.get(decision.report_id, EvaluationReport)],
    )
    require_follows(decision, state=state)
    return decision


def require_version(line: str, stage: Place, held: Pointer | None, expected_version: int | None) -> None:
    """Raises conflict, naming the winner, where a pointer is not at the version that somebody planned on."""
    if expected_version is not None and expected_version != (held.version if held else 0):
        raise lost_race(line, stage, held, expected_version=expected_version)


def require_intact(state: State, records: Iterable[Record]) -> None:
    """Read every file of these records, and ask for the signature of a model. Raises corrupt, naming record and file, or refused."""
    for record in records:
        if isinstance(record, Checkpoint):
            require_signed(record.id, record.files(), state=state)
        for file in record.files():
            try:
                state.artifacts.verify(file.digest)
            except PeError as error:
                raise PeError(
                    error.kind, f"{file.path} of {short(record.id)}: {error.message}", where=error.where, hint=error.hint
                ) from None


def move_of(
    held: Pointer | None, checkpoint: Checkpoint, stage: Place, action: Action, *, actor: str, reason: str, decision_id: str | None = None
) -> Move:
    """A move of ``stage`` to ``checkpoint``, planned on what holds it now."""
    return Move(
        line=checkpoint.line,
        stage=stage,
        action=action,
        from_id=held.checkpoint_id if held else None,
        to_id=checkpoint.id,
        decision_id=decision_id,
        actor=actor,
        reason=reason,
        expected_version=held.version if held else 0,
    )
