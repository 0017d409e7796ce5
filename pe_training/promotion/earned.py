"""Whether a pointer was moved by this code and by merit: a row of a database is soon edited, and then nothing stands behind it.

Read from the registry alone: the log must end in the move that the row shows, and the decision it names must be a pass (or waived) for this
checkpoint and place. Bytes, signatures and the derivation of the verdict are proved where a pointer moves, and by the watch.
"""

from __future__ import annotations

from datetime import date

import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.promotion.pointers import ROLES, Pointer
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.standing import hearing
from pe_training.storage.state import State
from pe_training.storage.tables import stage_moves

_HINT = "no door of ours moved it: find out who did, withdraw it with `pe withdraw`, and let a proven model take its place"


def require_earned(pointer: Pointer, *, state: State) -> None:
    """Refuse a pointer of a served place that nobody moved, or that no pass stands behind. Raises corrupt."""
    problem = unearned(pointer, state=state)
    if problem is not None:
        raise PeError(Kind.CORRUPT, problem, where=pointer.checkpoint_id, hint=_HINT)


def unearned(pointer: Pointer, *, state: State) -> str | None:
    """What does not fit between a pointer, its log and its decision; ``None`` where all of it does."""
    place = f"{pointer.stage} of {pointer.line}"
    m = stage_moves.c
    query = sa.select(m.to_id, m.decision_id).where(m.line == pointer.line, m.stage == pointer.stage).order_by(m.seq.desc()).limit(1)
    with state.registry.reading() as connection:
        last = connection.execute(query).first()
    if last is None or (last.to_id, last.decision_id) != (pointer.checkpoint_id, pointer.decision_id):
        return f"{place} is said to be held by {short(pointer.checkpoint_id)}, and no move of the log put it there"
    decision = state.registry.find(pointer.decision_id, PromotionDecision) if pointer.decision_id else None
    if decision is None:
        return f"no decision stands behind {short(pointer.checkpoint_id)} at {place}"
    stage = "production" if pointer.stage in ROLES else pointer.stage
    if (decision.checkpoint_id, decision.stage) != (pointer.checkpoint_id, stage) or not was_opened(decision, state=state):
        about = f"a {decision.verdict} of {short(decision.checkpoint_id)} for {decision.stage}"
        return f"{short(decision.id)}, by which {short(pointer.checkpoint_id)} holds {place}, is {about}"
    return None


def was_opened(decision: PromotionDecision, *, state: State) -> bool:
    """Whether a decision let its checkpoint into its stage: a pass, or waivers for all that stood in the way, as they held on that day."""
    if decision.verdict == "pass":
        return True
    m = stage_moves.c
    by_it = (m.line == decision.line, m.stage == decision.stage, m.decision_id == decision.id, m.action == "promote")
    with state.registry.reading() as connection:
        arrived = connection.execute(sa.select(sa.func.max(m.at)).where(*by_it)).scalar()
    if arrived is None:
        return False
    asked = hearing(decision, state=state)
    with state.registry.reading() as connection:
        return asked.standing_in(connection, day=date.fromisoformat(str(arrived)[:10]), until=str(arrived)).passes
