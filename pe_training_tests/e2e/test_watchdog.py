"""Who watches the working process, and what becomes of it when one of them is lost: nothing hangs, nothing is trained twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pe_training_tests.e2e.chain import (
    BRIEF,
    SMOKE,
    Ended,
    environment,
    pe,
    smoke_with,
    start,
    training_process,
    training_processes,
    wait_for_step,
)

pytestmark = pytest.mark.slow


def happened(home: Path) -> list[str]:
    """Kinds of all events but who asked for them, in order."""
    return [
        row[0]
        for row in sqlite3.connect(home / "registry.sqlite").execute("SELECT kind FROM run_events WHERE kind != 'asked' ORDER BY seq")
    ]


def test_a_process_that_falls_silent_is_ended_and_the_failure_says_so(ready_home: Path, tmp_path: Path) -> None:
    path = smoke_with(tmp_path, ("target: local,", "target: local, silence_minutes: 0.2, retries: 0,"))
    process = start("run", path, "--json", home=ready_home)
    wait_for_step(ready_home, 5)
    frozen = training_process(ready_home)
    os.kill(frozen, signal.SIGSTOP)
    began = time.monotonic()
    stdout, _ = process.communicate(timeout=60)
    assert time.monotonic() - began < 40
    assert process.returncode == 3
    assert "the working process was ended: nothing was heard of it for 12 s" in stdout
    assert "compute.silence_minutes" in stdout
    assert not Path(f"/proc/{frozen}").exists()


def test_a_run_outlives_who_asked_for_it_and_is_picked_up_again(ready_home: Path, tmp_path: Path) -> None:
    path = smoke_with(tmp_path, ("max_steps: 30", "max_steps: 60"), ("every_steps: 10", "every_steps: 30"), *BRIEF)
    home = ready_home
    asked = start("run", path, home=home)
    wait_for_step(home, 2)
    worker = training_process(home)
    asked.kill()
    asked.communicate()
    again = start("run", path, "--json", home=home)
    stdout, stderr = again.communicate(timeout=200)
    assert again.returncode == 0, stderr
    assert happened(home) == ["started", "finished"], stdout
    assert not Path(f"/proc/{worker}").exists()


def test_a_run_that_was_begun_from_a_shell_is_picked_up_by_the_graph(ready_home: Path, tmp_path: Path) -> None:
    path = smoke_with(tmp_path, ("max_steps: 30", "max_steps: 60"), ("every_steps: 10", "every_steps: 30"), *BRIEF)
    home = ready_home
    command = [sys.executable, "-m", "pe_training.training", str(path)]
    with subprocess.Popen(command, env=environment(home), stdin=subprocess.DEVNULL, start_new_session=True) as shell:
        wait_for_step(home, 2)
        asked = pe("run", path, "--json", home=home)
        assert asked.code == 0, asked.stderr
        assert shell.wait(timeout=60) == 0
    assert happened(home) == ["started", "finished"]


@pytest.mark.parametrize(("number", "manifest"), [(signal.SIGKILL, "retries: 2"), (signal.SIGTERM, "interruptible: true")])
def test_a_worker_that_is_taken_away_goes_on_by_itself_to_the_same_checkpoint(
    finished: tuple[Path, Ended], ready_home: Path, tmp_path: Path, number: signal.Signals, manifest: str
) -> None:
    path = smoke_with(tmp_path, ("target: local,", f"target: local, {manifest},"), *BRIEF)
    home = ready_home
    process = start("run", path, "--json", home=home)
    wait_for_step(home, 12)
    os.kill(training_process(home), number)
    stdout, stderr = process.communicate(timeout=200)
    assert process.returncode == 0, stderr
    assert finished[1].json["checkpoint"] in stdout
    expected = ["started", "retried", "resumed", "finished"]
    assert happened(home) == (expected if number is signal.SIGKILL else [expected[0], "stopped", *expected[1:]])


def test_what_a_person_must_mend_is_not_tried_again(ready_home: Path, tmp_path: Path) -> None:
    wild = ("learning_rate: 3.0e-3", "learning_rate: 0.9"), ("warmup_steps: 3", "warmup_steps: 0")
    path = smoke_with(tmp_path, *wild, ("evaluation:", "recovery: {on_spike: stop, spike_factor: 1.2}\nevaluation:"))
    result = pe("run", path, "--json", home=ready_home)
    assert result.json["error"]["kind"] == "divergence"
    assert happened(ready_home) == ["started", "failed"]


def test_a_worker_that_is_stopped_before_it_has_begun_was_stopped_and_did_not_fail(ready_home: Path) -> None:
    home = ready_home
    process = start("run", SMOKE, "--json", home=home)
    deadline = time.monotonic() + 120
    while not (workers := training_processes(home)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(workers[0], signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 3, stderr
    error = json.loads(stdout)["error"]
    assert (error["kind"], error["message"]) == ("stopped", "training was stopped by SIGTERM")
    assert "retried" not in happened(home)
