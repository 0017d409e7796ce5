"""`pe reproduce` as its user types it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pe_training_tests.e2e.chain import Ended, pe

pytestmark = pytest.mark.slow


def test_a_finished_run_is_reproduced_and_shown_with_its_class(finished: tuple[Path, Ended], own_home: Path) -> None:
    run = finished[1].json["run"]
    planned = pe("reproduce", run, "--dry-run", "--json", home=own_home)
    assert planned.code == 0
    assert planned.json == {
        "run": run, "manifest": finished[1].json["manifest"], "steps": None, "applied": False, "determinism": "not measured", "differs": [],
    }  # fmt: skip
    done = pe("reproduce", run[:16], "--steps", "2", home=own_home)
    assert done.code == 0, done.stderr
    assert "identical to the bit: history and gradients of 20 tensors over 2 steps" in done.stdout
    assert "held-out loss" in done.stderr  # its progress is seen
    shown = pe("show", run, "--json", home=own_home).json
    assert shown["determinism"] == "not measured"  # the first steps do not prove the rest
    assert [event["kind"] for event in shown["events"]] == ["asked", "started", "finished", "reproduced"]
    assert shown["environment"]["packages"]["torch"]
    text = pe("show", run, home=own_home).stdout
    assert "determinism  not measured" in text
    assert "trained in" in text
    assert "(determinism: not measured)" in pe("trace", finished[1].json["decision"], home=own_home).stdout


def test_only_runs_can_be_reproduced(finished: tuple[Path, Ended]) -> None:
    result = pe("reproduce", finished[1].json["checkpoint"], "--json", home=finished[0])
    assert result.code == 2
    assert result.json["error"]["message"] == f"{finished[1].json['checkpoint']} is no run"
