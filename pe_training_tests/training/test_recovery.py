"""A loss that jumps rolls the run back to a good state, passes over the bad data and slows it down; or ends it by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from pe_training.core.errors import Kind
from pe_training_tests.e2e.chain import pe, smoke_with

pytestmark = pytest.mark.slow
WILD = ("learning_rate: 3.0e-3", "learning_rate: 0.9")


def test_a_run_that_diverges_ends_by_name_after_its_rollbacks(tmp_path: Path) -> None:
    recovery = "recovery: {on_spike: rollback, spike_factor: 1.2, lr_factor: 0.9, max_rollbacks: 1}\nevaluation:"
    path = smoke_with(tmp_path, WILD, ("evaluation:", recovery), ("warmup_steps: 3", "warmup_steps: 0"))
    result = pe("run", path, "--json", home=tmp_path / "home")
    assert result.code == 3
    error = result.json["error"]
    assert error["kind"] == Kind.DIVERGENCE.value
    assert error["message"].endswith("after 1 rollbacks")
    assert "rolled back to step" in result.stderr


def test_without_recovery_the_first_spike_ends_the_run(tmp_path: Path) -> None:
    path = smoke_with(tmp_path, WILD, ("evaluation:", "recovery: {on_spike: stop, spike_factor: 1.2}\nevaluation:"))
    result = pe("run", path, "--json", home=tmp_path / "home")
    assert result.code == 3
    assert result.json["error"]["kind"] == Kind.DIVERGENCE.value
    assert result.json["error"]["hint"] == "lower hyperparameters.learning_rate, or set recovery.on_spike to rollback"
