"""A manifest's own records, followed from its recipe to its decision: what is there, and the step that makes the last one."""

from __future__ import annotations

from dataclasses import dataclass

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.evaluation.record import EvaluationReport
from pe_training.evaluation.request import evaluation_request
from pe_training.manifests.record import ResolvedManifest
from pe_training.promotion.inputs import pinned_policy
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.verdict import answered, judge
from pe_training.storage.state import State
from pe_training.training.identity import plan_run
from pe_training.training.record import Checkpoint, TrainingRun


@dataclass(frozen=True, kw_only=True)
class Chain:
    """What exists of a manifest's chain on this machine, from the run on."""

    manifest: ResolvedManifest
    run: TrainingRun
    checkpoint: Checkpoint | None
    report: EvaluationReport | None
    decision: PromotionDecision | None


def chain_of(manifest: ResolvedManifest, *, state: State) -> Chain:
    """Follow the chain as far as it goes."""
    run = plan_run(manifest)
    checkpoint = state.registry.answer(run.id, Checkpoint)
    report = state.registry.answer(evaluation_request(checkpoint, manifest), EvaluationReport) if checkpoint else None
    decision = answered(report, manifest, pinned_policy(manifest, state=state), state=state).answer if report else None
    return Chain(manifest=manifest, run=run, checkpoint=checkpoint, report=report, decision=decision)


def decide_manifest(manifest: ResolvedManifest, *, state: State) -> PromotionDecision:
    """The decision on a manifest's report: the one there is, or the first. Raises not_found where there is no report yet."""
    report = chain_of(manifest, state=state).report
    if report is None:
        message = f"the manifest {short(manifest.id)} has no evaluation report yet"
        raise PeError(Kind.NOT_FOUND, message, hint="materialise evaluation_report for this partition first")
    return judge(report.id, manifest_id=manifest.id, state=state)
