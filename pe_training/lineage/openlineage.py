"""The chain behind a model or a decision as OpenLineage events: each step a run of a job, with what went in and what came out.

A step has its START and its COMPLETE. Ids of runs follow from the records' ids, and times are those of the registry, so that sending
the events again says nothing new. Source: OpenLineage 2-0-2.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from pe_training.lineage.bill import NAMESPACE
from pe_training.lineage.evidence import PRODUCER, Evidence, stored_at
from pe_training.storage import tables as t
from pe_training.storage.state import State

SPEC = "https://openlineage.io/spec"
EVENT = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
_VERSION = f"{SPEC}/facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet"
_JOB_TYPE = f"{SPEC}/facets/2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet"
SPACE = "pe_training"
Event = dict[str, Any]


def events(state: State, evidence: Evidence) -> list[Event]:
    """All events, in the order in which the steps were done."""
    run, checkpoint, dataset = evidence.run, evidence.checkpoint, evidence.dataset
    data, model = _named(f"dataset/{dataset.name}", dataset.id), _named(f"model/{checkpoint.line}", checkpoint.id)
    steps = [
        *_step("accept", dataset.name, dataset.id, stored_at(state, dataset.id), inputs=_releases(state, dataset.id), outputs=[data]),
        *_step("training", run.line, run.id, evidence.ended, began=evidence.began, inputs=[data], outputs=[model]),
    ]
    report, decision = evidence.report, evidence.decision
    if report is None or decision is None:
        return steps
    shown, verdict = _named(f"report/{report.line}", report.id), _named(f"decision/{decision.line}/{decision.stage}", decision.id)
    steps += _step("evaluation", report.line, report.id, stored_at(state, report.id), inputs=[model], outputs=[shown])
    steps += _step("decision", decision.line, decision.id, stored_at(state, decision.id), inputs=[model, shown], outputs=[verdict])
    for seq, stage, at in _moves(state, decision.id, checkpoint.id):
        held = _named(f"stage/{decision.line}/{stage}", checkpoint.id)
        steps += _step("promotion", decision.line, f"{decision.id}/{seq}", at, inputs=[model, verdict], outputs=[held])
    return steps


def _step(
    job: str, line: str, identity: str, ended: str, *, inputs: list[Event], outputs: list[Event], began: str | None = None
) -> Iterator[Event]:
    """Both events of one step."""
    kind = {"processingType": "BATCH", "integration": "PE_TRAINING", "jobType": job.upper()}
    said = {
        "producer": PRODUCER,
        "schemaURL": EVENT,
        "run": {"runId": str(uuid.uuid5(NAMESPACE, identity)), "facets": {}},
        "job": {"namespace": SPACE, "name": f"{job}.{line}", "facets": {"jobType": _facet(_JOB_TYPE, kind)}},
        "inputs": [one | {"inputFacets": {}} for one in inputs],
        "outputs": [one | {"outputFacets": {}} for one in outputs],
    }
    yield {"eventType": "START", "eventTime": began or ended} | said
    yield {"eventType": "COMPLETE", "eventTime": ended} | said


def _named(name: str, version: str) -> Event:
    return {"namespace": SPACE, "name": name, "facets": {"version": _facet(_VERSION, {"datasetVersion": version})}}


def _facet(schema: str, said: dict[str, str]) -> dict[str, str]:
    return {"_producer": PRODUCER, "_schemaURL": schema} | said


def _releases(state: State, dataset_id: str) -> list[Event]:
    """The releases that became this version."""
    r = t.releases.c
    query = sa.select(r.name, r.version, r.digest).where(r.dataset_id == dataset_id, r.outcome == "accepted").order_by(r.seq)
    with state.registry.reading() as connection:
        rows = connection.execute(query).all()
    return [_named(f"release/{row.name}/{row.version}", row.digest) for row in rows]


def _moves(state: State, decision_id: str, checkpoint_id: str) -> list[tuple[int, str, str]]:
    """Stages that this decision brought the model into, in order."""
    m = t.stage_moves.c
    query = sa.select(m.seq, m.stage, m.at).where(m.decision_id == decision_id, m.to_id == checkpoint_id).order_by(m.seq)
    with state.registry.reading() as connection:
        return [(int(row.seq), str(row.stage), str(row.at)) for row in connection.execute(query)]
