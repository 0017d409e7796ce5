"""`pe resolve`, `export`, `withdraw`, `role set`: what consumers serve, and who may take it from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pe_training.cli.output import Answer, AsJson, DryRun, Verbs, answers
from pe_training.cli.promotion import Reason, moved
from pe_training.cli.state import open_state
from pe_training.core.errors import Kind, PeError

if TYPE_CHECKING:
    from pe_training.promotion.serving import Served
    from pe_training.views.export import Form

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Roles of a model line: primary, fallback, crisis.")
Where = Annotated[str, typer.Argument(metavar="LINE[@STAGE]", help="A model line, with the stage if it is not production.")]
RoleName = Annotated[str | None, typer.Option("--role", metavar="ROLE", help="primary, fallback or crisis, instead of a stage.")]


@answers
def resolve(
    where: Where,
    stage: Annotated[str | None, typer.Argument(metavar="[STAGE]", help="production (default), staging or training")] = None,
    role: RoleName = None,
    as_json: AsJson = False,
) -> Answer:
    """What may be served from a stage or a role: digest, decision, version and where the files lie. Exit 1: nothing may, and why."""
    from pe_training.promotion.serving import place_file
    from pe_training.views.serving import served_view

    state = open_state()
    served = _served(where, stage, role)
    file = str(place_file(state, served.line, served.place))
    return Answer(data=served.content() | {"file": file}, show=lambda: [served_view(served, file=file)])


@answers
def export(
    where: Where,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that does not exist yet, or is empty.")],
    role: RoleName = None,
    merge: Annotated[bool, typer.Option("--merge", help="Merge an adapter into its base model: one model that needs no other.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Answer:
    """Write what may be served as a Hugging Face folder: model, tokenizer, card, and the evidence beside it, all with checksums."""
    from pe_training.views.export import export_folder, plan_export
    from pe_training.views.serving import export_view

    state, served = open_state(), _served(where, None, role)
    form: Form = "merged" if merge else "as_trained"
    plan = plan_export(served, folder, form=form, state=state)
    if not dry_run:
        plan = export_folder(served, folder, form=form, state=state)
    data: dict[str, Any] = plan.content() | {"applied": not dry_run}
    return Answer(data=data, show=lambda: [export_view(data)])


@answers
def withdraw(
    place: Annotated[str, typer.Argument(metavar="STAGE|ROLE", help="What nothing shall be served from.")],
    line: Annotated[str, typer.Option(help="The model line, i.e. the manifest's name.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the history, and told to consumers.")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Answer:
    """Take a model out of service where nothing may follow it. Consumers are refused, with the reason, until another holds the place."""
    from pe_training.promotion.withdrawal import plan_withdrawal

    state = open_state()
    return moved(plan_withdrawal(line, place=place, actor=state.settings.who, reason=reason, state=state), dry_run=dry_run, state=state)


@app.command("set")
@answers
def set_role(
    line: Annotated[str, typer.Argument(metavar="LINE", help="The model line.")],
    role: Annotated[str, typer.Argument(metavar="ROLE", help="primary, fallback or crisis")],
    checkpoint: Annotated[str, typer.Argument(metavar="CK", help="A checkpoint that came into production: its id or its beginning.")],
    reason: Reason = "set by hand",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Answer:
    """Let a proven model of the line take a role. Exit 1: refused, with the reason."""
    from pe_training.promotion.roles import plan_role

    state = open_state()
    whole = state.registry.resolve(checkpoint)
    move = plan_role(line, role=role, checkpoint_id=whole, actor=state.settings.who, reason=reason, state=state)
    return moved(move, dry_run=dry_run, state=state)


def _served(where: str, stage: str | None, role: str | None) -> Served:
    from pe_training.promotion.pointers import known_role
    from pe_training.promotion.policy import known_stage
    from pe_training.promotion.serving import resolve_place

    line, at, named = where.partition("@")
    if (at and stage) or (role and (stage or (at and named != "production"))):
        raise PeError(Kind.INPUT, f"{where} and more than one place", hint="give LINE@STAGE, LINE STAGE or LINE --role ROLE")
    place = known_role(role) if role else known_stage(named if at else stage or "production")
    return resolve_place(line, place, state=open_state())


VERBS: Verbs = {"resolve": resolve, "export": export, "withdraw": withdraw}
