"""Graph of room 3: a plan becomes a checkpoint, in a process of its own."""

import dagster as dg

from pe_training.defs.manifests import training_partitions, training_plan
from pe_training.defs.resources import Compute, Store
from pe_training.manifests.record import ResolvedManifest
from pe_training.training.identity import plan_run
from pe_training.training.record import Checkpoint
from pe_training.views.markdown import checkpoint_markdown

HELD_OUT = "held_out_loss_fell"


@dg.asset(
    partitions_def=training_partitions,
    group_name="training",
    deps=[training_plan],
    kinds={"pytorch"},
    check_specs=[
        dg.AssetCheckSpec(
            HELD_OUT, asset="checkpoint", partitions_def=training_partitions, description="Held-out loss against the untrained start."
        )
    ],
)
def checkpoint(context: dg.AssetExecutionContext, store: Store, compute: Compute) -> dg.MaterializeResult:
    """The model that a run ends with. Trains once: the same run again returns the same checkpoint."""
    state = store.open()
    manifest = state.registry.get(context.partition_key, ResolvedManifest)
    run, spec = plan_run(manifest), manifest.spec.compute
    compute.work("pe_training.training", [run.id, manifest.id], step="training", compute=spec, context=context, state=state)
    made = state.registry.the_answer(run.id, Checkpoint)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(made.id),
        metadata={"summary": dg.MetadataValue.md(checkpoint_markdown(made)), "id": made.id, "val_loss": round(made.val_loss, 4)},
        check_results=[
            dg.AssetCheckResult(
                check_name=HELD_OUT,
                passed=made.val_loss < made.val_loss_before,
                metadata={"value": round(made.val_loss, 4), "threshold": round(made.val_loss_before, 4)},
                severity=dg.AssetCheckSeverity.WARN,
            )
        ],
    )
