"""Approve, waive, revoke: what a person wants to say is drafted, shown, sealed by them, and kept if it may be said.

The draft is all that decides what is kept: whoever hands in a seal names the same words again and the draft is made anew, so a seal can
only be for what it is handed in with. What is refused here is remembered, as every refusal on the way to a stage is.
"""

from __future__ import annotations

from datetime import date

import sqlalchemy as sa

from pe_training.core.clock import now
from pe_training.core.config import suggest
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_bytes, short
from pe_training.datasets.gate import GateError, remembering, require_untainted, require_untainted_in
from pe_training.promotion.people import PEOPLE, require_register
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.seals import fault, read_seal, speaker_of
from pe_training.promotion.standing import Hearing, Standing, hearing
from pe_training.promotion.statements import (
    Act,
    Said,
    Seal,
    Statement,
    add_statement_in,
    lock_decision_in,
    registry_name,
    said_in,
    statement_of,
    text_of,
)
from pe_training.promotion.verdict import headline, require_follows
from pe_training.storage.state import State

MIN_REASON, MAX_REASON = 10, 2000
ROUTES: dict[Act, str] = {"approve": "approval", "waive": "waiver", "revoke": "revocation"}


def draft_approval(decision_id: str, *, person: str, role: str, reason: str, state: State) -> Statement:
    """What ``person`` would seal to approve a decision. Raises input, not_found, corrupt, or refused where they may not."""
    asked, decision = _asked(decision_id, state=state)
    roles = {one.role for one in asked.policy.approvals}
    if role not in roles:
        hint = suggest(role, roles) if roles else "nothing needs doing: a pass alone opens the stage"
        raise PeError(Kind.INPUT, f"policy {asked.policy.name} asks nobody of the role {role!r}", where=decision_id, hint=hint)
    statement = _drafted(asked, "approve", person=person, role=role, reason=reason, state=state)
    with remembering(state, route=ROUTES["approve"], subject=decision_id), state.registry.reading() as connection:
        _require_open(asked.standing_in(connection), person=person, role=role, decision=decision)
    return statement


def draft_waiver(decision_id: str, *, rule: str, person: str, owner: str, reason: str, expires: date, state: State) -> Statement:
    """What ``person`` would seal to excuse a decision from one rule that it did not pass. Raises as :func:`draft_approval`."""
    asked, decision = _asked(decision_id, state=state)
    outcome = next((one for one in decision.outcomes if one.rule == rule), None)
    if outcome is None:
        hint = suggest(rule, [one.rule for one in decision.outcomes])
        raise PeError(Kind.INPUT, f"policy {decision.policy_name} has no rule {rule!r}", where=decision_id, hint=hint)
    if outcome.severity != "block" or outcome.verdict not in {"fail", "inconclusive"}:
        message = f"{rule} does not stand in the way: {outcome.verdict}" + (", and it only warns" if outcome.severity == "warn" else "")
        raise PeError(Kind.INPUT, message, where=decision_id, hint=f"`pe show {short(decision_id)}` lists the rules that do")
    if not owner.strip():
        raise PeError(Kind.INPUT, "a waiver needs an owner", where="--owner", hint="name who answers for mending what it excuses")
    if expires < now().date():
        raise PeError(Kind.INPUT, f"{expires.isoformat()} is over", where="--expires", hint="the last day on which the waiver shall hold")
    allowed = next((one.waivable_by for one in asked.policy.rules if one.id == rule), [])  # of what a policy asks besides: nobody
    held = [role for role in allowed if person in require_register(state.settings).holders(role)]
    with remembering(state, route=ROUTES["waive"], subject=decision_id):
        if not held:
            who = f"a person of the role {' or '.join(allowed)}" if allowed else "nobody"
            message = f"{rule} of policy {decision.policy_name} may be waived by {who}, not by {person}"
            raise GateError(
                Kind.REFUSED, message, where=decision_id, hint="train or evaluate on: a rule that cannot be waived must be passed"
            )
    return _drafted(
        asked, "waive", person=person, role=held[0], reason=reason, state=state, rule=rule, owner=owner.strip(), expires=expires.isoformat()
    )


def draft_revocation(seq: int, *, person: str, reason: str, state: State) -> Statement:
    """What ``person`` would seal to take back statement ``seq``, their own or one of a role that they hold too."""
    earlier = statement_of(state, seq)
    decision_id = earlier.statement.about.decision
    if earlier.statement.act == "revoke":
        raise PeError(Kind.INPUT, f"statement {seq} is itself a revocation", where=decision_id, hint="say again what was revoked")
    asked = hearing(state.registry.get(decision_id, PromotionDecision), state=state)
    with remembering(state, route=ROUTES["revoke"], subject=decision_id):
        _require_to_take_back(earlier, person=person, state=state)
    return _drafted(asked, "revoke", person=person, role=earlier.statement.role, reason=reason, state=state, revokes=earlier.digest)


def give(statement: Statement, seal: Seal, *, state: State) -> int:
    """Keep a drafted statement that its speaker has sealed. Returns its number. Raises refused, conflict or corrupt."""
    decision_id, route = statement.about.decision, ROUTES[statement.act]
    asked = hearing(state.registry.get(decision_id, PromotionDecision), state=state)
    register = require_register(state.settings)
    with remembering(state, route=route, subject=decision_id):
        if broken := fault(statement, seal, register=register):
            what = {"approve": "approved", "waive": "waived", "revoke": "revoked"}[statement.act]
            raise GateError(Kind.REFUSED, f"nothing is {what}: {broken}", where=decision_id, hint=_AGAIN)
        with state.registry.writing() as connection:
            lock_decision_in(connection, decision_id)
            _require_sayable_in(connection, statement, asked, state=state)
            return add_statement_in(connection, statement, seal)


def approve_sealed(decision_id: str, *, role: str, reason: str, key: str, signature: str, token: str, state: State) -> int:
    """An approval that was sealed elsewhere and is handed in: the words again, and the seal of whoever said them. Returns its number."""
    with remembering(state, route=ROUTES["approve"], subject=decision_id):
        seal = read_seal(key=key, signature=signature, token=token)
        person = speaker_of(seal, register=require_register(state.settings))
    return give(draft_approval(decision_id, person=person, role=role, reason=reason, state=state), seal, state=state)


_AGAIN = "seal exactly what `--dry-run` shows, today, with a key or a login of your own"


def digest_of(statement: Statement) -> str:
    """What a token for this statement must have as its nonce."""
    return digest_bytes(text_of(statement))


def _asked(decision_id: str, *, state: State) -> tuple[Hearing, PromotionDecision]:
    decision = state.registry.get(decision_id, PromotionDecision)
    require_untainted(decision.checkpoint_id, decision_id, state=state, route="approval")
    require_follows(decision, state=state)
    return hearing(decision, state=state), decision


def _drafted(
    asked: Hearing,
    act: Act,
    *,
    person: str,
    role: str,
    reason: str,
    state: State,
    rule: str | None = None,
    owner: str | None = None,
    expires: str | None = None,
    revokes: str | None = None,
) -> Statement:
    if not MIN_REASON <= len(reason.strip()) <= MAX_REASON:
        message = f"a reason has {MIN_REASON} to {MAX_REASON:,} characters, and this one {len(reason.strip()):,}"
        raise PeError(Kind.INPUT, message, where="--reason", hint="say what you looked at and why it is enough")
    with state.registry.reading() as connection:
        subject = asked.subject(registry_name(connection))
    statement = Statement(
        act=act, about=subject, person=person, role=role, reason=reason.strip(), on=now().date().isoformat(),
        rule=rule, owner=owner, expires=expires, revokes=revokes,
    )  # fmt: skip
    with remembering(state, route=ROUTES[act], subject=asked.decision.id):
        _require_fit(statement, asked)
    return statement


def _require_fit(statement: Statement, asked: Hearing) -> None:
    if unfit := asked.unfit(statement):
        raise GateError(Kind.REFUSED, unfit, where=statement.about.decision, hint=f"the policy says who must, the file of {PEOPLE} who may")


def _require_open(standing: Standing, *, person: str, role: str, decision: PromotionDecision) -> None:
    if not standing.passes:
        message = f"there is nothing to approve: {headline(decision)}"
        raise GateError(Kind.REFUSED, message, where=decision.id, hint=f"`pe show {short(decision.id)}` lists what stands in the way")
    for need in standing.needs:
        if need.given and need.given.said.statement.person == person and need.role != role:
            message = f"{person} has approved as {need.role} already: {role} must be somebody else"
            raise GateError(Kind.REFUSED, message, where=decision.id, hint="distinct roles are distinct people")


def _require_to_take_back(earlier: Said, *, person: str, state: State) -> None:
    s = earlier.statement
    if person != s.person and person not in require_register(state.settings).holders(s.role):
        message = f"statement {earlier.seq} is by {s.person} as {s.role}, and not {person}'s to take back"
        raise GateError(Kind.REFUSED, message, where=s.about.decision, hint="its speaker, or somebody of the same role, can")


def _require_sayable_in(connection: sa.Connection, statement: Statement, asked: Hearing, *, state: State) -> None:
    """Everything again that may have changed since the draft, or that a draft made elsewhere got wrong."""
    if statement.act != "revoke":  # saying no is always allowed
        require_untainted_in(connection, asked.decision.checkpoint_id, asked.decision.id)
    if statement.about != asked.subject(registry_name(connection)):
        raise GateError(Kind.REFUSED, "this is about something else than is kept here", where=asked.decision.id, hint=_AGAIN)
    if statement.on != now().date().isoformat():
        raise GateError(Kind.REFUSED, f"this was drafted on {statement.on}, and today is another day", where=asked.decision.id, hint=_AGAIN)
    _require_fit(statement, asked)
    if statement.act == "revoke":
        earlier = next((one for one in said_in(connection, asked.decision.id) if one.digest == statement.revokes), None)
        if earlier is None or earlier.statement.act == "revoke":
            raise GateError(Kind.REFUSED, "this revokes nothing that was said", where=asked.decision.id, hint=_AGAIN)
        _require_to_take_back(earlier, person=statement.person, state=state)
    if statement.act == "approve":
        _require_open(asked.standing_in(connection), person=statement.person, role=statement.role, decision=asked.decision)
