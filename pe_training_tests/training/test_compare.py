"""Where two runs first differ, in which tensor, and how far apart they ended; and the class that follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pe_training.core.errors import PeError
from pe_training.training.compare import Evidence, Pair, compare, read_trace
from pe_training.training.reproduction import TOLERANCE, measured_class
from pe_training.training.trace import Trace

NAMES = ["embed", "head"]


def evidence(**changes: Any) -> Evidence:
    """A run of four steps."""
    loss = np.array([4.0, 3.5, 3.25, 3.0], dtype=np.float32)
    norms = np.array([[1.0, 2.0], [1.5, 2.5], [1.25, 2.25], [1.0, 2.0]], dtype=np.float32)
    history = [{"step": 0, "val_loss": 4.1}, *({"step": step, "loss": float(loss[step - 1]), "grad_norm": 1.0} for step in range(1, 5))]
    return replace(Evidence(names=NAMES, loss=loss, norms=norms, history=history, rollbacks=(), weights="sha256:a"), **changes)


def changed(rows: np.ndarray, *places: tuple[int | tuple[int, int], float]) -> np.ndarray:
    """A copy with some values changed."""
    made = rows.copy()
    for place, value in places:
        made[place] = value
    return made


def test_the_same_run_is_identical() -> None:
    found = compare(evidence(), evidence())
    assert found.identical
    assert (found.steps, found.identical_steps, found.tensors, found.first_step, found.last_loss_difference) == (4, 4, 2, None, 0.0)
    assert measured_class(found, whole=True, comparable=True) == "bitwise"


def test_one_unit_in_the_last_place_of_one_norm_is_found_in_its_step_and_tensor() -> None:
    wrong = np.nextafter(np.float32(2.25), np.float32(3))
    found = compare(evidence(), evidence(norms=changed(evidence().norms, ((2, 1), wrong))))
    assert not found.identical
    assert (found.first_step, found.identical_steps, found.loss) == (3, 2, None)
    assert found.tensor is not None
    assert (found.tensor.name, found.tensor.of) == ("head", 1)
    assert found.tensor.gradient_norm == Pair(recorded="2.25", reproduced=str(wrong))
    assert np.float32(found.tensor.gradient_norm.reproduced) == wrong


def test_a_loss_that_differs_stands_beside_the_first_tensor_of_its_step_and_is_followed_to_the_end() -> None:
    other = evidence(
        loss=changed(evidence().loss, (1, 3.5035), (3, 3.3)), norms=changed(evidence().norms, ((1, 0), 9.0), ((1, 1), 9.0), ((3, 0), 9.0))
    )
    found = compare(evidence(), other)
    assert found.first_step == 2
    assert found.loss == Pair(recorded="3.5", reproduced="3.5035")
    assert found.tensor is not None
    assert (found.tensor.name, found.tensor.of) == ("embed", 2)
    assert found.last_loss_difference == pytest.approx(0.3 / 3.3, rel=1e-6)
    assert found.largest_loss_difference == found.last_loss_difference


def test_nan_is_equal_to_the_same_nan_and_zero_is_not_minus_zero() -> None:
    nan = evidence(norms=changed(evidence().norms, ((0, 0), np.nan)))
    assert compare(nan, nan).identical
    assert (
        compare(
            evidence(norms=changed(evidence().norms, ((0, 0), 0.0))), evidence(norms=changed(evidence().norms, ((0, 0), -0.0)))
        ).first_step
        == 1
    )


def test_a_history_that_differs_is_named_by_step_and_key() -> None:
    history = [*evidence().history[:2], evidence().history[2] | {"grad_norm": 1.5}, *evidence().history[3:]]
    found = compare(evidence(), evidence(history=history))
    assert not found.identical
    assert found.first_step is None
    assert found.history is not None
    assert (found.history.step, found.history.key, found.history.value) == (2, "grad_norm", Pair(recorded="1.0", reproduced="1.5"))
    shorter = compare(evidence(), evidence(history=evidence().history[:4]))
    assert shorter.history is not None
    assert shorter.history.step == 4


def test_the_first_steps_are_compared_alone_when_that_is_asked_or_all_there_is() -> None:
    broken = evidence(loss=changed(evidence().loss, (2, 9.0)), history=evidence().history[:3], weights=None)
    assert compare(evidence(), broken, steps=2).identical
    assert compare(evidence(), broken, steps=3).first_step == 3
    started = replace(evidence(), loss=evidence().loss[:2], norms=evidence().norms[:2], history=evidence().history[:3], weights=None)
    found = compare(evidence(), started)
    assert found.identical
    assert (found.steps, found.weights) == (2, None)
    assert measured_class(found, whole=False, comparable=True) is None
    assert measured_class(found, whole=False, comparable=True, diverged=True) == "statistical"  # where the recorded run went on


def test_runs_of_other_tensors_cannot_be_compared() -> None:
    with pytest.raises(PeError, match="trained other tensors, so there is nothing to compare: head, tail are only in one"):
        compare(evidence(), evidence(names=["embed", "tail"]))


def test_rollbacks_are_a_part_of_the_run() -> None:
    assert not compare(evidence(), evidence(rollbacks=({"spike_step": 3, "to_step": 2, "loss": "nan", "lr_factor": 0.5},))).identical


def test_weights_that_differ_are_named_by_the_tensor_that_is_furthest_off(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(100), "b": torch.ones(4, dtype=torch.bfloat16)}
    save_file(tensors, tmp_path / "one.safetensors")
    save_file({"a": tensors["a"] * 1.5, "b": tensors["b"] * 2}, tmp_path / "other.safetensors")
    ours, theirs = (evidence(weights=name, weight_files=lambda name=name: [tmp_path / f"{name}.safetensors"]) for name in ("one", "other"))
    found = compare(ours, theirs)
    assert not found.identical
    assert found.weights is not None
    assert (found.weights.tensor, found.weights.relative) == ("b", 1.0)


@pytest.mark.parametrize(
    ("apart", "whole", "comparable", "expected"),
    [
        (TOLERANCE / 2, True, True, "tolerance"),
        (TOLERANCE * 2, True, True, "statistical"),
        (TOLERANCE / 2, False, True, "statistical"),  # it was not shown that it stays within
        (TOLERANCE / 2, True, False, None),  # other code or hardware
    ],
)
def test_the_class_of_a_run_that_differs(apart: float, whole: bool, comparable: bool, expected: str | None) -> None:
    other = evidence(loss=changed(evidence().loss, (3, 3.0 * (1 + apart))))
    assert measured_class(compare(evidence(), other), whole=whole, comparable=comparable) == expected


def test_a_stored_trace_is_read_back_as_it_was_written() -> None:
    trace = Trace(NAMES, most_steps=2)
    trace.append(step=1, loss=0.1, norms=torch.tensor([0.2, torch.nan]))
    names, loss, norms = read_trace(trace.to_bytes(rolled_back=()))
    assert names == NAMES
    assert loss.tobytes() == np.array([0.1], dtype=np.float32).tobytes()
    assert norms.tobytes() == np.array([[0.2, np.nan]], dtype=np.float32).tobytes()
