"""Graph of room 4: a checkpoint becomes an evaluation report, in a process of its own."""

import dagster as dg

from pe_training.defs.manifests import training_partitions
from pe_training.defs.resources import Compute, Store
from pe_training.defs.training import checkpoint
from pe_training.evaluation.record import EvaluationReport
from pe_training.evaluation.request import evaluation_request
from pe_training.manifests.record import ResolvedManifest
from pe_training.training.identity import plan_run
from pe_training.training.record import Checkpoint
from pe_training.views.markdown import report_markdown


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
