"""Graph of room 2: a manifest becomes a plan. From here on a partition is one resolved manifest, one candidate."""

import json

import dagster as dg

from pe_training.core.errors import PeError
from pe_training.datasets.catalog import partition_key
from pe_training.datasets.inbox import waiting_release
from pe_training.defs.datasets import accept_dataset, dataset_partitions, dataset_version
from pe_training.defs.provenance import used
from pe_training.defs.resources import Store
from pe_training.manifests.plan import make_plan
from pe_training.manifests.record import ResolvedManifest
from pe_training.manifests.resolve import read_manifest, resolve
from pe_training.promotion.inputs import check_inputs
from pe_training.training.environment import changes_since_last_run
from pe_training.training.identity import plan_run
from pe_training.training.needs import require_machine
from pe_training.views.markdown import plan_markdown

training_partitions = dg.DynamicPartitionsDefinition(name="training_run")


@dg.asset(
    partitions_def=training_partitions,
    group_name="manifests",
    deps=[dg.AssetDep(dataset_version, partition_mapping=dg.AllPartitionMapping())],
    kinds={"yaml"},
)
def training_plan(context: dg.AssetExecutionContext, store: Store) -> dg.MaterializeResult:
    """What will run: pinned inputs, steps, tokens, time and cost with a range. Registers the run."""
    state = store.open()
    manifest = state.registry.get(context.partition_key, ResolvedManifest)
    policy = check_inputs(manifest, state=state)
    run = plan_run(manifest)
    require_machine(manifest.spec)
    plan = make_plan(manifest, run_id=run.id, environment=changes_since_last_run(manifest, state=state), state=state)
    state.registry.put(run)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(run.id),
        metadata={
            "summary": dg.MetadataValue.md(plan_markdown(plan)),
            "run": run.id,
            "policy": policy.name,
            **({"cost_usd_high": round(plan.cost_usd.high, 4)} if plan.cost_usd else {}),
        },
        tags=used(dataset_version=manifest.spec.dataset.version),
    )


train_and_promote = dg.define_asset_job(
    "train_and_promote",
    selection=dg.AssetSelection.assets("training_plan").downstream() - dg.AssetSelection.assets("reproduction"),
    description="One manifest, from its plan to its promotion decision and stages.",
)


@dg.sensor(jobs=[accept_dataset, train_and_promote], minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def new_manifests(context: dg.SensorEvaluationContext, store: Store) -> dg.SensorResult:
    """Run every manifest that appears or changes in the watched folder (PE_MANIFESTS); name the ones that cannot be read.

    A manifest whose dataset still waits to be accepted asks for that first, and is looked at again on the next tick.
    """
    state = store.open()
    seen: dict[str, float] = json.loads(context.cursor or "{}")
    requests: list[dg.RunRequest] = []
    releases, candidates = [], []
    for path in sorted(state.settings.manifest_folder.glob("*.yaml")):
        changed = path.stat().st_mtime
        if seen.get(path.name) == changed:
            continue
        try:
            spec = read_manifest(path)
            waiting = waiting_release(state, name=spec.dataset.name, version=spec.dataset.version)
            manifest = None if waiting else resolve(spec, state=state)
        except PeError as error:
            context.log.error(str(error))
            seen[path.name] = changed
            continue
        if manifest is None:
            assert waiting is not None
            key = partition_key(waiting)
            releases.append(key)
            requests.append(dg.RunRequest(run_key=f"{path.name}:{key}", job_name=accept_dataset.name, partition_key=key))
            continue
        state.registry.put(manifest)
        candidates.append(manifest.id)
        requests.append(dg.RunRequest(run_key=manifest.id, job_name=train_and_promote.name, partition_key=manifest.id))
        seen[path.name] = changed
    added = [
        partitions.build_add_request(keys)
        for partitions, keys in ((dataset_partitions, releases), (training_partitions, candidates))
        if keys
    ]
    return dg.SensorResult(run_requests=requests, dynamic_partitions_requests=added, cursor=json.dumps(seen))
