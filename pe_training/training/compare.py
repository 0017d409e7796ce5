"""Two runs of one recipe, step by step: where they first differ, in which tensor, and how far apart they ended."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from pe_training.core.errors import Kind, PeError
from pe_training.core.records import Frozen

Rows = NDArray[np.float32]
FARTHEST = 1e9


class Pair(Frozen):
    """A value in both runs, as the shortest text that is read back to the same bits (so NaN has a place too)."""

    recorded: str
    reproduced: str


class TensorDifference(Frozen):
    """One tensor, of how many that differ at the same step."""

    name: str
    gradient_norm: Pair
    of: int


class HistoryDifference(Frozen):
    """The first line of the history that differs."""

    step: int
    key: str
    value: Pair


class WeightsDifference(Frozen):
    """The weights that the runs ended with: the tensor that is the furthest off, by the norm of the difference over its own."""

    identical: bool
    tensor: str | None = None
    relative: float = 0.0


class Comparison(Frozen):
    """What was compared and what was found. Relative differences are |a - b| / max(|a|, |b|)."""

    steps: int  # that both runs have
    tensors: int
    first_step: int | None = None  # whose loss or gradient norms differ
    loss: Pair | None = None  # at that step, if it differs
    tensor: TensorDifference | None = None  # at that step, the first in the model's order
    history: HistoryDifference | None = None
    rollbacks_identical: bool
    largest_loss_difference: float  # relative, over all steps compared
    last_loss_difference: float  # relative, at the last of them
    weights: WeightsDifference | None = None  # None: not both runs ended

    @property
    def identical_steps(self) -> int:
        """Steps before the first that differs."""
        return self.steps if self.first_step is None else self.first_step - 1

    @property
    def identical(self) -> bool:
        """Whether everything that was compared is the same to the bit."""
        unequal = (self.first_step, self.history, None if self.weights is None or self.weights.identical else self.weights)
        return self.rollbacks_identical and all(found is None for found in unequal)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one run left: ``loss`` (steps,), ``norms`` (steps, tensors), its history, its rollbacks, and its weights if it ended."""

    names: Sequence[str]
    loss: Rows
    norms: Rows
    history: Sequence[Mapping[str, Any]]
    rollbacks: Sequence[Mapping[str, Any]]
    weights: str | None = None  # digest
    weight_files: Callable[[], Sequence[Path]] = list  # safetensors, read only where the digests differ


def read_trace(data: bytes) -> tuple[list[str], Rows, Rows]:
    """Names, losses and gradient norms of a stored trace (see trace.py)."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    tensors = load(data)
    return list(json.loads(header["__metadata__"]["trace"])["tensors"]), tensors["loss"], tensors["gradient_norms"]


def compare(recorded: Evidence, reproduced: Evidence, *, steps: int | None = None) -> Comparison:
    """Compare the steps that both have, at most ``steps``; the weights too where both ended and all steps are compared.

    Raises refused for runs that trained other tensors, which other code may.
    """
    if unmatched := sorted(set(recorded.names) ^ set(reproduced.names)):
        message = f"the reproduction trained other tensors, so there is nothing to compare: {', '.join(unmatched[:3])} are only in one"
        raise PeError(Kind.REFUSED, message, hint="go back to the code that trained the run")
    shared = min(len(recorded.loss), len(reproduced.loss))
    count = shared if steps is None else min(steps, shared)
    whole = count == len(recorded.loss) == len(reproduced.loss)
    ours, theirs = _rows(recorded, count), _rows(reproduced, count)
    unequal = ours.view(np.uint32) != theirs.view(np.uint32)
    first = int(unequal.any(axis=1).argmax()) if unequal.any() else None
    apart = np.abs(ours[:, 0] - theirs[:, 0]) / np.maximum(np.maximum(np.abs(ours[:, 0]), np.abs(theirs[:, 0])), np.finfo(np.float32).tiny)
    return Comparison(
        steps=count,
        tensors=len(recorded.names),
        first_step=None if first is None else first + 1,
        loss=_pair(ours[first, 0], theirs[first, 0]) if first is not None and unequal[first, 0] else None,
        tensor=None if first is None else _tensor(recorded.names, unequal[first, 1:], ours[first, 1:], theirs[first, 1:]),
        history=_history(recorded.history, reproduced.history, last=None if whole else count),
        rollbacks_identical=list(recorded.rollbacks) == list(reproduced.rollbacks) if whole else True,
        largest_loss_difference=float(apart.max(initial=0.0)),
        last_loss_difference=float(apart[-1]) if count else 0.0,
        weights=_weights(recorded, reproduced) if whole and recorded.weights and reproduced.weights else None,
    )


def _rows(evidence: Evidence, count: int) -> Rows:
    return np.ascontiguousarray(np.column_stack([evidence.loss[:count], evidence.norms[:count]]))


def _pair(recorded: object, reproduced: object) -> Pair:
    return Pair(recorded=str(recorded), reproduced=str(reproduced))


def _tensor(names: Sequence[str], unequal: NDArray[np.bool_], ours: Rows, theirs: Rows) -> TensorDifference | None:
    if not unequal.any():
        return None
    column = int(unequal.argmax())
    return TensorDifference(name=names[column], gradient_norm=_pair(ours[column], theirs[column]), of=int(unequal.sum()))


def _history(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], *, last: int | None) -> HistoryDifference | None:
    kept = [[line for line in lines if last is None or line["step"] <= last] for lines in (ours, theirs)]
    for one, other in zip_longest(*kept, fillvalue={}):
        for key in sorted(one.keys() | other.keys()):
            if one.get(key) != other.get(key) and not (_nan(one.get(key)) and _nan(other.get(key))):
                return HistoryDifference(step=int((one or other)["step"]), key=key, value=_pair(one.get(key), other.get(key)))
    return None


def _nan(value: object) -> bool:
    return isinstance(value, float) and value != value  # noqa: PLR0124 (the definition of NaN)


def _weights(ours: Evidence, theirs: Evidence) -> WeightsDifference:
    if ours.weights == theirs.weights:
        return WeightsDifference(identical=True)
    from safetensors import safe_open

    with ExitStack() as open_files:
        one, other = (
            {
                name: file
                for path in evidence.weight_files()
                for file in [open_files.enter_context(safe_open(path, "pt"))]
                for name in file.keys()  # noqa: SIM118 (it is no dictionary)
            }
            for evidence in (ours, theirs)
        )
        apart = {name: _apart(one[name].get_tensor(name).double(), other[name].get_tensor(name).double()) for name in one}
    worst = max(apart, key=lambda name: apart[name])
    return WeightsDifference(identical=False, tensor=worst, relative=apart[worst])


def _apart(ours: Any, theirs: Any) -> float:
    """Relative distance of two tensors of float64, at most :data:`FARTHEST`, which also stands for what is no number."""
    apart = float((ours - theirs).norm() / max(float(ours.norm()), 1e-30))
    return min(apart, FARTHEST) if math.isfinite(apart) else FARTHEST
