"""What may have changed since a decision was made, asked once more when a stage is about to be given away.

A verdict is true of its evidence for ever. Whether that evidence still says something about today is another question: it may have grown
older than the policy allows, and the incumbent that the model was compared with may have gone. Both are refusals and no new verdicts.
"""

from __future__ import annotations

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.manifests.record import ResolvedManifest
from pe_training.promotion.facts import holder
from pe_training.promotion.inputs import pinned_policy
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.sentences import listed
from pe_training.promotion.verdict import stale_now
from pe_training.storage.state import State


def require_current(decision: PromotionDecision, *, state: State) -> None:
    """Raises refused where the evidence is too old by now, or where another model holds the stage than the one compared with."""
    policy = pinned_policy(state.registry.get(decision.manifest_id, ResolvedManifest), state=state)
    if old := stale_now(decision, policy, state=state):
        message = f"{short(decision.id)} passed on evidence that is too old for {policy.name} by now: {listed(old)}"
        hint = "evaluate with newer suites, judges or code, or train on a newer dataset version, and let that be judged"
        raise PeError(Kind.REFUSED, message, where=decision.id, hint=hint)
    if decision.holder is None:
        return
    now = holder(decision.line, decision.stage, state=state)
    if now not in (decision.holder, type(now)(checkpoint_id=decision.checkpoint_id)):
        then = _named(decision.holder.checkpoint_id, recalled=decision.holder.recalled)
        message = (
            f"{short(decision.id)} was judged while {then} held {decision.stage} of {decision.line}, "
            f"and now {_named(now.checkpoint_id, recalled=now.recalled)} does"
        )
        hint = f"run its manifest again with `evaluation: {{incumbent: {decision.stage}}}`, so that the two are compared"
        raise PeError(Kind.REFUSED, message, where=decision.id, hint=hint)


def _named(checkpoint_id: str | None, *, recalled: bool) -> str:
    return "nothing" if checkpoint_id is None else short(checkpoint_id) + (", which is recalled," if recalled else "")
