"""The graph as a whole, frozen: keys, dependencies, groups, partitions, checks, jobs, sensors, schedules."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from pe_training.definitions import defs


@pytest.fixture(scope="module")
def loaded() -> dg.Definitions:
    return defs()


def test_the_graph_is_the_one_we_mean(loaded: dg.Definitions, snapshot: SnapshotAssertion) -> None:
    repository = loaded.get_repository_def()
    assets: dict[str, Any] = {}
    for spec in loaded.resolve_all_asset_specs():
        assets[spec.key.to_user_string()] = {
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "group": spec.group_name,
            "partitions": getattr(spec.partitions_def, "name", None),
        }
    checks = sorted(f"{key.asset_key.to_user_string()}:{key.name}" for key in loaded.resolve_asset_graph().asset_check_keys)
    found = {
        "assets": assets,
        "checks": checks,
        "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
        "sensors": {sensor.name: sensor.default_status.value for sensor in repository.sensor_defs},
        "schedules": {schedule.name: schedule.cron_schedule for schedule in repository.schedule_defs},
    }
    assert found == snapshot


def test_all_that_a_shipped_policy_asks_is_a_check_of_the_decision() -> None:
    from pe_training.defs.promotion import RULES
    from pe_training.promotion.policy import load_policy
    from pe_training.settings import SAMPLES

    named = {name for path in (SAMPLES / "policies").glob("*.yaml") for name in load_policy(path).ids}
    assert named == set(RULES)


def test_the_code_location_loads_nothing_heavy() -> None:
    code = (
        "import sys; from pe_training.definitions import defs; defs(); "
        "heavy = {'torch', 'lightning', 'transformers', 'great_expectations', 'wandb', 'pandas', 'sklearn'} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
