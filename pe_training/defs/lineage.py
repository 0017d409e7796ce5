"""Graph of lineage: prove, on a schedule, that everything recorded is still what it was."""

import dagster as dg

from pe_training.defs.resources import Store
from pe_training.lineage.verify import verify_all


@dg.asset(group_name="lineage", check_specs=[dg.AssetCheckSpec("everything_verifies", asset="lineage_audit", blocking=True)])
def lineage_audit(store: Store) -> dg.MaterializeResult:
    """Recompute every record's id and every artifact's digest."""
    result = verify_all(store.open())
    damaged = [str(finding) for finding in result.findings]
    return dg.MaterializeResult(
        metadata={"records": result.records, "compared": result.compared, "damaged": len(damaged)},
        check_results=[
            dg.AssetCheckResult(
                check_name="everything_verifies",
                passed=result.ok,
                metadata={"value": len(damaged), "threshold": 0, "damaged": dg.MetadataValue.json(damaged[:20])},
            )
        ],
    )


audit = dg.define_asset_job("audit", selection=[lineage_audit], description="Verify everything.")
weekly_audit = dg.ScheduleDefinition(name="weekly_audit", job=audit, cron_schedule="0 4 * * 0", execution_timezone="UTC")
