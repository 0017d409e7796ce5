"""What a verdict rests on besides the report: who held the stage, what was trained on, who judged, how old that is, which try it is.

:func:`gather` reads it from the registry, so that judging itself stays pure and can be done again. What a clock says is no part of a
decision: ages follow from when records were stored, and a decision is derived again as of the moment at which it was stored itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import sqlalchemy as sa

from pe_training.core.ids import digest_json, kind_of
from pe_training.datasets.read import read_training
from pe_training.datasets.record import DatasetVersion
from pe_training.evaluation.record import EvaluationReport, JudgeCalibration
from pe_training.manifests.schema import DatasetRef
from pe_training.promotion.policy import Policy
from pe_training.promotion.record import Holder, PromotionDecision
from pe_training.storage.state import State
from pe_training.storage.tables import records, stages
from pe_training.storage.taints import taints_in
from pe_training.training.record import Checkpoint, TrainingRun

CLOCKS_DIFFER_S = 300  # at most: between machines that share a registry, and between judging and storing
Rows = dict[str, dict[str, dict[str, int]]]  # phase -> family -> licence -> rows


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """What a model, or one that it started from, learnt from: the rows of a dataset version that its mixture could draw.

    ``rows`` is ``None`` for a model that was imported: nobody knows.
    """

    source_id: str
    rows: Rows | None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """``None`` where nobody looked, which is no evidence. ``stale``: of report, calibration and dataset the ids that are too old."""

    holder: Holder | None = None
    trained_on: tuple[TrainedOn, ...] | None = None
    calibrations: Mapping[str, JudgeCalibration] = field(default_factory=dict)
    evidence: Mapping[str, tuple[str, ...]] | None = None
    stale: frozenset[str] = frozenset()
    attempt: int | None = None


NOTHING = Facts()


def gather(report: EvaluationReport, checkpoint: Checkpoint, policy: Policy, *, at: datetime, state: State) -> Facts:
    """What ``policy`` asks about, as the registry has it. ``at``: when it is judged. The attempt is counted in :func:`attempt_in`."""
    worth = report.calibrations or {}
    evidence = {
        "report": (report.id,),
        "calibration": tuple(sorted(worth.values())),
        "dataset": tuple(dict.fromkeys(source for source, _ in _sources(checkpoint, state=state))),
    }
    return Facts(
        holder=holder(report.line, policy.stage, state=state) if policy.compares else None,
        trained_on=tuple(trained_on(checkpoint, state=state)) if policy.training_data else None,
        calibrations={judge: state.registry.get(worth[judge], JudgeCalibration) for judge in sorted(worth) if policy.calibrations},
        evidence=evidence if policy.freshness else None,
        stale=frozenset(_stale(policy, evidence, at=at, state=state)),
    )


def holder(line: str, stage: str, *, state: State) -> Holder:
    """What holds the stage now."""
    s = stages.c
    with state.registry.reading() as connection:
        held = (s.line == line, s.stage == stage, s.withdrawn.is_(None))
        found = connection.execute(sa.select(s.checkpoint_id).where(*held)).scalar()
        return Holder() if found is None else Holder(checkpoint_id=str(found), recalled=bool(taints_in(connection, str(found))))


def trained_on(checkpoint: Checkpoint, *, state: State) -> Iterator[TrainedOn]:
    """What a checkpoint and those that it started from learnt from, its own dataset first. Raises not_found or corrupt."""
    for identifier, asked in _sources(checkpoint, state=state):
        if asked is None:
            yield TrainedOn(source_id=identifier, rows=None)
            continue
        found = read_training(state.registry.get(identifier, DatasetVersion), state=state)
        drawn = {
            phase: {family: rows for family, rows in families.items() if not asked.mixture or family in asked.mixture}
            for phase, families in found.items()
        }
        yield TrainedOn(source_id=identifier, rows={phase: families for phase, families in drawn.items() if families})


def _sources(checkpoint: Checkpoint, *, state: State) -> Iterator[tuple[str, DatasetRef | None]]:
    """Ids of dataset versions with what the recipe says of them, up the chain of parents; last an imported model, where it begins so."""
    while True:
        run = state.registry.get(checkpoint.run_id, TrainingRun)
        yield run.dataset_id, DatasetRef.model_validate(run.recipe["dataset"])
        parent = run.recipe["model"].get("parent")
        if parent is None:
            return
        if kind_of(parent) != Checkpoint.kind:
            yield parent, None
            return
        checkpoint = state.registry.get(parent, Checkpoint)


def _stale(policy: Policy, evidence: Mapping[str, tuple[str, ...]], *, at: datetime, state: State) -> Iterator[str]:
    """Records older than the policy allows, or dated after ``at``: a clock that went wrong makes nothing fresh."""
    for kind, days in (policy.freshness.limits if policy.freshness else {}).items():
        for identifier in evidence[kind]:
            place = place_of(identifier, state=state)
            age_s = (at - place.stored_at).total_seconds() if place else math.inf
            if not -CLOCKS_DIFFER_S <= age_s <= days * 86_400:
                yield identifier


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and when a record stands in the registry (UTC)."""

    seq: int
    stored_at: datetime


def place_of(identifier: str, *, state: State) -> Place | None:
    """Of a record; ``None`` where it is not stored."""
    with state.registry.reading() as connection:
        row = connection.execute(sa.select(records.c.seq, records.c.created_at).where(records.c.id == identifier)).first()
    if row is None:
        return None
    return Place(seq=row.seq, stored_at=datetime.strptime(str(row.created_at), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC))


def attempt_in(connection: sa.Connection, *, line: str, stage: str, before: int | None = None) -> int:
    """The how-manieth try of a line for a stage a decision is that is stored now, or that has the sequence number ``before``.

    Every decision of the line for the stage is one, whatever its policy was called: a new name buys no new chance. Where others may
    write at the same time they wait here until this transaction ends.
    """
    if connection.dialect.name == "postgresql" and before is None:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_lock_number(line, stage))))
    r = records.c
    query = sa.select(sa.func.count()).select_from(records).where(r.kind == PromotionDecision.kind, r.label == line)
    query = query.where(r.body.contains(f',"stage":"{stage}",', autoescape=True))  # canonical JSON writes it so, once
    query = query.where(r.seq < before) if before is not None else query
    return int(connection.execute(query).scalar_one()) + 1


def _lock_number(line: str, stage: str) -> int:
    """A signed 64-bit number for the pair; two that collide only wait for each other."""
    digest = digest_json({"line": line, "stage": stage}).removeprefix("sha256:")
    return int.from_bytes(bytes.fromhex(digest[:16]), "big", signed=True)
