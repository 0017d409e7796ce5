"""The graph of reproduction: the week's run is the one that its day picks, and what was found is a check beside the run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from pe_training.compute.dagster_home import open_instance
from pe_training.definitions import defs
from pe_training.defs.resources import Store
from pe_training.settings import SAMPLES, Settings
from pe_training.storage.state import State
from pe_training.training.reproduction import determinism
from pe_training_tests.training.runs import manifest_with, prepare_run
from pe_training_tests.training.test_reproduce import SMALL

pytestmark = [  # about Dagster's own Pipes, which it calls itself
    pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"),
    pytest.mark.filterwarnings("ignore:AssetExecutionContext.run_id is deprecated:DeprecationWarning"),
]
SATURDAY = datetime(2026, 11, 28, 2, tzinfo=UTC)


def tick(instance: dg.DagsterInstance, at: datetime) -> dg.RunRequest | dg.SkipReason:
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=at, resources={"store": Store()})
    found = defs().get_repository_def().get_schedule_def("weekly_reproduction")(context)
    assert isinstance(found, dg.RunRequest | dg.SkipReason)
    return found


@pytest.mark.slow
def test_a_tick_asks_for_a_finished_run_and_the_job_records_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PE_HOME", str(tmp_path / "home"))
    prepared = prepare_run(tmp_path / "home", manifest_with((SAMPLES / "manifests" / "smoke.yaml").read_text(), *SMALL))
    with open_instance(Settings()) as instance:
        assert tick(instance, SATURDAY) == dg.SkipReason("no finished run was trained with today's code on this class of machine")
        prepared.finish()
        request = tick(instance, SATURDAY)
        assert isinstance(request, dg.RunRequest)
        assert request == tick(instance, SATURDAY)
        assert (request.partition_key, request.run_key) == (prepared.manifest, f"2026-11-28:{prepared.run}")
        assert instance.has_dynamic_partition("training_run", prepared.manifest)
        job = defs().resolve_job_def("reproduce_run")
        done = job.execute_in_process(instance=instance, partition_key=prepared.manifest, run_config=request.run_config)
        (check,) = done.get_asset_check_evaluations()
        (made,) = done.asset_materializations_for_node("reproduction")
    assert (check.passed, check.metadata["value"].value, check.metadata["threshold"].value) == (True, 4, 4)
    assert made.metadata["determinism"].value == "bitwise"
    assert str(made.metadata["summary"].value).startswith(
        "**identical to the bit: weights, history and gradients of 20 tensors over 4 steps**"
    )
    assert determinism(State(Settings()), prepared.run) == "bitwise"


def test_materialising_a_plan_and_all_below_it_does_not_train_twice() -> None:
    selected = defs().resolve_job_def("train_and_promote").asset_layer.executable_asset_keys
    assert dg.AssetKey("checkpoint") in selected
    assert dg.AssetKey("reproduction") not in selected


def test_the_schedule_is_off_until_somebody_turns_it_on() -> None:
    assert defs().get_repository_def().get_schedule_def("weekly_reproduction").default_status is dg.DefaultScheduleStatus.STOPPED
