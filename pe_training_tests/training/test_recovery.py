"""A loss that jumps rolls the run back to a good state, passes over the bad data and slows it down; or ends it by name."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pe_training.core.errors import Kind
from pe_training.manifests.record import ResolvedManifest
from pe_training.training.events import events
from pe_training.training.feed import read_feed
from pe_training.training.keeper import is_spike, now_and_before
from pe_training.training.memory import sizes
from pe_training.training.record import HISTORY_FILE, TrainingRun
from pe_training.training.reproduce import outcome_of
from pe_training.training.reproduction import reproductions
from pe_training.training.schedule import learning_rate_factor
from pe_training.training.scratch import open_scratch
from pe_training.training.states import StateStore
from pe_training_tests.e2e.chain import pe, smoke_with
from pe_training_tests.training.runs import Prepared, prepare_run
from pe_training_tests.training.steps import smoke
from pe_training_tests.training.test_states import damage

pytestmark = pytest.mark.slow
WILD = ("learning_rate: 3.0e-3", "learning_rate: 0.9")


def test_a_run_that_diverges_ends_by_name_after_its_rollbacks(ready_home: Path, tmp_path: Path) -> None:
    recovery = "recovery: {on_spike: rollback, spike_factor: 1.2, lr_factor: 0.9, max_rollbacks: 1}\nevaluation:"
    path = smoke_with(tmp_path, WILD, ("evaluation:", recovery), ("warmup_steps: 3", "warmup_steps: 0"))
    result = pe("run", path, "--json", home=ready_home)
    assert result.code == 3
    error = result.json["error"]
    assert error["kind"] == Kind.DIVERGENCE.value
    assert error["message"].endswith("after 1 rollbacks")
    assert "rolled back to step" in result.stderr


def test_without_recovery_the_first_spike_ends_the_run(ready_home: Path, tmp_path: Path) -> None:
    path = smoke_with(tmp_path, WILD, ("evaluation:", "recovery: {on_spike: stop, spike_factor: 1.2}\nevaluation:"))
    result = pe("run", path, "--json", home=ready_home)
    assert result.code == 3
    assert result.json["error"]["kind"] == Kind.DIVERGENCE.value
    assert result.json["error"]["hint"] == "lower hyperparameters.learning_rate, or set recovery.on_spike to rollback"


PATCHED = """
import os, signal, sys
from pe_training.training import __main__, keeper, states, tasks

happened = []

def killed_behind(last, whole=states.StateStore._write):
    def write(self, snapshot, step, best):
        whole(self, snapshot, step, best)
        if step == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return step
    states.StateStore._write = write

def spike(self, loss):
    if self._step == 8 and not happened:
        happened.append(self._step)
        raise keeper.Spike(step=8, loss=9.0, usual=1.0)

def no_number(self, whole=keeper.Gradients.norms, calls=[]):
    calls.append(self)
    if len(calls) == 8:
        self._named[0][1].grad.fill_(float("nan"))
    return whole(self)

def out_of_memory(self, batch, batch_idx, whole=tasks.Task.training_step):
    if self.global_step == 5 and not happened:
        happened.append(self.global_step)
        raise RuntimeError("out of memory")
    return whole(self, batch, batch_idx)

{patch}
sys.exit(__main__.main(sys.argv[1:]))
"""
SHORT = (("max_length: 768", "max_length: 128"), ("max_steps: 30", "max_steps: 12"), ("every_steps: 10", "every_steps: 3"))


def patched(run: Prepared, patch: str) -> int:
    """The exit code of a run's process in which something happens."""
    command = [sys.executable, "-c", PATCHED.format(patch=patch), run.run, run.manifest]
    return subprocess.run(command, env=run.environment, stdin=subprocess.DEVNULL, timeout=300, check=False).returncode


def disturbed(home: Path, *changes: tuple[str, str], patch: str) -> Prepared:
    """A run to which something happens once, at its end."""
    run = prepare_run(home, smoke(*SHORT, *changes))
    assert patched(run, patch) == 0, run.log
    return run


def history(home: Path, *changes: tuple[str, str], patch: str) -> list[dict[str, Any]]:
    """Of such a run."""
    run = disturbed(home, *changes, patch=patch)
    stored = next(file.digest for file in run.checkpoint.content_files if file.path == HISTORY_FILE)
    return [json.loads(line) for line in run.state.artifacts.get(stored).splitlines()]


def test_a_rollback_lowers_the_learning_rate_of_every_step_behind_it(tmp_path: Path) -> None:
    recovery = ("evaluation:", "recovery: {on_spike: rollback, lr_factor: 0.5}\nevaluation:")
    lines = history(tmp_path, recovery, patch="keeper.Keeper._refuse_spike = spike")
    h = smoke(*SHORT).hyperparameters
    expected = [h.learning_rate * learning_rate_factor(step, h) * (0.5 if step > 6 else 1) for step in range(1, 13)]
    assert [line["next_lr"] for line in lines[1:]] == pytest.approx(expected)


def test_a_gradient_that_is_no_number_is_rolled_back_before_it_is_saved(tmp_path: Path) -> None:
    recovery = ("evaluation:", "recovery: {on_spike: rollback}\nevaluation:")
    lines = history(tmp_path, recovery, patch="keeper.Gradients.norms = no_number")
    assert [line["step"] for line in lines] == list(range(13))
    assert all(math.isfinite(value) for line in lines for value in line.values())
    assert [line["next_lr"] < other["next_lr"] for line, other in zip(lines[7:12], lines[6:11], strict=True)] == [True] * 5


@pytest.mark.parametrize(
    ("loss", "recent", "spike"),
    [
        (math.nan, [], True),
        (math.inf, [3.0] * 20, True),
        (90.0, [3.0] * 4, False),  # too early to know what is usual
        (6.1, [3.0] * 20, True),
        (5.9, [3.0] * 20, False),  # not twice the usual
        (0.05, [0.001] * 20, False),  # fifty times nearly nothing is nearly nothing
        (0.70, [0.001] * 20, True),
    ],
)
def test_a_spike_is_a_multiple_of_the_usual_loss_that_also_weighs_something(loss: float, recent: list[float], *, spike: bool) -> None:
    assert is_spike(loss, recent=recent, factor=2.0) is spike


def test_one_hard_batch_of_a_classifier_is_no_spike_and_a_loss_that_stays_high_is_one() -> None:
    def jumps(task: str, *losses: float) -> bool:
        now, before = now_and_before([0.5] * 20 + list(losses), task)
        return is_spike(now, recent=before, factor=2.0)

    assert not jumps("text_classification", 2.6)
    assert not jumps("text_classification", 2.6, 0.4, 0.6, 0.5)
    assert jumps("text_classification", 2.6, 2.4, 2.8)
    assert jumps("text_classification", math.nan)
    assert jumps("causal_lm", 2.6)


def test_memory_that_runs_out_in_an_odd_step_leaves_every_step_its_own_batch(tmp_path: Path) -> None:
    whole = ("micro_batch_size: 2", "micro_batch_size: 4")
    undisturbed = history(tmp_path / "undisturbed", whole, patch="")
    halved = history(tmp_path / "halved", whole, patch="tasks.Task.training_step = out_of_memory")
    assert [line["loss"] for line in halved[1:]] == pytest.approx([line["loss"] for line in undisturbed[1:]], rel=1e-5)


def test_a_run_that_went_on_in_smaller_parts_is_done_again_in_the_same_parts_to_the_bit(tmp_path: Path) -> None:
    run = disturbed(tmp_path, ("micro_batch_size: 2", "micro_batch_size: 4"), patch="tasks.Task.training_step = out_of_memory")
    assert sizes(events(run.state, run.run)) == [(3, 2)]
    assert run.reproduce().wait(timeout=300) == 0, run.log
    ((_, outcome),) = reproductions(run.state, run.run)
    assert (outcome.ended, outcome.determinism) == ("finished", "bitwise")


def test_a_reproduction_that_lacks_memory_says_so_and_nothing_about_the_run(tmp_path: Path) -> None:
    run = prepare_run(tmp_path, smoke(*SHORT, ("micro_batch_size: 2", "micro_batch_size: 4")))
    run.finish()
    manifest = run.state.registry.get(run.manifest, ResolvedManifest)
    scratch, its = open_scratch(tmp_path / "scratch", run.state.registry.get(run.run, TrainingRun), manifest, state=run.state)
    again = replace(run, home=tmp_path / "scratch", manifest=its.id)
    variables = again.environment | scratch.settings.child_environment()
    command = [sys.executable, "-c", PATCHED.format(patch="tasks.Task.training_step = out_of_memory"), again.run, again.manifest]
    assert subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, timeout=300, check=False).returncode == 0, again.log
    outcome = outcome_of(run.state.registry.get(run.run, TrainingRun), manifest, scratch=scratch, state=run.state)
    assert outcome.determinism is None
    assert "here memory was not enough for the run's parts (from step 3 on 2 at a time)" in outcome.ended


def test_a_run_whose_only_state_is_damaged_begins_again_says_so_and_ends_with_the_same_model(tmp_path: Path) -> None:
    one = ("keep_last: 2", "keep_last: 1")
    whole = prepare_run(tmp_path / "whole", smoke(*SHORT, one)).finish()
    run = prepare_run(tmp_path / "damaged", smoke(*SHORT, one))
    feed = run.home / "runs" / run.run / "progress.jsonl"
    notes: list[str] = []
    for step in (6, 3):  # the second kill comes before the step whose state was damaged
        assert patched(run, f"killed_behind({step})") == -signal.SIGKILL, run.log
        notes += notes_in(feed)
        ((at, digest),) = StateStore(run.run, keep_last=1, state=run.state).saved()
        assert at == step
        damage(run.state, digest)
    assert run.finish().id == whole.id
    assert [note.partition(" is ")[0] for note in notes + notes_in(feed)] == ["the saved state of step 6", "the saved state of step 3"]


def notes_in(feed: Path) -> list[str]:
    """What the processes told since this was last asked."""
    found = [event["text"] for _, event in read_feed(feed) if event["event"] == "note"]
    feed.unlink()
    return found
