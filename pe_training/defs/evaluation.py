"""Graph of room 4: a checkpoint becomes an evaluation report, in a process of its own."""

from collections.abc import Iterator

import dagster as dg

from pe_training.core.ids import digest_json
from pe_training.defs.manifests import training_partitions
from pe_training.defs.resources import Compute, Store
from pe_training.defs.training import checkpoint
from pe_training.evaluation.calibration import calibrations
from pe_training.evaluation.judges import rules
from pe_training.evaluation.record import EvaluationReport
from pe_training.evaluation.request import evaluation_request
from pe_training.manifests.record import ResolvedManifest
from pe_training.training.identity import plan_run
from pe_training.training.record import Checkpoint
from pe_training.views.markdown import calibration_markdown, report_markdown


def check_name(judge: str) -> str:
    """A judge's name as Dagster lets a check be called."""
    return judge.replace("-", "_")


@dg.asset(
    group_name="evaluation",
    check_specs=[dg.AssetCheckSpec(check_name(judge.name), asset="judge_calibration") for judge in rules()],
)
def judge_calibration(store: Store) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """How far each judge of replies agrees with people, label by label. What it may not be relied on for is not measured."""
    found = calibrations(store.open())
    yield dg.MaterializeResult(
        data_version=dg.DataVersion(digest_json([calibration.id for calibration in found])),
        metadata={
            "summary": dg.MetadataValue.md(calibration_markdown(found)),
            "ids": ", ".join(calibration.id for calibration in found),
            "labels": sum(len(calibration.agreements) for calibration in found),
        },
    )
    for calibration in found:
        lapses = {agreement.label: agreement.lapse for agreement in calibration.agreements if agreement.lapse}
        yield dg.AssetCheckResult(
            check_name=check_name(calibration.judge),
            passed=not lapses,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"id": calibration.id, "replies": calibration.replies, "not relied on": lapses},
        )


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
    )
