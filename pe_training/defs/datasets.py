"""Graph of room 1: a release becomes a sealed dataset version, or is refused with every check shown."""

from collections.abc import Iterator

import dagster as dg

from pe_training.datasets.accept import accept
from pe_training.datasets.intake.bucket import new_releases_of, release_of_partition
from pe_training.datasets.report import CHECKS
from pe_training.defs.resources import Store
from pe_training.evaluation.suites import suite_prompts
from pe_training.views.markdown import dataset_markdown, validation_markdown
from pe_training.views.publish import publish_release

dataset_partitions = dg.DynamicPartitionsDefinition(name="dataset_version")


@dg.asset(
    partitions_def=dataset_partitions,
    group_name="datasets",
    kinds={"parquet"},
    output_required=False,
    check_specs=[dg.AssetCheckSpec(name, asset="dataset_version", blocking=True, partitions_def=dataset_partitions) for name in CHECKS],
)
def dataset_version(context: dg.AssetExecutionContext, store: Store) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
    """An accepted release, sealed as content-addressed Parquet and named by its rows."""
    state = store.open()
    suites = suite_prompts(state.settings.suite_folder)
    acceptance = accept(release_of_partition(state.settings, context.partition_key), suites=suites, state=state)
    page = publish_release(acceptance.release_digest, state=state)
    for check in acceptance.report.checks:
        yield dg.AssetCheckResult(
            check_name=check.name,
            passed=check.passed,
            severity=dg.AssetCheckSeverity.ERROR if check.refuses or check.passed else dg.AssetCheckSeverity.WARN,
            metadata={
                "value": check.observed,
                "threshold": check.threshold,
                "failing": check.failing,
                "where": ", ".join(check.where[:5]),
                "note": check.note or "",
                "page": dg.MetadataValue.path(page),
            },
        )
    dataset = acceptance.sealed()
    yield dg.MaterializeResult(
        data_version=dg.DataVersion(dataset.id),
        metadata={
            "summary": dg.MetadataValue.md(dataset_markdown(dataset)),
            "checks": dg.MetadataValue.md(validation_markdown(acceptance.report)),
            "id": dataset.id,
            "rows": dataset.rows,
            "page": dg.MetadataValue.path(page),
        },
    )


accept_dataset = dg.define_asset_job("accept_dataset", selection=[dataset_version], description="Validate and seal one release.")


@dg.sensor(job=accept_dataset, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def new_releases(context: dg.SensorEvaluationContext, store: Store) -> dg.SensorResult:
    """Accept every release that appears in the watched folder (PE_RELEASES) or bucket (PE_RELEASES_URL), once."""
    found = new_releases_of(store.open().settings, known=set(context.instance.get_dynamic_partitions("dataset_version")))
    if found.trouble:
        context.log.warning(found.trouble)
    return dg.SensorResult(
        skip_reason=found.trouble if not found.keys else None,
        run_requests=[dg.RunRequest(run_key=key, partition_key=key) for key in found.keys],
        dynamic_partitions_requests=[dataset_partitions.build_add_request(found.keys)] if found.keys else [],
    )
