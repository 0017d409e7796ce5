"""Graph of room 3: a plan becomes a checkpoint, in a process of its own."""

from datetime import UTC

import dagster as dg

from pe_training.defs.manifests import training_partitions, training_plan
from pe_training.defs.provenance import used
from pe_training.defs.resources import Compute, Store
from pe_training.manifests.record import ResolvedManifest
from pe_training.training.identity import plan_run
from pe_training.training.record import Checkpoint
from pe_training.training.reproduction import determinism, manifest_of, reproductions, sample_run
from pe_training.views.markdown import checkpoint_markdown
from pe_training.views.reproduction import determinism_text, reproduction_markdown

HELD_OUT = "held_out_loss_fell"
SAME = "same_to_the_bit"


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
        tags=used(training_plan=made.run_id),
        check_results=[
            dg.AssetCheckResult(
                check_name=HELD_OUT,
                passed=made.val_loss < made.val_loss_before,
                metadata={"value": round(made.val_loss, 4), "threshold": round(made.val_loss_before, 4)},
                severity=dg.AssetCheckSeverity.WARN,
            )
        ],
    )


class Again(dg.Config):
    """Which run is done again, and how far."""

    run: str = ""  # empty: the one that today's code on this machine would make of the manifest
    steps: int | None = None  # None: all
    anyway: bool = False  # also with other code or on other hardware than the run's


@dg.asset(
    partitions_def=training_partitions,
    group_name="training",
    deps=[checkpoint],
    kinds={"pytorch"},
    check_specs=[
        dg.AssetCheckSpec(
            SAME, asset="reproduction", partitions_def=training_partitions, description="Steps until the two first differ, of all compared."
        )
    ],
)
def reproduction(context: dg.AssetExecutionContext, config: Again, store: Store, compute: Compute) -> dg.MaterializeResult:
    """The run done again beside itself and compared step by step: how exactly it can be repeated. Nothing of the run is touched."""
    state = store.open()
    manifest = state.registry.get(context.partition_key, ResolvedManifest)
    run_id = config.run or plan_run(manifest).id
    options = [*(("--steps", str(config.steps)) if config.steps else ()), *(("--anyway",) if config.anyway else ())]
    words = [run_id, manifest.id, *options]
    compute.work("pe_training.training.reproduce", words, step="reproduction", compute=manifest.spec.compute, context=context, state=state)
    outcome = reproductions(state, run_id)[-1][1]
    found, named = outcome.comparison, determinism_text(determinism(state, run_id))
    summary = reproduction_markdown(outcome, determinism=named)
    return dg.MaterializeResult(
        metadata={
            "summary": dg.MetadataValue.md(summary),
            "run": run_id,
            "determinism": named,
            "loss_apart": found.largest_loss_difference,
        },
        tags=used(checkpoint=state.registry.the_answer(run_id, Checkpoint).id),
        check_results=[
            dg.AssetCheckResult(
                check_name=SAME,
                passed=outcome.identical,
                metadata={"value": found.identical_steps, "threshold": found.steps},
                severity=dg.AssetCheckSeverity.WARN,
            )
        ],
    )


reproduce_run = dg.define_asset_job("reproduce_run", selection=[reproduction], description="Do one finished run again and compare it.")


@dg.schedule(job=reproduce_run, cron_schedule="0 2 * * 6", execution_timezone="UTC")
def weekly_reproduction(context: dg.ScheduleEvaluationContext, store: Store) -> dg.RunRequest | dg.SkipReason:
    """Do one past run again: of the newest finished ones that can be reproduced here, the one that the day of the tick picks."""
    state = store.open()
    day = context.scheduled_execution_time.astimezone(UTC).date()
    run = sample_run(day, state=state)
    if run is None:
        return dg.SkipReason("no finished run was trained with today's code on this class of machine")
    manifest = manifest_of(state, run.id)
    context.instance.add_dynamic_partitions(training_partitions.name or "", [manifest.id])
    config = dg.RunConfig(ops={"reproduction": Again(run=run.id)})
    return dg.RunRequest(run_key=f"{day}:{run.id}", partition_key=manifest.id, run_config=config, tags={"run": run.id})
