"""`pe reproduce`: do a run again and compare it, step by step, to the bit."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pe_training.cli.output import Answer, AsJson, DryRun, Verbs, answers
from pe_training.cli.state import open_state
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import kind_of


@answers
def reproduce(
    identifier: Annotated[str, typer.Argument(metavar="RUN", help="A run's id or its beginning, e.g. run_3fa9c2.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Only the first N steps.", metavar="N")] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Also with other code or on other hardware than the run's.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Answer:
    """Run a run's recipe again and compare weights, history and every step's trace. Exit 0: identical. Exit 1: it differs, and where.

    Nothing of the run is touched; the outcome is noted, and the run's determinism class follows from it.
    """
    from pe_training.cli.launch import run_reproduction
    from pe_training.cli.progress import watching
    from pe_training.training.record import TrainingRun
    from pe_training.training.reproduce import require_reproducible
    from pe_training.training.reproduction import determinism, differences, manifest_of, reproductions, require_same_class
    from pe_training.views.layout import plain
    from pe_training.views.reproduction import determinism_text, reproduction_view

    state = open_state()
    whole = state.registry.resolve(identifier)
    if kind_of(whole) != TrainingRun.kind:
        raise PeError(Kind.INPUT, f"{identifier} is no run", hint="`pe trace` shows the run that a record was made by")
    run, manifest = state.registry.get(whole, TrainingRun), manifest_of(state, whole)
    require_reproducible(run, manifest, state=state)
    if not anyway:
        require_same_class(state, run)
    data: dict[str, Any] = {"run": run.id, "manifest": manifest.id, "steps": steps, "applied": not dry_run}
    if dry_run:
        data |= {"determinism": determinism_text(determinism(state, run.id))}
        data |= {"differs": [change.content() for change in differences(state, run)]}
        return Answer(data=data, show=lambda: [plain(f"would do {run.id} again, as {manifest.id} asked; {data['determinism']} so far")])
    with watching(state.settings.root / "runs", run.id):
        run_reproduction(manifest, run_id=run.id, steps=steps, anyway=anyway, state=state)
    outcome = reproductions(state, run.id)[-1][1]
    named = determinism_text(determinism(state, run.id))
    data |= outcome.content() | {"identical": outcome.identical, "determinism": named}
    return Answer(data=data, show=lambda: [reproduction_view(outcome, determinism=named)], yes=outcome.identical)


VERBS: Verbs = {"reproduce": reproduce}
