"""A model shared out among two processes: what it learns, its states, and what is refused."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from pe_training.core.errors import PeError
from pe_training.training.record import weight_files
from pe_training.training.states import StateStore
from pe_training_tests.training.runs import Prepared, manifest_with, prepare_run
from pe_training_tests.training.test_ranks import SMOKE, TWO, ranks_of

SHARED = (TWO[0], TWO[1] + " strategy: fsdp,")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A run of two ranks that share the model, trained to its end."""
    run = prepare_run(tmp_path_factory.mktemp("shared"), manifest_with(SMOKE, SHARED))
    run.finish()
    return run


@pytest.mark.slow
def test_a_model_shared_out_learns_what_one_process_learns(shared: Prepared, tmp_path: Path) -> None:
    alone = prepare_run(tmp_path, manifest_with(SMOKE)).finish()
    assert shared.checkpoint.run_id != alone.run_id
    assert shared.checkpoint.val_loss_before == pytest.approx(alone.val_loss_before, rel=1e-6)
    assert shared.checkpoint.val_loss == pytest.approx(alone.val_loss, rel=1e-5)
    files = [{file.path for file in checkpoint.content_files} for checkpoint in (shared.checkpoint, alone)]
    assert files[0] == files[1]


@pytest.mark.slow
def test_its_states_hold_whole_tensors_and_a_killed_rank_goes_on_from_them_to_the_same_bits(shared: Prepared, tmp_path: Path) -> None:
    run = prepare_run(tmp_path, manifest_with(SMOKE, SHARED))
    states = StateStore(run.run, keep_last=2, state=run.state)
    for step, victim in ((0, 0), (10, 1)):  # from the state before the first step, which holds no optimiser yet, and from a later one
        process = run.start()
        run.wait_for_state(step)
        os.kill(ranks_of(run)[victim], signal.SIGKILL)
        assert process.wait(timeout=60) == 3
        assert states.newest_intact() == step
    held = states.load_checkpoint(states.newest_intact())
    embedding = "model.model.embed_tokens.weight"
    assert held["state_dict"][embedding].shape == held["optimizer_states"][0]["state"][embedding]["exp_avg"].shape == (259, 64)
    assert run.finish().id == shared.checkpoint.id


@pytest.mark.slow
def test_what_becomes_of_a_run_that_was_best_before_its_end_is_its_best(tmp_path: Path) -> None:
    rising = (  # the rate becomes so high that what was learned is lost again
        ("learning_rate: 3.0e-3", "learning_rate: 0.06"), ("warmup_steps: 3", "warmup_steps: 5"), ("max_steps: 30", "max_steps: 6"),
        ("every_steps: 10", "every_steps: 3"), ("max_length: 768", "max_length: 128"),
    )  # fmt: skip
    alone = prepare_run(tmp_path / "alone", manifest_with(SMOKE, *rising))
    shared = prepare_run(tmp_path / "shared", manifest_with(SMOKE, *rising, SHARED))
    found = [run.finish() for run in (alone, shared)]
    assert [checkpoint.step for checkpoint in found] == [3, 3]
    weights = [load(run.state.artifacts.get(weight_files(run.checkpoint.content_files)[0].digest)) for run in (alone, shared)]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-4)


def test_one_device_has_nobody_to_share_with() -> None:
    with pytest.raises(PeError, match="fsdp shares a model out among devices"):
        manifest_with(SMOKE, ("target: local,", "target: local, strategy: fsdp,"))


def test_sharing_out_and_compiling_together_are_refused() -> None:
    with pytest.raises(PeError, match="compile: false"):
        manifest_with(SMOKE, (SHARED[0], SHARED[1] + " compile: true,"))
