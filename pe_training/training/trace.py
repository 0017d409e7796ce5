"""What every optimiser step of a run looked like, to the bit: its loss, and the norm of the gradient of every trained tensor.

Two runs that end with other weights parted at some step, in some tensor. Without a trace that place is a guess; with one it is a look. It
costs nothing that training does not do anyway: clipping needs these norms, and they are taken once.

Row ``n`` is optimiser step ``n + 1`` of the trajectory that counts. Steps that a rollback took back are not in it; the stored file names
them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import save

from pe_training.training.sharding import mine

FORMAT = "pe-training/trace-v1"
LOSS, NORMS, ABOUT = "loss", "gradient_norms", "trace"


@dataclass(frozen=True)
class GradientNorms:
    """Euclidean norms of the gradients of one step, before clipping. ``row``: of all together, then of each tensor; float32, on the CPU."""

    total: torch.Tensor  # where the gradients are
    row: torch.Tensor


class Gradients:
    """The gradients of a model's trained tensors, by name."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
        self._shared_out = any(mine(parameter) is not parameter for _, parameter in self._named)

    def norms(self) -> GradientNorms:
        """All norms in one pass, and one copy to the CPU. The total is what :func:`torch.nn.utils.clip_grad_norm_` would find.

        A tensor without a gradient has the norm NaN, which no row of a healthy run holds otherwise.
        """
        found = [(column, mine(p.grad)) for column, (_, p) in enumerate(self._named, start=1) if p.grad is not None]
        each = torch.stack(torch._foreach_norm([gradient for _, gradient in found]))
        if self._shared_out:
            each = _of_all_shares(each)
        total = torch.linalg.vector_norm(each)
        values = torch.cat([total.reshape(1), each]).to("cpu", torch.float32)
        if len(found) == len(self._named):
            return GradientNorms(total, values)
        row = torch.full((1 + len(self._named),), torch.nan)
        row[[0, *(column for column, _ in found)]] = values
        return GradientNorms(total, row)


def trained_names(module: torch.nn.Module) -> list[str]:
    """Trained tensors, in the model's order."""
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]


def _of_all_shares(norms: torch.Tensor) -> torch.Tensor:
    """Norms of tensors from the norms of every rank's shares of them."""
    squares = norms.double().square()
    torch.distributed.all_reduce(squares)
    return squares.sqrt().to(norms.dtype)


class Trace:
    """Grows by a row a step. At most ``most_steps`` x (tensors + 1) x 4 bytes: 40 MB for 1,000 tensors and 10,000 steps."""

    def __init__(self, names: Iterable[str], *, most_steps: int) -> None:
        self.names = list(names)
        self._rows = torch.empty(most_steps, 1 + len(self.names))  # the system gives memory only to rows that are written
        self.steps = 0

    def append(self, *, step: int, loss: float, norms: torch.Tensor) -> None:
        """Add the step that follows. ``norms``: (tensors,), float32."""
        assert step == self.steps + 1, (step, self.steps)
        self._rows[self.steps, 0] = loss
        self._rows[self.steps, 1:] = norms
        self.steps = step

    def state_dict(self) -> dict[str, Any]:
        """For the saved state: names, and a view of the rows so far (steps, 1 + tensors), losses first."""
        return {"names": self.names, "rows": self._rows[: self.steps]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them back. The tensors must be those that are trained."""
        assert state["names"] == self.names, "the saved state is of another model"
        self.steps = len(state["rows"])
        self._rows[: self.steps] = state["rows"]

    def to_bytes(self, *, rolled_back: Iterable[Mapping[str, Any]]) -> bytes:
        """A safetensors file: ``loss`` (steps,) and ``gradient_norms`` (steps, tensors), float32; names in the metadata.

        ``rolled_back``: bodies of the run's rollbacks. Each ``[first, last]`` in the metadata is a stretch of steps that were trained,
        taken back and trained again on the data that follows.
        """
        about = {
            "format": FORMAT,
            "first_step": 1,
            "tensors": self.names,
            "rolled_back": [[event["to_step"] + 1, event["spike_step"]] for event in rolled_back],
        }
        rows = self._rows[: self.steps]
        tensors = {LOSS: rows[:, 0].contiguous(), NORMS: rows[:, 1:].contiguous()}
        return bytes(save(tensors, metadata={ABOUT: json.dumps(about)}))  # one key: safetensors keeps several in no order
