"""`pe approve`, `waive`, `revoke`, `approvals`: the word of people about decisions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pe_training.cli.output import Answer, AsJson, DryRun, Verbs, answers, asking
from pe_training.cli.state import open_state
from pe_training.core.errors import Kind, PeError

if TYPE_CHECKING:
    from pe_training.promotion.statements import Statement
    from pe_training.storage.state import State

Decision = Annotated[str, typer.Argument(metavar="PD", help="A promotion decision: its id or its beginning.")]
Reason = Annotated[str, typer.Option(help="Why; sealed, and shown wherever it counts.")]
KeyFile = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Your private key (PEM), to sign with.")]
TokenFile = Annotated[
    Path | None, typer.Option("--token", metavar="FILE", help="A token of the identity provider, made with the nonce that --dry-run shows.")
]
Who = Annotated[str | None, typer.Option("--person", help="Whose word it will be, to see the nonce (with --dry-run).")]


@answers
def approve(
    decision: Decision,
    role: Annotated[str, typer.Option(help="The role in which you approve, as the policy names it.")],
    reason: Reason,
    key: KeyFile = None,
    token: TokenFile = None,
    person: Who = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Answer:
    """Approve exactly this decision, in a role that its policy asks for."""
    from pe_training.promotion.approvals import draft_approval

    state = open_state()
    whole = state.registry.resolve(decision)

    def draft(who: str) -> Statement:
        return draft_approval(whole, person=who, role=role, reason=reason, state=state)

    return _spoken(draft, about=whole, key=key, token=token, person=person, dry_run=dry_run, state=state)


@answers
def waive(
    decision: Decision,
    rule: Annotated[str, typer.Option(help="The rule that stands in the way, by its id.")],
    owner: Annotated[str, typer.Option(help="Who answers for mending what is excused.")],
    reason: Reason,
    expires: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The last day on which it holds.")],
    key: KeyFile = None,
    token: TokenFile = None,
    person: Who = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Answer:
    """Excuse a decision from one rule that it did not pass, where the policy lets your role do so. The verdict stays what it is."""
    from pe_training.promotion.approvals import draft_waiver

    state = open_state()
    whole = state.registry.resolve(decision)

    def draft(who: str) -> Statement:
        return draft_waiver(whole, rule=rule, person=who, owner=owner, reason=reason, expires=expires.date(), state=state)

    return _spoken(draft, about=whole, key=key, token=token, person=person, dry_run=dry_run, state=state)


@answers
def revoke(
    seq: Annotated[int, typer.Argument(metavar="N", help="The number of an approval or a waiver, from `pe approvals PD`.")],
    reason: Reason,
    key: KeyFile = None,
    token: TokenFile = None,
    person: Who = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Answer:
    """Take back an approval or a waiver: your own, or one of a role that you hold too. A stage that it opened stays, and is told."""
    from pe_training.promotion.approvals import draft_revocation

    state = open_state()
    return _spoken(
        lambda who: draft_revocation(seq, person=who, reason=reason, state=state),
        about=f"statement {seq}", key=key, token=token, person=person, dry_run=dry_run, state=state,
    )  # fmt: skip


@answers
def approvals(
    decision: Annotated[str | None, typer.Argument(metavar="[PD]", help="A decision; without one, all that waits or has lapsed.")] = None,
    line: Annotated[str | None, typer.Option(help="Only this model line.")] = None,
    as_json: AsJson = False,
) -> Answer:
    """What waits for whom. Of a decision: who must approve, who has, and all that was said. Exit 1: its stage is not open to it."""
    from dataclasses import asdict

    from pe_training.promotion.lapses import lapses, waiting_now
    from pe_training.promotion.record import PromotionDecision
    from pe_training.promotion.standing import standing_of
    from pe_training.views.approvals import lapses_view, standing_data, standing_view, waiting_data, waiting_view
    from pe_training.views.console import verdict_panel

    state = open_state()
    if decision is not None:
        found = state.registry.get(state.registry.resolve(decision), PromotionDecision)
        standing = standing_of(found, state=state)
        data = {"decision": found.id, "verdict": found.verdict, "stage": found.stage} | standing_data(standing)
        return Answer(data=data, show=lambda: [verdict_panel(found), *standing_view(standing)], yes=standing.opens)
    waits, lapsed = waiting_now(state, line=line), lapses(state, line=line)
    data = {"waiting": waiting_data(waits), "lapses": [asdict(one) for one in lapsed]}
    return Answer(data=data, show=lambda: [*waiting_view(waits), *lapses_view(lapsed)] or ["nothing waits and nothing has lapsed"])


def _spoken(
    draft: Callable[[str], Statement], *, about: str, key: Path | None, token: Path | None, person: str | None, dry_run: bool, state: State
) -> Answer:
    """Find out who speaks, seal what they say, and keep it."""
    from pe_training.datasets.gate import remembering
    from pe_training.promotion.approvals import digest_of, give
    from pe_training.promotion.people import require_register
    from pe_training.promotion.seals import sign, speaker_of_key, speaker_of_token
    from pe_training.promotion.statements import Seal, TokenSeal
    from pe_training.views.approvals import draft_view

    register = require_register(state.settings)
    if sum(given is not None for given in (key, token, person)) != 1 or (person is not None and not dry_run):
        message = "say who speaks: --key FILE or --token FILE" + (" (or --person NAME with --dry-run)" if dry_run else "")
        raise PeError(Kind.INPUT, message, hint="a name alone proves nothing; docs/ops/approvals.md shows how to make a key")
    seal: Seal | None = None
    with remembering(state, route="approval", subject=about):
        if key is not None:
            who, private = speaker_of_key(key, register=register, ask=asking(f"passphrase of {key}: "))
        else:
            text = _token(token) if token is not None else ""
            who, private = speaker_of_token(text, register=register) if text else str(person), None
    statement = draft(who)
    if key is not None:
        seal = sign(statement, private)
    elif text:
        seal = TokenSeal(token=text)
    seq = None if dry_run or seal is None else give(statement, seal, state=state)
    ready = "make a token with this nonce today, then give it by --token; whoever speaks in the Dagster UI pastes the seal there"
    data: dict[str, Any] = {
        "applied": seq is not None, "seq": seq, "statement": statement.content(), "nonce": digest_of(statement),
        "seal": seal.content() if seal and seal.kind == "key" else None, "next": ready if dry_run else None,
    }  # fmt: skip
    return Answer(data=data, show=lambda: [draft_view(statement, data)])


def _token(path: Path) -> str:
    from pe_training.core.config import read_text

    return read_text(path).strip()


VERBS: Verbs = {"approve": approve, "waive": waive, "revoke": revoke, "approvals": approvals}
