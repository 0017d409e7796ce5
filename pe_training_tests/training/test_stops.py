"""Reasons to stop: each is named, and none is mistaken for the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from pe_training.core.errors import Kind
from pe_training.costs.ledger import settle, spent
from pe_training.costs.rates import load_rates
from pe_training.manifests.resolve import read_manifest
from pe_training.settings import SAMPLES
from pe_training.training.feed import FEED_FILE, read_feed
from pe_training.training.stops import Stops
from pe_training_tests.training.runs import prepare_run
from pe_training_tests.training.test_recovery import SHORT, smoke


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def stops(clock: Clock, *, spent: str = "0") -> Stops:
    spec = read_manifest(Path(SAMPLES / "manifests" / "smoke.yaml"))
    return Stops(spec, spent_usd=Decimal(spent), rates=load_rates(SAMPLES / "rates.yaml"), clock=clock)


def test_there_is_no_reason_at_first(clock: Clock) -> None:
    assert stops(clock).reason() is None


def test_the_window_ends_its_margin_early(clock: Clock) -> None:
    watched = stops(clock)
    clock.now_s += 0.25 * 3600 - 60 - 1
    assert watched.reason() is None
    clock.now_s += 2
    reason = watched.reason()
    assert reason is not None
    assert str(reason) == (
        "compute.max_hours: training reached its window of 0.25 h (less the margin) "
        "(its state is saved; run the same command again to continue)"
    )


def test_earlier_attempts_count_against_the_budget(clock: Clock) -> None:
    reason = stops(clock, spent="0.10").reason()
    assert reason is not None
    assert reason.kind is Kind.BUDGET
    assert reason.message == "training reached its budget: 0.1000 of 0.1 USD"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_stop_after_the_step(clock: Clock, number: signal.Signals) -> None:
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        watched = stops(clock)
        watched.listen()
        os.kill(os.getpid(), number)
        reason = watched.reason()
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
    assert reason is not None
    assert reason.message == f"training was stopped by {number.name}"


STOPPED_AS_LIGHTNING_BEGINS = """
import os, signal, sys
from lightning.pytorch import Trainer
from pe_training.training import __main__

def stopped(self, whole=Trainer._run_stage):
    os.kill(os.getpid(), signal.SIGTERM)
    return whole(self)

Trainer._run_stage = stopped
sys.exit(__main__.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_stop_as_lightning_begins_is_a_stop_like_any_other(tmp_path: Path) -> None:
    run = prepare_run(tmp_path, smoke(*SHORT))
    command = [sys.executable, "-c", STOPPED_AS_LIGHTNING_BEGINS, run.run, run.manifest]
    code = subprocess.run(command, env=run.environment, stdin=subprocess.DEVNULL, timeout=120, check=False).returncode
    said = [event["error"] for _, event in read_feed(run.home / "runs" / run.run / FEED_FILE) if event["event"] == "error"]
    assert (code, [error["message"] for error in said]) == (3, ["training was stopped by SIGTERM"]), run.log
    assert list(run.happened()) == ["started", "stopped"]

    again = {"subject": run.run, "step": "reproduction", "instance": "cpu-local", "duration_s": 3600.0 * 24 * 365}
    settle(run.state, **again, rates=load_rates(SAMPLES / "rates.yaml"))  # which the budget of training is not for
    assert spent(run.state, subject=run.run) > Decimal("0.10")
    run.finish()
    assert list(run.happened()) == ["started", "stopped", "resumed", "finished"]
