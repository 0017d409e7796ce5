"""The records behind one model or one decision about it, read once, as the exports need them."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from pe_training import __version__
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_bytes, kind_of, short
from pe_training.core.records import Attachment, Record
from pe_training.datasets.record import DatasetVersion
from pe_training.evaluation.record import EvaluationReport
from pe_training.manifests.record import BaseModelPin, ResolvedManifest
from pe_training.promotion.record import PromotionDecision
from pe_training.storage import tables as t
from pe_training.storage.state import State
from pe_training.training.events import events
from pe_training.training.record import Checkpoint, TrainingRun

PRODUCER = "urn:pe-training"
TOOL = {"name": "pe_training", "version": __version__}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A model with its past, and report, manifest and decision where a decision was asked for. Times are those of the registry."""

    checkpoint: Checkpoint
    run: TrainingRun
    dataset: DatasetVersion
    began: str
    ended: str
    report: EvaluationReport | None = None
    manifest: ResolvedManifest | None = None
    decision: PromotionDecision | None = None


def evidence_of(state: State, identifier: str) -> Evidence:
    """What is behind a checkpoint (``ck_``) or a decision (``pd_``), by whole id. Raises input for other kinds, not_found, corrupt."""
    get, kind = state.registry.get, kind_of(identifier)
    if kind not in {Checkpoint.kind, PromotionDecision.kind}:
        hint = "name a checkpoint (ck_) or a decision about one (pd_)"
        raise PeError(Kind.INPUT, f"{short(identifier)} is neither a model nor a decision", hint=hint)
    decision = get(identifier, PromotionDecision) if kind == PromotionDecision.kind else None
    checkpoint = get(decision.checkpoint_id if decision else identifier, Checkpoint)
    run = get(checkpoint.run_id, TrainingRun)
    ended = stored_at(state, checkpoint.id)
    started = [at for at, what, _ in events(state, run.id) if what == "started"]
    return Evidence(
        checkpoint=checkpoint,
        run=run,
        dataset=get(run.dataset_id, DatasetVersion),
        began=min([*started, ended]),
        ended=ended,
        report=get(decision.report_id, EvaluationReport) if decision else None,
        manifest=get(decision.manifest_id, ResolvedManifest) if decision else None,
        decision=decision,
    )


def stored_at(state: State, identifier: str) -> str:
    """When a record was stored. Raises not_found."""
    query = sa.select(t.records.c.created_at).where(t.records.c.id == identifier)
    with state.registry.reading() as connection:
        found = connection.execute(query).scalar()
    if found is None:
        raise PeError(Kind.NOT_FOUND, f"no record {short(identifier)}", hint="`pe ls` lists the kinds")
    return str(found)


def newest_report(state: State, checkpoint_id: str) -> EvaluationReport | None:
    """The last report on a model, or ``None``."""
    r, e = t.records.c, t.edges.c
    query = sa.select(r.id).where(e.parent == checkpoint_id, e.role == "checkpoint", r.id == e.child, r.kind == EvaluationReport.kind)
    with state.registry.reading() as connection:
        found = connection.execute(query.order_by(r.seq.desc()).limit(1)).scalar()
    return state.registry.get(str(found), EvaluationReport) if found else None


def uri(identifier: str) -> str:
    """A record as a URI."""
    return f"{PRODUCER}:{identifier}"


def hex_of(digest: str) -> str:
    """The hexadecimal digits of a ``sha256:`` digest."""
    return digest.removeprefix("sha256:")


def text_digest(record: Record) -> str:
    """SHA-256 of a record's canonical text, all of it; its id is made from the identity alone."""
    return hex_of(digest_bytes(record.to_json().encode()))


def pinned(base: BaseModelPin) -> dict[str, str]:
    """What a base model is pinned by, as a set of digests."""
    algorithm, _, value = base.pin.partition(":")
    return {"gitCommit" if algorithm == "git" else algorithm: value}


def weights_of(files: tuple[Attachment, ...]) -> list[dict[str, object]]:
    """Files by name and digest, as in-toto's resource descriptors have them."""
    return [{"name": file.path, "digest": {"sha256": hex_of(file.digest)}} for file in sorted(files, key=lambda file: file.path)]
