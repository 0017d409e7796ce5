"""`pe ls`, `show`, `verify`: any record, whatever its kind."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pe_training.cli.lineage import At, seen_at
from pe_training.cli.output import Answer, AsJson, Verbs, answers
from pe_training.cli.state import open_state
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import kind_of

if TYPE_CHECKING:
    from pe_training.lineage.check import Verification
    from pe_training.storage.state import State

Id = Annotated[str, typer.Argument(metavar="ID", help="An id or its beginning, e.g. ck_3fa9c2.")]


@answers
def ls(
    kind: Annotated[str, typer.Argument(help="ds, mf, run, ck, im, ev or pd")],
    name: Annotated[str | None, typer.Option(help="Only this dataset or model line.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Rows a page.")] = 50,
    before: Annotated[int | None, typer.Option(help="The `seq` of the last row you saw: the page below it.")] = None,
    at: At = None,
    as_json: AsJson = False,
) -> Answer:
    """List records of a kind, newest first."""
    from pe_training.lineage.recall import tainted_by
    from pe_training.promotion.lapses import waiting
    from pe_training.promotion.record import PromotionDecision
    from pe_training.views.lists import records_table

    state = open_state()
    seen = seen_at(state, at)
    newest = before if seen is None else min(seen.seq + 1, seen.seq + 1 if before is None else before)
    rows = state.registry.rows(kind, label=name, before=newest, limit=limit)
    tainted = tainted_by(state, [row.id for row in rows], at=seen.at if seen else None)
    waits = {one.decision_id: one.words for one in waiting(rows, state=state)} if kind == PromotionDecision.kind and seen is None else {}
    data = {
        "records": [vars(row) | {"recalls": tainted.get(row.id, ()), "waits": waits.get(row.id)} for row in rows],
        "next_before": rows[-1].seq if len(rows) == limit else None,
    }
    return Answer(data=data, show=lambda: [records_table(rows, tainted, waits)])


@answers
def show(identifier: Id, as_json: AsJson = False) -> Answer:
    """Show one record with its parents and files; a decision with every reason, a run with what happened to it."""
    from pe_training.datasets.accept import origins
    from pe_training.datasets.record import DatasetVersion
    from pe_training.evaluation.record import JudgeCalibration
    from pe_training.lineage.recall import taints_of
    from pe_training.promotion.lapses import standing_or_fault
    from pe_training.promotion.record import PromotionDecision
    from pe_training.training.record import TrainingRun
    from pe_training.training.reproduction import happened
    from pe_training.views.approvals import standing_data, standing_view
    from pe_training.views.console import calibration_view, decision_view
    from pe_training.views.lists import record_view
    from pe_training.views.recalls import banner
    from pe_training.views.reproduction import run_facts

    state = open_state()
    registry = state.registry
    whole = registry.resolve(identifier)
    files = [file.content() for file in registry.attachments(whole)]
    recalls = taints_of(state, whole)
    named = {"recalls": [asdict(recall) for recall in recalls]}
    parents = registry.parents(whole) | (origins(state, whole) if kind_of(whole) == DatasetVersion.kind else {})
    data = {"id": whole, **named, "content": json.loads(registry.body(whole)), "parents": parents, "files": files}
    if kind_of(whole) == TrainingRun.kind:
        data |= happened(state, whole)
        return Answer(data=data, show=lambda: [*banner(recalls), record_view(data), run_facts(data)])
    if kind_of(whole) == PromotionDecision.kind:
        standing, problem = standing_or_fault(registry.get(whole, PromotionDecision), state=state)
        data |= {"approvals": standing_data(standing), "problem": problem}
        unknown = [problem] if problem else []
        return Answer(data=data, show=lambda: [*banner(recalls), decision_view(standing.decision), *standing_view(standing), *unknown])
    if kind_of(whole) == JudgeCalibration.kind:
        return Answer(data=data, show=lambda: [calibration_view(registry.get(whole, JudgeCalibration))])
    return Answer(data=data, show=lambda: [*banner(recalls), record_view(data)])


@answers
def verify(
    identifier: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="A record, or LINE@STAGE for what holds a stage; without one, everything.")
    ] = None,
    ledger: Annotated[
        bool, typer.Option("--ledger", help="Read the ledger instead, whole, and compare every row and audit with it.")
    ] = False,
    as_json: AsJson = False,
) -> Answer:
    """Recompute ids and digests of a record and all it was made from (or of everything). Exit 1 names what is damaged, first link first."""
    from pe_training.views.lists import verification_view

    if ledger and identifier:
        raise PeError(Kind.INPUT, "the ledger is one for all records", where="--ledger", hint="leave out the id, or --ledger")
    state = open_state()
    result = _ledger(state) if ledger else _records(identifier, state=state)
    first = asdict(result.first) if result.first else None
    return Answer(data=asdict(result) | {"ok": result.ok, "first": first}, show=lambda: [verification_view(result)], yes=result.ok)


def _records(identifier: str | None, *, state: State) -> Verification:
    from pe_training.lineage.held_proof import parse_held, verify_held
    from pe_training.lineage.verify import verify as verify_one
    from pe_training.lineage.verify import verify_all

    if identifier is None:
        return verify_all(state)
    if "@" in identifier:
        return verify_held(state, *parse_held(identifier))
    return verify_one(state, state.registry.resolve(identifier))


def _ledger(state: State) -> Verification:
    from pe_training.lineage.audit import check_ledger
    from pe_training.lineage.check import Verification

    walked, anchored = check_ledger(state, reach="whole")
    return Verification(
        records=walked.rows, compared=walked.entries + walked.rows + len(anchored), checks=(*walked.findings, *anchored), unit="row"
    )


VERBS: Verbs = {"ls": ls, "show": show, "verify": verify}
