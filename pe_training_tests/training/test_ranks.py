"""Two processes that train one model: the sums of one, the bits of each other, one end for both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pe_training.settings import SAMPLES
from pe_training.training.feed import read_feed
from pe_training_tests.training.runs import Prepared, manifest_with, prepare_run

SMOKE = (SAMPLES / "manifests" / "smoke.yaml").read_text(encoding="utf-8")
TWO = ("target: local,", "target: local, devices: 2,")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A run of two ranks, trained to its end."""
    run = prepare_run(tmp_path_factory.mktemp("two"), manifest_with(SMOKE, TWO))
    run.finish()
    return run


def ranks_of(run: Prepared) -> list[int]:
    """Pids of the ranks of a run that is under way, in their order."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                variables = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"pe_training.training.rank" in words and f"PE_HOME={run.home}".encode() in variables:
                found[next(int(v.partition(b"=")[2]) for v in variables if v.startswith(b"RANK="))] = int(entry.name)
    return [found[rank] for rank in sorted(found)]


@pytest.mark.parametrize("place", [{"RANK": "0"}, {"RANK": "first", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}])
def test_a_rank_that_does_not_know_its_place_is_told_so(place: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pe_training.training.rank", "run_0", "mf_0"]
    environment = os.environ | {"PE_HOME": str(tmp_path)} | place
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == (
        "the environment: RANK, WORLD_SIZE and LOCAL_RANK must be numbers, all three, as torchrun sets them"
        " (unset RANK to train alone, or start the ranks with torchrun)\n"
    )
    assert not list(tmp_path.iterdir())


def test_two_ranks_learn_what_one_process_learns(two: Prepared, tmp_path: Path) -> None:
    alone = prepare_run(tmp_path, manifest_with(SMOKE)).finish()
    assert two.checkpoint.run_id != alone.run_id
    assert two.checkpoint.val_loss == pytest.approx(alone.val_loss, rel=1e-5)  # the same sums of float32, in another order
    assert two.checkpoint.val_loss_before == pytest.approx(alone.val_loss_before, rel=1e-6)
    assert list(two.happened()) == ["started", "finished"]


@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_is_killed_ends_both_by_name_and_the_run_goes_on_to_the_same_bits(two: Prepared, tmp_path: Path, victim: int) -> None:
    run = prepare_run(tmp_path, manifest_with(SMOKE, TWO))
    process = run.start()
    run.wait_for_step(12)
    ranks = ranks_of(run)
    os.kill(ranks[victim], signal.SIGKILL)
    assert process.wait(timeout=60) == 3
    assert not ranks_of(run)
    errors = [event["error"] for _, event in read_feed(run.home / "runs" / run.run / "progress.jsonl") if event["event"] == "error"]
    assert errors[-1]["message"] == f"rank {victim} of the training was killed by SIGKILL"
    assert run.finish().id == two.checkpoint.id


def test_ranks_do_not_outlive_the_process_that_started_them(two: Prepared, tmp_path: Path) -> None:
    run = prepare_run(tmp_path, manifest_with(SMOKE, TWO))
    process = run.start()
    run.wait_for_step(12)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while ranks_of(run) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not ranks_of(run)
    assert run.finish().id == two.checkpoint.id


def test_a_request_to_stop_saves_once_for_both(two: Prepared, tmp_path: Path) -> None:
    run = prepare_run(tmp_path, manifest_with(SMOKE, TWO))
    process = run.start()
    run.wait_for_step(12)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 3
    assert list(run.happened()) == ["started", "stopped"]
    assert run.finish().id == two.checkpoint.id
    assert list(run.happened()) == ["started", "stopped", "resumed", "finished"]


def test_ranks_roll_back_together_and_give_up_together(tmp_path: Path) -> None:
    wild = ("learning_rate: 3.0e-3", "learning_rate: 0.9"), ("warmup_steps: 3", "warmup_steps: 0")
    recovery = "recovery: {on_spike: rollback, spike_factor: 1.2, lr_factor: 0.9, max_rollbacks: 1}\nevaluation:"
    run = prepare_run(tmp_path, manifest_with(SMOKE, TWO, *wild, ("evaluation:", recovery)))
    assert run.start().wait(timeout=200) == 3
    errors = [event["error"] for _, event in read_feed(run.home / "runs" / run.run / "progress.jsonl") if event["event"] == "error"]
    assert errors[-1]["kind"] == "divergence"
    assert errors[-1]["message"].endswith("after 1 rollbacks")
    assert list(run.happened()) == ["started", "rollback", "failed"]


def test_ranks_that_are_stopped_before_they_have_begun_were_stopped_and_did_not_fail(tmp_path: Path) -> None:
    run = prepare_run(tmp_path, manifest_with(SMOKE, TWO))
    process = run.start()
    deadline = time.monotonic() + 60
    while len(ranks_of(run)) < 2:
        assert time.monotonic() < deadline, run.log
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 3, run.log
    errors = [event["error"] for _, event in read_feed(run.home / "runs" / run.run / "progress.jsonl") if event["event"] == "error"]
    assert errors[-1]["kind"] == "stopped"
    assert ranks_of(run) == []
