"""`pe promote`, `rollback`, `stages`, `report`: decisions and pointers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pe_training.cli.output import Answer, AsJson, DryRun, Verbs, answers
from pe_training.cli.state import open_state

if TYPE_CHECKING:
    from pe_training.promotion.pointers import Move
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
    return _moved(move, dry_run=dry_run, state=state)


@answers
def rollback(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="staging or production")],
    line: Annotated[str, typer.Option(help="The model line, i.e. the manifest's name.")],
    to: Annotated[str | None, typer.Option("--to", metavar="CK", help="Which earlier checkpoint; default: the one before.")] = None,
    reason: Reason = "rolled back by hand",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Answer:
    """Move a stage back to a checkpoint it held before, after verifying every byte of it."""
    from pe_training.promotion.policy import known_stage
    from pe_training.promotion.rollback import plan_rollback

    state = open_state()
    target = state.registry.resolve(to) if to else None
    move = plan_rollback(line, stage=known_stage(stage), actor=state.settings.who, reason=reason, to=target, state=state)
    return _moved(move, dry_run=dry_run, state=state)


def _moved(move: Move, *, dry_run: bool, state: State) -> Answer:
    from pe_training.promotion.stages import apply
    from pe_training.views.lists import move_view

    if not dry_run:
        apply(move, state)
    data: dict[str, Any] = asdict(move) | {"applied": not dry_run}
    return Answer(data=data, show=lambda: [move_view(data)])


@answers
def stages(
    line: Annotated[str | None, typer.Option(help="Only this model line, with its history.")] = None, as_json: AsJson = False
) -> Answer:
    """Where every model line stands, and the way out of a stage whose model comes from recalled data."""
    from pe_training.lineage.recall import taints_of
    from pe_training.lineage.substitutes import tainted_stages
    from pe_training.promotion.pointers import current, history
    from pe_training.views.lists import stages_view

    state = open_state()
    held = current(state, line=line)
    pointers = [asdict(found) | {"recalls": [recall.seq for recall in taints_of(state, found.checkpoint_id)]} for found in held]
    moves = [asdict(move) for move in history(state, line=line)] if line else []
    ways = tainted_stages(state, line=line)
    data = {"stages": pointers, "history": moves, "tainted": [asdict(way) for way in ways]}
    return Answer(data=data, show=lambda: [stages_view(pointers, moves, ways)])


@answers
def report(
    identifier: Annotated[str, typer.Argument(metavar="PD", help="A promotion decision.")],
    card: Annotated[bool, typer.Option("--card", help="The model card instead, as the Hugging Face Hub reads it.")] = False,
    as_json: AsJson = False,
) -> Answer:
    """Where the evidence page of a decision is; made again if it was removed."""
    from pe_training.promotion.record import PromotionDecision
    from pe_training.views.publish import publish, publish_card

    state = open_state()
    decision = state.registry.get(state.registry.resolve(identifier), PromotionDecision)
    path = (publish_card if card else publish)(decision, state=state)
    return Answer(data={"decision": decision.id, "report_path": str(path)}, show=lambda: [str(path)])


VERBS: Verbs = {"promote": promote, "rollback": rollback, "stages": stages, "report": report}
