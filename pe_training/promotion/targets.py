"""Whether a checkpoint that held a place before may hold one again: it was right then, and what is known and asked today may say no.

The pinned policy is what its decision was made under; the policy of that name may have become stricter since. A rollback in an
emergency may leave the second question out, and says so in the history (ADR 0026).
"""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from pe_training.core.clock import now
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_file, short
from pe_training.datasets.gate import GateError, remembering, require_untainted
from pe_training.evaluation.record import EvaluationReport
from pe_training.promotion.facts import gather
from pe_training.promotion.moving import proved_decision, require_intact
from pe_training.promotion.pointers import Judging
from pe_training.promotion.policy import load_policy
from pe_training.promotion.record import Holder, PromotionDecision
from pe_training.promotion.verdict import decide, headline
from pe_training.storage import tables as t
from pe_training.storage.registry import parse_record
from pe_training.storage.state import State
from pe_training.training.record import Checkpoint

_DECISIONS = 50  # of one checkpoint, newest first


def require_fit(checkpoint_id: str, decision_id: str | None, *, policy: Judging, state: State, route: str) -> Checkpoint:
    """The checkpoint, if nothing speaks against it today. Raises refused, corrupt or not_found; what is refused is remembered.

    Every byte of checkpoint and report is read, the signature asked for, and the verdict derived again: under the pinned policy, and under
    the policy of that name as it is now, unless ``policy`` is ``pinned``. Without a decision (training needs none) the bytes are all.
    """
    checkpoint = state.registry.get(checkpoint_id, Checkpoint)
    if decision_id is None:
        require_untainted(checkpoint_id, state=state, route=route)
        require_intact(state, [checkpoint])
        return checkpoint
    require_untainted(checkpoint_id, decision_id, state=state, route=route)
    decision = proved_decision(decision_id, state)
    with remembering(state, route=route, subject=checkpoint_id):
        require_standing(decision, state=state)
        if policy == "current":
            _require_current_policy(decision, state=state)
    return checkpoint


def require_standing(decision: PromotionDecision, *, state: State) -> None:
    """Refuse where a later decision on the same checkpoint for the same stage failed: evidence does not get better by being older."""
    later = newest_decision(decision.checkpoint_id, decision.stage, state=state)
    if later is not None and later.verdict == "fail" and later.id != decision.id:
        message = f"{short(decision.checkpoint_id)} was judged again for {decision.stage} and failed: {headline(later)}"
        raise GateError(Kind.REFUSED, message, where=later.id, hint=f"`pe show {short(later.id)}` lists the reasons")


def newest_decision(checkpoint_id: str, stage: str, *, state: State) -> PromotionDecision | None:
    """The last decision that was made on a checkpoint for a stage."""
    e, r = t.edges.c, t.records.c
    query = sa.select(r.id, r.body).where(
        e.parent == checkpoint_id, e.role == "checkpoint", r.id == e.child, r.kind == PromotionDecision.kind
    )
    with state.registry.reading() as connection:
        rows = connection.execute(query.order_by(r.seq.desc()).limit(_DECISIONS)).all()
    decisions = (parse_record(row.body, PromotionDecision, where=row.id) for row in rows)
    return next((decision for decision in decisions if decision.stage == stage), None)


def _require_current_policy(decision: PromotionDecision, *, state: State) -> None:
    """Derive the verdict under the policy of that name as it is today."""
    path = state.settings.policy_folder / f"{decision.policy_name}.yaml"
    hint = "choose another checkpoint with --to, or give --under-pinned-policy and the reason why it may serve all the same"
    if not path.exists():
        message = f"there is no policy {decision.policy_name} any more, under which {short(decision.checkpoint_id)} passed"
        raise GateError(Kind.REFUSED, message, where=str(path), hint=hint)
    if digest_file(path) == decision.policy:
        return
    policy, checkpoint = load_policy(path), state.registry.get(decision.checkpoint_id, Checkpoint)
    report = state.registry.get(decision.report_id, EvaluationReport)
    facts = gather(report, checkpoint, policy, at=now(), state=state)
    facts = replace(facts, holder=decision.holder or Holder(), attempt=decision.attempt or 1)  # compared as it was then, with nothing new
    today = decide(
        report, checkpoint=checkpoint, policy=policy, policy_digest=digest_file(path), manifest_id=decision.manifest_id, facts=facts
    )
    if today.verdict != "pass" or today.stage != decision.stage:
        message = f"{short(decision.checkpoint_id)} would not pass {policy.name} as it is today: {headline(today)}"
        raise GateError(Kind.REFUSED, message, where=decision.id, hint=hint)


def problem_of(error: PeError) -> str:
    """An error as a reason in a history: one line, without a hint."""
    return f"{error.kind.value}: {error.message}"
