"""`pe dataset ...`: releases and the versions made from them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pe_training.cli.output import Answer, AsJson, DryRun, answers, note
from pe_training.cli.progress import counting
from pe_training.cli.state import open_state
from pe_training.core.errors import Kind, PeError

app = typer.Typer(help="Releases and the dataset versions made from them.", no_args_is_help=True, rich_markup_mode=None)
Version = Annotated[str, typer.Argument(metavar="DS", help="A dataset version: ds_... or its beginning, NAME@VERSION or NAME@latest.")]
Given = Annotated[
    str, typer.Argument(metavar="PATH", help="A release folder, a declaration, a data file, or the URL of one (s3://, https:// ...).")
]
Shape = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Shape of its records: chat, sharegpt, alpaca, prompt_response, question_answer, conversation, preference or labelled_text.",
    ),
]
Called = Annotated[str | None, typer.Option("--name", help="Name of the dataset; default: the file's.")]
Versioned = Annotated[str | None, typer.Option("--version", help="Version of the release; default: from the file's digest.")]
Family = Annotated[str | None, typer.Option(help="Source family of every row.")]
Licence = Annotated[str | None, typer.Option("--license", help="License tag of every row; default: custom, which is refused.")]
Pii = Annotated[str | None, typer.Option(help="Whether personal data was removed; default: requires_review, which is refused.")]
Phase = Annotated[str | None, typer.Option(help="Curriculum phase, such as stage1_foundation.")]
Language = Annotated[str | None, typer.Option(help="ISO 639-1 code; default: the policy's.")]
Purpose = Annotated[str | None, typer.Option(help="Purpose of every row, such as difficult_client.")]
Val = Annotated[float | None, typer.Option(help="Share of validation rows, drawn by content whatever the records say.")]
Test = Annotated[float | None, typer.Option(help="Share of test rows, drawn likewise.")]
Data = Annotated[str | None, typer.Option(help="Folder of the files that a declaration names; default: beside it.")]


@app.command()
@answers
def check(
    path: Given, format: Shape = None, name: Called = None, version: Versioned = None, family: Family = None, license_tag: Licence = None,
    pii_status: Pii = None, phase: Phase = None, language: Language = None, purpose: Purpose = None, val: Val = None, test: Test = None,
    data: Data = None, as_json: AsJson = False,
) -> Answer:  # fmt: skip
    """Validate a release, or what would become one, and show every check; nothing is stored. Exit 1: it would be refused."""
    return _preview(
        path, _flags(format=format, name=name, version=version, family=family, license_tag=license_tag, pii_status=pii_status, phase=phase,
                     language=language, purpose=purpose, val=val, test=test, data=data),
    )  # fmt: skip


@app.command()
@answers
def add(
    path: Given, format: Shape = None, name: Called = None, version: Versioned = None, family: Family = None, license_tag: Licence = None,
    pii_status: Pii = None, phase: Phase = None, language: Language = None, purpose: Purpose = None, val: Val = None, test: Test = None,
    data: Data = None, dry_run: DryRun = False, as_json: AsJson = False,
) -> Answer:  # fmt: skip
    """Validate a release and, if every check passes, seal it as a dataset version. Exit 1: refused, with what failed where."""
    from pe_training.cli.launch import accept_release
    from pe_training.datasets.accept import accept
    from pe_training.datasets.inbox import hand_over
    from pe_training.datasets.intake.bring import bring
    from pe_training.datasets.release import release_digest
    from pe_training.evaluation.suites import suite_prompts
    from pe_training.views.console import acceptance_view
    from pe_training.views.layout import facts
    from pe_training.views.publish import publish_release

    flags = _flags(format=format, name=name, version=version, family=family, license_tag=license_tag, pii_status=pii_status, phase=phase,
                   language=language, purpose=purpose, val=val, test=test, data=data)  # fmt: skip
    if dry_run:
        return _preview(path, flags)
    state = open_state()
    with counting():
        folder = bring(path, into=state.settings.root, flags=flags)
        _tell_conversion(folder)
        try:
            accept_release(hand_over(folder, state.settings), state=state)
        except PeError as error:
            if error.kind == Kind.REFUSED:
                note(f"every check with its places: {publish_release(release_digest(folder), state=state)}")
            raise
    suites = suite_prompts(state.settings.suite_folder)
    acceptance = accept(folder, suites=suites, state=state)  # the stored outcome: the job has just made it
    dataset = acceptance.sealed()
    page = publish_release(acceptance.release_digest, state=state)
    told = {"dataset": dataset.id, "release": acceptance.release_digest, "page": str(page), **acceptance.report.content()}
    return Answer(data=told, show=lambda: [acceptance_view(dataset, acceptance.report), facts({"page": page})])


def _preview(path: str, flags: dict[str, Any]) -> Answer:
    from tempfile import TemporaryDirectory

    from pe_training.datasets.accept import preview
    from pe_training.datasets.intake.bring import bring
    from pe_training.evaluation.suites import suite_prompts
    from pe_training.views.console import validation_table

    state = open_state()
    with TemporaryDirectory(prefix="pe-check-") as own, counting():
        folder = bring(path, into=Path(own), flags=flags)
        _tell_conversion(folder)
        _, report = preview(folder, suites=suite_prompts(state.settings.suite_folder), state=state)
    return Answer(data=report.content(), show=lambda: [validation_table(report)], yes=report.accepted)


def _flags(*, val: float | None, test: float | None, **said: str | None) -> dict[str, Any]:
    """What was said of a file in another shape, by field of its declaration."""
    shares = {name: share for name, share in (("val", val), ("test", test)) if share is not None}
    return {name: value for name, value in said.items() if value is not None} | ({"split": shares} if shares else {})


def _tell_conversion(folder: Path) -> None:
    """Say what became of the records of a release that was converted."""
    from pe_training.datasets.release_manifest import read_release_manifest

    origin = read_release_manifest(folder).conversion
    if origin is not None:
        note(origin.counts.summary)


@app.command()
@answers
def ls(as_json: AsJson = False) -> Answer:
    """List dataset versions, newest first."""
    from pe_training.lineage.recall import tainted_by
    from pe_training.views.lists import records_table

    state = open_state()
    rows = state.registry.rows("ds")
    tainted = tainted_by(state, [row.id for row in rows])
    data = {"datasets": [vars(row) | {"recalls": tainted.get(row.id, ())} for row in rows]}
    return Answer(data=data, show=lambda: [records_table(rows, tainted)])


@app.command()
@answers
def show(identifier: Version, as_json: AsJson = False) -> Answer:
    """Show one dataset version: rows by split and family, licences, and where its page is."""
    from pe_training.datasets.accept import named_version, origins
    from pe_training.lineage.recall import taints_of
    from pe_training.views.console import dataset_view
    from pe_training.views.layout import facts
    from pe_training.views.publish import publish_release
    from pe_training.views.recalls import banner

    state = open_state()
    dataset = named_version(state, identifier)
    known = origins(state, dataset.id)
    page = publish_release(known["release"], state=state) if "release" in known else None
    recalls = taints_of(state, dataset.id)
    named = {"recalls": [asdict(recall) for recall in recalls]}
    data = {"id": dataset.id, **named, "origins": known, "page": page and str(page), **dataset.content()}
    return Answer(data=data, show=lambda: [*banner(recalls), dataset_view(dataset), facts({"page": page or "it has no accepted release"})])


@app.command()
@answers
def diff(before: Version, after: Version, as_json: AsJson = False) -> Answer:
    """Compare two dataset versions: rows, splits, labels, lengths, licences. Exit 1: they differ."""
    from pe_training.datasets.accept import named_version
    from pe_training.datasets.diff import compare
    from pe_training.views.dataset_diff import diff_view

    state = open_state()
    found = compare(named_version(state, before), named_version(state, after), state=state)
    return Answer(data=found.content(), show=lambda: [diff_view(found)], yes=found.same)
