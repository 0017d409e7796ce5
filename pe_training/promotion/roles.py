"""Roles of a line: which of its proven models answers first, which takes over, which speaks with people in crisis.

A role is a pointer like a stage, with the same swap and the same log, and opens no door of its own: it may point only to a checkpoint
that came into production by its own merit, and that nothing speaks against today.
"""

from __future__ import annotations

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import kind_of, short
from pe_training.datasets.gate import GateError, remembering
from pe_training.promotion.canary import require_canary
from pe_training.promotion.moving import move_of, moving, require_version
from pe_training.promotion.pointers import Move, Pointer, known_role, last_arrival_in, pointer_in, set_in
from pe_training.promotion.serving import announced
from pe_training.promotion.targets import require_fit
from pe_training.storage.state import State
from pe_training.training.record import Checkpoint


def plan_role(
    line: str, *, role: str, checkpoint_id: str, actor: str, reason: str, expected_version: int | None = None, state: State
) -> Move:
    """The move that :func:`set_role` would make; the checkpoint has been proved. Raises input, refused, conflict, corrupt, not_found."""
    target = known_role(role)
    if kind_of(checkpoint_id) != Checkpoint.kind:
        raise PeError(Kind.INPUT, f"{short(checkpoint_id)} is not a checkpoint", where=checkpoint_id, hint="`pe ls ck` lists checkpoints")
    with state.registry.reading() as connection:
        held = pointer_in(connection, line, target)
        arrival = last_arrival_in(connection, line, "production", checkpoint_id)
    require_version(line, target, held, expected_version)
    if held and held.holds and held.checkpoint_id == checkpoint_id:
        message = f"{short(checkpoint_id)} is the {target} of {line} already"
        raise PeError(Kind.CONFLICT, message, where=checkpoint_id, hint="nothing needs doing")
    with remembering(state, route="role", subject=checkpoint_id):
        if arrival is None:
            message = f"{short(checkpoint_id)} never held production of {line}, so it may not be its {target}"
            raise GateError(Kind.REFUSED, message, where=checkpoint_id, hint="promote it to production first: a role skips no stage")
    checkpoint = require_fit(checkpoint_id, arrival.decision_id, policy="current", state=state, route="role")
    return move_of(held, checkpoint, target, "assign", actor=actor, reason=reason, decision_id=arrival.decision_id)


def set_role(
    line: str, *, role: str, checkpoint_id: str, actor: str, reason: str, expected_version: int | None = None, state: State
) -> Pointer:
    """Let a checkpoint take a role of its line. Exactly one of several who want it wins; the others get conflict."""
    move = plan_role(
        line, role=role, checkpoint_id=checkpoint_id, actor=actor, reason=reason, expected_version=expected_version, state=state
    )
    require_canary(move, state=state)
    with moving(state, "role", checkpoint_id) as connection:
        moved = set_in(connection, move)
    return announced(moved, state=state)
