"""Graph of costs: what was spent, by model line, on a schedule."""

import dagster as dg

from pe_training.costs.ledger import ledger
from pe_training.defs.resources import Store
from pe_training.views.markdown import costs_markdown


@dg.asset(group_name="costs")
def cost_report(store: Store) -> dg.MaterializeResult:
    """The newest charges and their sum."""
    rows = ledger(store.open())
    return dg.MaterializeResult(
        metadata={
            "summary": dg.MetadataValue.md(costs_markdown(rows)),
            "charges": len(rows),
            "total_usd": float(sum(row.cost_usd for row in rows)),
        }
    )


report_costs = dg.define_asset_job("report_costs", selection=[cost_report], description="Sum up the ledger.")
daily_costs = dg.ScheduleDefinition(name="daily_costs", job=report_costs, cron_schedule="0 6 * * *", execution_timezone="UTC")
