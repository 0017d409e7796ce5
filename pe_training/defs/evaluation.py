"""Graph of room 4: a checkpoint becomes an evaluation report, in a process of its own."""

from collections.abc import Iterator, Mapping

import dagster as dg

from pe_training.core.ids import digest_json
from pe_training.defs.manifests import training_partitions
from pe_training.defs.provenance import used
from pe_training.defs.resources import Compute, Store
from pe_training.defs.training import checkpoint
from pe_training.evaluation.calibration import calibrations, further_calibrations
from pe_training.evaluation.judges import rules
from pe_training.evaluation.record import EvaluationReport
from pe_training.evaluation.request import evaluation_request
from pe_training.manifests.record import ResolvedManifest
from pe_training.training.identity import plan_run
from pe_training.training.record import Checkpoint
from pe_training.views.markdown import calibration_markdown, further_judges_markdown, report_markdown


def check_name(judge: str) -> str:
    """A judge's name as Dagster lets a check be called."""
    return judge.replace("-", "_")


FURTHER = "further_judges"  # one check for all: which there are is not known when the graph is made


@dg.asset(
    group_name="evaluation",
    check_specs=[dg.AssetCheckSpec(name, asset="judge_calibration") for name in (*(check_name(judge.name) for judge in rules()), FURTHER)],
)
def judge_calibration(store: Store) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """How far each judge of replies agrees with people, label by label. What it may not be relied on for is not measured.

    The word lists are compared anew; of trained and external judges this shows the newest calibration on record.
    """
    state = store.open()
    found, further = calibrations(state), further_calibrations(state)
    every = (*found, *further)
    yield dg.MaterializeResult(
        data_version=dg.DataVersion(digest_json([calibration.id for calibration in every])),
        metadata={
            "summary": dg.MetadataValue.md(calibration_markdown(found)),
            "further judges": dg.MetadataValue.md(further_judges_markdown(further)),
            "ids": ", ".join(calibration.id for calibration in every),
            "labels": sum(len(calibration.agreements) for calibration in found),
        },
    )
    for calibration in found:
        yield _judged(check_name(calibration.judge), calibration.lapses, id=calibration.id, replies=calibration.replies)
    lapses = {f"{one.judge}: {label}": lapse for one in further for label, lapse in one.lapses.items()}
    yield _judged(FURTHER, lapses, judges=len(further))


def _judged(check: str, lapses: Mapping[str, str], **facts: str | int) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(check_name=check, passed=not lapses, severity=severity, metadata={**facts, "not relied on": dict(lapses)})


@dg.asset(partitions_def=training_partitions, group_name="evaluation", deps=[checkpoint], kinds={"pytorch"})
def evaluation_report(context: dg.AssetExecutionContext, store: Store, compute: Compute) -> dg.MaterializeResult:
    """What the model answered, measured: every number with n and a 95 % interval, beside the base model."""
    state = store.open()
    manifest = state.registry.get(context.partition_key, ResolvedManifest)
    model, spec = state.registry.the_answer(plan_run(manifest).id, Checkpoint), manifest.spec.compute
    compute.work("pe_training.evaluation", [model.id, manifest.id], step="evaluation", compute=spec, context=context, state=state)
    report = state.registry.the_answer(evaluation_request(model, manifest), EvaluationReport)
    headline = {f"{m.suite}/{m.name}": round(m.tuned.value, 4) for m in report.metrics if m.tuned and m.slice == "all"}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(report.id),
        metadata={"summary": dg.MetadataValue.md(report_markdown(report)), "id": report.id, **headline},
        tags=used(checkpoint=report.checkpoint_id),
    )
