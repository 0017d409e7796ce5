"""Who may hold a stage: entering and promotion, each planned, proved and then swapped in one transaction.

Whoever asks, and by whichever door, a promotion reads the verdict for this exact checkpoint again, derives it again from the
report under the pinned policy, and reads every byte of checkpoint and report before the pointer moves. A caller cannot bring
its own numbers. The ``plan_*`` functions do all of that and stop before the swap.
"""

from __future__ import annotations

import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.datasets.gate import GateError, remember, remembering, require_untainted
from pe_training.promotion.admission import require_current
from pe_training.promotion.canary import require_canary
from pe_training.promotion.moving import move_of, moving, proved_decision, require_intact, require_version
from pe_training.promotion.pointers import Action, Move, Pointer, pointer_in, set_in, was_applied_in
from pe_training.promotion.policy import Stage, known_stage, stage_below
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.roles import set_role
from pe_training.promotion.rollback import rollback
from pe_training.promotion.serving import announced
from pe_training.promotion.standing import hearing, not_open, require_open, waiver_words
from pe_training.promotion.statements import lock_decision_in
from pe_training.promotion.targets import require_standing
from pe_training.promotion.verdict import headline
from pe_training.promotion.withdrawal import withdraw
from pe_training.storage.state import State
from pe_training.training.record import Checkpoint


def enter_training(checkpoint_id: str, *, actor: str, reason: str, expected_version: int | None = None, state: State) -> Pointer:
    """Let a checkpoint hold the training stage of its line: the candidate looked at now. Needs no verdict. Idempotent."""
    checkpoint = state.registry.get(checkpoint_id, Checkpoint)
    require_untainted(checkpoint_id, state=state, route="enter")
    require_intact(state, [checkpoint])
    with moving(state, "enter", checkpoint_id) as connection:
        held = pointer_in(connection, checkpoint.line, "training")
        if held and held.holds and held.checkpoint_id == checkpoint_id:
            return held
        require_version(checkpoint.line, "training", held, expected_version)
        return set_in(connection, move_of(held, checkpoint, "training", "enter", actor=actor, reason=reason))


def plan_promotion(
    checkpoint_id: str, *, stage: str, decision_id: str, actor: str, reason: str, expected_version: int | None = None, state: State
) -> Move:
    """The move that :func:`promote` would make, with everything proved and nothing changed.

    ``expected_version``: of the stage's pointer, 0 where nothing holds it; ``None`` takes the version it has now.
    Raises refused, conflict, corrupt or not_found.
    """
    target = known_stage(stage)
    checkpoint = state.registry.get(checkpoint_id, Checkpoint)
    require_untainted(checkpoint_id, decision_id, state=state, route="promotion")
    decision = proved_decision(decision_id, state)
    asked = hearing(decision, state=state)
    with remembering(state, route="promotion", subject=checkpoint_id), state.registry.reading() as connection:
        _require_about(checkpoint, target, decision)
        require_open(asked.standing_in(connection))
    require_standing(decision, state=state)
    with state.registry.reading() as connection:
        held = pointer_in(connection, checkpoint.line, target)
        require_version(checkpoint.line, target, held, expected_version)
        if held and held.holds and held.checkpoint_id == checkpoint_id:
            message = f"{short(checkpoint_id)} already holds {target} of {checkpoint.line}"
            raise PeError(Kind.CONFLICT, message, where=checkpoint_id, hint="nothing needs doing")
        _require_below(connection, checkpoint.line, target, checkpoint_id)
    require_current(decision, state=state)
    return move_of(held, checkpoint, target, "promote", actor=actor, reason=reason, decision_id=decision_id)


def promote(
    checkpoint_id: str, *, stage: str, decision_id: str, actor: str, reason: str, expected_version: int | None = None, state: State
) -> Pointer:
    """Let a checkpoint with a passing verdict hold the next stage. Exactly one of several promoters wins; the others get conflict."""
    move = plan_promotion(
        checkpoint_id,
        stage=stage,
        decision_id=decision_id,
        actor=actor,
        reason=reason,
        expected_version=expected_version,
        state=state,
    )
    require_canary(move, state=state)
    asked = hearing(state.registry.get(decision_id, PromotionDecision), state=state)
    with moving(state, "promotion", move.to_id) as connection:
        _require_below(connection, move.line, known_stage(move.stage), move.to_id)
        lock_decision_in(connection, decision_id)
        require_open(asked.standing_in(connection))  # somebody may have taken a word back while the model answered
        moved = set_in(connection, move)
    return announced(moved, state=state)


def apply(move: Move, state: State) -> Pointer:
    """Make a planned move, proving it once more: a plan is a value that anybody can write."""
    who, why, version = move.actor, move.reason, move.expected_version
    match move.action:
        case "promote":
            assert move.decision_id is not None
            return promote(
                move.to_id, stage=move.stage, decision_id=move.decision_id, actor=who, reason=why, expected_version=version, state=state
            )
        case "rollback":
            return rollback(
                move.line, stage=move.stage, to=move.to_id, policy=move.policy, actor=who, reason=why, expected_version=version, state=state
            )
        case "assign":
            return set_role(
                move.line, role=move.stage, checkpoint_id=move.to_id, actor=who, reason=why, expected_version=version, state=state
            )
        case "withdraw":
            return withdraw(move.line, place=move.stage, actor=who, reason=why, expected_version=version, state=state)
        case "enter":
            return enter_training(move.to_id, actor=who, reason=why, expected_version=version, state=state)


def apply_decision(decision: PromotionDecision, *, state: State) -> tuple[Move, ...]:
    """What follows from a decision by itself: its checkpoint enters training, and on a pass the decision's stage where it may.

    Both moves are one transaction. A decision moves each stage once: applied again, also after a rollback, it changes nothing.
    A pass whose stage cannot be entered yet (production, while another checkpoint holds staging) waits: apply it again later. So does
    one that lacks the approval of people, which is remembered as a refusal.
    Returns the moves made. Raises corrupt where evidence is damaged, refused where it has aged or the incumbent is another by now.
    """
    require_untainted(decision.checkpoint_id, decision.id, state=state, route="promotion")
    proved = proved_decision(decision.id, state)
    checkpoint = state.registry.get(proved.checkpoint_id, Checkpoint)
    target = known_stage(proved.stage)
    asked = hearing(proved, state=state)
    with state.registry.reading() as connection:
        standing = asked.standing_in(connection)
        due, planned = _is_due(connection, proved, target), pointer_in(connection, checkpoint.line, target)
    actor, reason = f"policy {proved.policy_name}", "; ".join((headline(proved), *waiver_words(standing)))
    made, moved = list[Move](), list[Pointer]()
    lacking: PeError | None = None
    wanted: list[tuple[Stage, Action]] = [("training", "enter")]
    if standing.passes and target != "training":
        wanted.append((target, "promote"))
        require_standing(proved, state=state)
        if due and standing.opens:
            require_current(proved, state=state)
            require_canary(move_of(planned, checkpoint, target, "promote", actor=actor, reason=reason, decision_id=proved.id), state=state)
    with moving(state, "promotion", checkpoint.id) as connection:
        lock_decision_in(connection, proved.id)
        now_opens = asked.standing_in(connection)
        for stage, action in wanted:
            held = pointer_in(connection, checkpoint.line, stage)
            done = was_applied_in(connection, checkpoint.line, stage, proved.id)
            if done or not _holds_below(connection, checkpoint.line, stage, checkpoint.id):
                continue
            if action == "promote" and not (standing.opens and now_opens.opens):  # a word that came meanwhile is heard the next time
                lacking = not_open(now_opens if standing.opens else standing)
                continue
            if action == "promote":
                if not due:  # it became so just now, and its model was not asked: the next time
                    continue
                if proved.holder is not None:  # no other model may have come between since it was compared
                    require_version(checkpoint.line, stage, held, planned.version if planned else 0)
            move = move_of(held, checkpoint, stage, action, actor=actor, reason=reason, decision_id=proved.id)
            moved.append(set_in(connection, move))
            made.append(move)
    for pointer in moved:
        announced(pointer, state=state)
    if lacking:
        remember(lacking, state=state, route="promotion", subject=checkpoint.id)
    return tuple(made)


def _is_due(connection: sa.Connection, decision: PromotionDecision, target: Stage) -> bool:
    """Whether applying the decision would move its stage: not done before, and the checkpoint holds the stage below, or is about to."""
    line, below = decision.line, stage_below(target)
    if was_applied_in(connection, line, target, decision.id):
        return False
    entering = below == "training" and not was_applied_in(connection, line, below, decision.id)
    return entering or _holds_below(connection, line, target, decision.checkpoint_id)


def _require_about(checkpoint: Checkpoint, stage: Stage, decision: PromotionDecision) -> None:
    if decision.checkpoint_id != checkpoint.id:
        message = f"decision {short(decision.id)} is about {short(decision.checkpoint_id)}, not about {short(checkpoint.id)}"
        raise GateError(Kind.REFUSED, message, where=decision.id, hint="give the decision made for this checkpoint")
    if decision.stage != stage:
        message = f"decision {short(decision.id)} is for {decision.stage}, not for {stage}"
        raise GateError(Kind.REFUSED, message, where=decision.id, hint=f"run the manifest with a policy for {stage}")


def _require_below(connection: sa.Connection, line: str, stage: Stage, checkpoint_id: str) -> None:
    if not _holds_below(connection, line, stage, checkpoint_id):
        below = stage_below(stage)
        assert below is not None
        held = pointer_in(connection, line, below)
        holder = f"{short(held.checkpoint_id)} does" if held and held.holds else "nothing does"
        message = f"{short(checkpoint_id)} may not enter {stage} of {line}: it does not hold {below}, {holder}"
        raise PeError(Kind.REFUSED, message, where=checkpoint_id, hint=f"stages are not skipped: let it enter {below} first")


def _holds_below(connection: sa.Connection, line: str, stage: Stage, checkpoint_id: str) -> bool:
    below = stage_below(stage)
    if below is None:
        return True
    held = pointer_in(connection, line, below)
    return held is not None and held.holds and held.checkpoint_id == checkpoint_id
