"""`pe dataset ...`: releases and the versions made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pe_training.cli.output import Answer, AsJson, DryRun, answers
from pe_training.cli.progress import counting
from pe_training.cli.state import open_state

app = typer.Typer(help="Releases and the dataset versions made from them.", no_args_is_help=True, rich_markup_mode=None)
Release = Annotated[Path, typer.Argument(metavar="PATH", help="A release folder, the one with manifest.json.")]


@app.command()
@answers
def check(path: Release, as_json: AsJson = False) -> Answer:
    """Validate a release and show every check; nothing is stored. Exit 1: it would be refused."""
    from pe_training.datasets.accept import preview
    from pe_training.evaluation.suites import suite_prompts
    from pe_training.views.console import validation_table

    state = open_state()
    with counting():
        _, report = preview(path, suites=suite_prompts(state.settings.suite_folder), state=state)
    return Answer(data=report.content(), show=lambda: [validation_table(report)], yes=report.accepted)


@app.command()
@answers
def add(path: Release, dry_run: DryRun = False, as_json: AsJson = False) -> Answer:
    """Validate a release and, if every check passes, seal it as a dataset version. Exit 1: refused, with what failed where."""
    from pe_training.cli.launch import accept_release
    from pe_training.datasets.accept import accept, preview
    from pe_training.datasets.inbox import hand_over
    from pe_training.evaluation.suites import suite_prompts
    from pe_training.views.console import acceptance_view, validation_table

    state = open_state()
    suites = suite_prompts(state.settings.suite_folder)
    if dry_run:
        with counting():
            _, report = preview(path, suites=suites, state=state)
        return Answer(data=report.content(), show=lambda: [validation_table(report)], yes=report.accepted)
    release = hand_over(path, state.settings)
    with counting():
        accept_release(release, state=state)
    acceptance = accept(path, suites=suites, state=state)  # the stored outcome: the job has just made it
    dataset = acceptance.sealed()
    data = {"dataset": dataset.id, "release": acceptance.release_digest, **acceptance.report.content()}
    return Answer(data=data, show=lambda: [acceptance_view(dataset, acceptance.report)])


@app.command()
@answers
def ls(as_json: AsJson = False) -> Answer:
    """List dataset versions, newest first."""
    from pe_training.views.lists import records_table

    rows = open_state().registry.rows("ds")
    return Answer(data={"datasets": [vars(row) for row in rows]}, show=lambda: [records_table(rows)])


@app.command()
@answers
def show(identifier: Annotated[str, typer.Argument(metavar="DS", help="A dataset version.")], as_json: AsJson = False) -> Answer:
    """Show one dataset version: rows by split and family, licences, shards."""
    from pe_training.datasets.record import DatasetVersion
    from pe_training.views.console import dataset_view

    registry = open_state().registry
    dataset = registry.get(registry.resolve(identifier), DatasetVersion)
    return Answer(data={"id": dataset.id, **dataset.content()}, show=lambda: [dataset_view(dataset)])
