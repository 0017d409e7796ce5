"""Graph of lineage: prove, on a schedule, that everything recorded is still what it was."""

from typing import Literal

import dagster as dg

from pe_training.defs.resources import Store
from pe_training.lineage.audit import Audit, audit


class AuditConfig(dg.Config):
    """How much of the ledger to read: what was written since the last audit, or all of it. Records and files are read whole anyway."""

    ledger: Literal["new", "whole"] = "new"


SPECS = [dg.AssetCheckSpec(name, asset="lineage_audit", blocking=True) for name in ("everything_verifies", "everything_is_reached")]


@dg.asset(group_name="lineage", check_specs=SPECS)
def lineage_audit(store: Store, config: AuditConfig) -> dg.MaterializeResult:
    """Recompute every record's id and every artifact's digest, walk the ledger, and anchor its end outside the registry."""
    result = audit(store.open(), ledger=config.ledger)
    return dg.MaterializeResult(metadata=_metadata(result), check_results=[_verifies(result), _reached(result)])


def _metadata(result: Audit) -> dict[str, str | int | float]:
    return {
        "damaged": len(result.findings),
        "records": result.verification.records,
        "files": result.verification.objects,
        "compared": result.verification.compared,
        "completeness": round(result.completeness, 4),
        "ledger_entries": result.walked.head.seq,
        "ledger_entries_read": result.walked.entries,
        "ledger_rows_compared": result.walked.rows,
        "anchor": result.anchor.name if result.anchor else "none: something is damaged",
    }


def _verifies(result: Audit) -> dg.AssetCheckResult:
    damaged = [str(finding) for finding in result.findings]
    return dg.AssetCheckResult(
        check_name="everything_verifies",
        passed=not damaged and result.verification.compared > 0,
        metadata={"value": len(damaged), "threshold": 0, "damaged": dg.MetadataValue.json(damaged[:20])},
    )


def _reached(result: Audit) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name="everything_is_reached",
        passed=result.completeness >= 1,
        metadata={"value": round(result.completeness, 4), "threshold": 1.0, "records": result.records, "files": result.files},
    )


audit_job = dg.define_asset_job("audit", selection=[lineage_audit], description="Verify everything.")
nightly_audit = dg.ScheduleDefinition(name="nightly_audit", job=audit_job, cron_schedule="0 4 * * *", execution_timezone="UTC")
weekly_ledger = dg.ScheduleDefinition(
    name="weekly_ledger", job=audit_job, cron_schedule="0 5 * * 0", execution_timezone="UTC",
    run_config={"ops": {"lineage_audit": {"config": {"ledger": "whole"}}}},
)  # fmt: skip
