"""Take a model out of service where nothing may follow it: the pointer keeps its checkpoint and version, and holds its place no more.

Nothing is asked of anybody who withdraws: not serving is always allowed, and a model that is damaged or recalled could prove nothing.
Consumers are refused with the reason (``serving.py``); a promotion, a rollback or a new role fills the place again.
"""

from __future__ import annotations

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.promotion.moving import require_version
from pe_training.promotion.pointers import Move, Pointer, known_place, pointer_in, set_in
from pe_training.promotion.serving import announced
from pe_training.storage.state import State


def plan_withdrawal(line: str, *, place: str, actor: str, reason: str, expected_version: int | None = None, state: State) -> Move:
    """The move that :func:`withdraw` would make. Raises not_found, conflict where it was withdrawn before, input without a reason."""
    target = known_place(place)
    if not reason.strip():
        raise PeError(Kind.INPUT, "a withdrawal needs a reason", where="--reason", hint="say why; consumers are told it")
    with state.registry.reading() as connection:
        held = pointer_in(connection, line, target)
    if held is None:
        raise PeError(Kind.NOT_FOUND, f"nothing holds {target} of {line}", where=line, hint="`pe stages` lists what holds which stage")
    require_version(line, target, held, expected_version)
    if not held.holds:
        message = f"{short(held.checkpoint_id)} was withdrawn from {target} of {line} before: {held.withdrawn}"
        raise PeError(Kind.CONFLICT, message, where=held.checkpoint_id, hint="nothing needs doing")
    return Move(
        line=line,
        stage=target,
        action="withdraw",
        from_id=held.checkpoint_id,
        to_id=held.checkpoint_id,
        decision_id=held.decision_id,
        actor=actor,
        reason=reason,
        expected_version=held.version,
    )


def withdraw(line: str, *, place: str, actor: str, reason: str, expected_version: int | None = None, state: State) -> Pointer:
    """Let nothing be served from a stage or a role of ``line`` until something else holds it."""
    move = plan_withdrawal(line, place=place, actor=actor, reason=reason, expected_version=expected_version, state=state)
    with state.registry.writing() as connection:
        moved = set_in(connection, move)
    return announced(moved, state=state)
