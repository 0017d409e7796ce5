"""`pe promote`, `rollback`, `stages`, `report`: decisions and pointers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pe_training.cli.output import Answer, AsJson, DryRun, Verbs, answers
from pe_training.cli.state import open_state
from pe_training.core.errors import Kind, PeError

if TYPE_CHECKING:
    from pe_training.promotion.pointers import Judging, Move
    from pe_training.storage.state import State

Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]


@answers
def promote(
    checkpoint: Annotated[str, typer.Argument(metavar="CK", help="A checkpoint id or its beginning.")],
    to: Annotated[str, typer.Option("--to", metavar="STAGE", help="staging or production")],
    reason: Reason = "promoted by hand",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Answer:
    """Move a stage to a checkpoint, if its verdict under that stage's policy is a pass. Exit 1: refused, with the reasons."""
    from pe_training.promotion.candidates import decision_for_stage
    from pe_training.promotion.policy import known_stage
    from pe_training.promotion.stages import plan_promotion
    from pe_training.views.publish import publish

    state = open_state()
    whole, stage = state.registry.resolve(checkpoint), known_stage(to)
    decision = decision_for_stage(whole, stage, state=state)
    publish(decision, state=state)
    move = plan_promotion(whole, stage=stage, decision_id=decision.id, actor=state.settings.who, reason=reason, state=state)
    return moved(move, dry_run=dry_run, state=state)


@answers
def rollback(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="staging or production")],
    line: Annotated[str, typer.Option(help="The model line, i.e. the manifest's name.")],
    to: Annotated[str | None, typer.Option("--to", metavar="CK", help="Which earlier checkpoint; default: the one before.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the history.")] = None,
    under_pinned_policy: Annotated[
        bool, typer.Option("--under-pinned-policy", help="Also where today's policy would refuse it; needs a --reason.")
    ] = False,
    drilled: Annotated[bool, typer.Option("--drill", help="Do all of it but the swap, and time each step.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Answer:
    """Move a stage back to a checkpoint it held before, if that is whole and passes today's policy. Exit 1: refused, with the reason."""
    from pe_training.promotion.policy import known_stage
    from pe_training.promotion.rollback import drill, plan_rollback
    from pe_training.views.serving import drill_view

    if under_pinned_policy and not (reason or "").strip():
        raise PeError(Kind.INPUT, "leaving today's policy out needs a reason", where="--reason", hint="say why; it is kept in the history")
    state = open_state()
    target = state.registry.resolve(to) if to else None
    policy: Judging = "pinned" if under_pinned_policy else "current"
    who, why, held = state.settings.who, reason or "rolled back by hand", known_stage(stage)
    if drilled:
        made = drill(line, stage=held, actor=who, reason=why, to=target, policy=policy, state=state)
        return Answer(data=asdict(made) | {"duration_s": made.duration_s}, show=lambda: [drill_view(made)], yes=made.problem is None)
    move = plan_rollback(line, stage=held, actor=who, reason=why, to=target, policy=policy, state=state)
    return moved(move, dry_run=dry_run, state=state)


def moved(move: Move, *, dry_run: bool, state: State) -> Answer:
    """Make a planned move, or only tell of it."""
    from pe_training.promotion.stages import apply
    from pe_training.views.lists import move_view

    if not dry_run:
        apply(move, state)
    data: dict[str, Any] = asdict(move) | {"applied": not dry_run}
    return Answer(data=data, show=lambda: [move_view(data)])


@answers
def stages(
    line: Annotated[str | None, typer.Option(help="Only this model line, with its history.")] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="As it was then: 2026-11-29 or 2026-11-29T12:00:00Z (UTC).")
    ] = None,
    after: Annotated[str, typer.Option(help="With --at: go on after this line.")] = "",
    before: Annotated[int | None, typer.Option(help="With --line: the `seq` of the last move you saw; the page below it.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Moves or lines a page.")] = 50,
    as_json: AsJson = False,
) -> Answer:
    """Where every model line stands or stood, roles too, and the way out of a stage whose model comes from recalled data."""
    from pe_training.lineage.recall import taints_of
    from pe_training.lineage.substitutes import tainted_stages
    from pe_training.promotion.lapses import lapses, waiting_now
    from pe_training.promotion.pointers import current, history
    from pe_training.views.approvals import lapses_view, waiting_data, waiting_view
    from pe_training.views.lists import stages_view

    state = open_state()
    if at is not None:
        return _stages_at(at, line=line, after=after, limit=limit, state=state)
    held = current(state, line=line)
    pointers = [asdict(found) | {"recalls": [recall.seq for recall in taints_of(state, found.checkpoint_id)]} for found in held]
    moves = [asdict(move) for move in history(state, line=line, before=before, limit=limit)] if line else []
    ways = tainted_stages(state, line=line)
    waits, lapsed = waiting_now(state, line=line), lapses(state, line=line)
    data: dict[str, Any] = {
        "stages": pointers, "history": moves, "tainted": [asdict(way) for way in ways], "lapses": [asdict(one) for one in lapsed],
        "waiting": waiting_data(waits), "next_before": moves[-1]["seq"] if len(moves) == limit else None,
    }  # fmt: skip
    return Answer(data=data, show=lambda: [stages_view(pointers, moves, ways), *waiting_view(waits), *lapses_view(lapsed)])


def _stages_at(text: str, *, line: str | None, after: str, limit: int, state: State) -> Answer:
    from pe_training.core.clock import moment, stamp
    from pe_training.promotion.pointers import at, at_every_line
    from pe_training.views.serving import stages_at_view

    when = moment(text, where="--at")
    found, following = (at(state, when, line=line), None) if line else at_every_line(state, when, after=after, limit=limit)
    data = {"at": stamp(when), "stages": [asdict(move) for move in found], "next_after": following}
    return Answer(data=data, show=lambda: [stages_at_view(found, at=stamp(when), following=following)])


@answers
def report(
    identifier: Annotated[str, typer.Argument(metavar="PD", help="A promotion decision.")],
    card: Annotated[bool, typer.Option("--card", help="The model card instead, as the Hugging Face Hub reads it.")] = False,
    as_json: AsJson = False,
) -> Answer:
    """Where the evidence page of a decision is; made again if it was removed."""
    from pe_training.promotion.lapses import spoken_words
    from pe_training.promotion.record import PromotionDecision
    from pe_training.views.publish import publish, publish_card

    state = open_state()
    decision = state.registry.get(state.registry.resolve(identifier), PromotionDecision)
    path = (publish_card if card else publish)(decision, state=state)
    words = spoken_words(decision, state=state)
    data = {"decision": decision.id, "report_path": str(path), "words": words}
    return Answer(data=data, show=lambda: [str(path), *words])


VERBS: Verbs = {"promote": promote, "rollback": rollback, "stages": stages, "report": report}
