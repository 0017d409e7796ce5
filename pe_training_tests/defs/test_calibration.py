"""The asset of judge calibrations: records, a check for each judge, a table for people."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from pe_training.definitions import defs
from pe_training.evaluation.calibration import calibrations
from pe_training.evaluation.record import JudgeCalibration
from pe_training.settings import Settings
from pe_training.storage.state import State


def test_the_asset_keeps_each_calibration_as_a_record_and_checks_every_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PE_HOME", str(tmp_path / "home"))
    state = State(Settings(home=tmp_path / "home"))
    job = defs().resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(asset_selection=[dg.AssetKey("judge_calibration")])
    assert result.success
    kept = calibrations(state)
    for found in kept:
        assert state.registry.get(found.id, JudgeCalibration) == found
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert checks == {"lexical_v3": False, "conduct_v1": True}
    (made,) = result.asset_materializations_for_node("judge_calibration")
    assert "23 of 25 labels** may be relied on" in str(made.metadata["summary"].value)
