"""Fully sharded data parallelism: every rank keeps a share of the weights, the gradients and the optimiser's state (FSDP2, torch).

A layer's weights are gathered before it is used and let go after it, so a model need not fit into one device. Lightning's strategy of this
kind saves and loads past its checkpoint seam; this one keeps to it, so a sharded run has the same states as any other: whole tensors,
gathered by the leading rank, whose memory must hold the trained weights and the optimiser's state.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy, ParallelStrategy
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True, strict=False)


class Sharded(ModelParallelStrategy):
    """Lightning's strategy for models that shard themselves, with states that go through the checkpoint seam."""

    def __init__(self, *, ranks: int) -> None:
        super().__init__(data_parallel_size=ranks, tensor_parallel_size=1, save_distributed_checkpoint=False)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Trained tensors, whole; empty on ranks that do not lead."""
        return get_model_state_dict(self._module, options=_WHOLE)

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """The optimiser's state by the names of tensors, whole; empty on ranks that do not lead, and before the first step.

        Torch would fill the state of one that has made no step by making one, which Adam's correction of its means then counts.
        """
        plain = getattr(optimizer, "optimizer", optimizer)
        return get_optimizer_state_dict(self._module, plain, options=_WHOLE) if plain.state else {}

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None) -> None:
        """Through the seam, on the leading rank."""
        ParallelStrategy.save_checkpoint(self, checkpoint, filepath, storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Through the seam, on every rank, which takes its share."""
        checkpoint = self.checkpoint_io.load_checkpoint(checkpoint_path)
        take_whole(self._module, checkpoint["state_dict"])
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            if state:
                set_optimizer_state_dict(self._module, optimizer, state, options=_WHOLE)
        return checkpoint

    @property
    def _module(self) -> torch.nn.Module:
        assert self.model is not None
        return self.model


def shard(module: torch.nn.Module, *, method: str, mesh: DeviceMesh) -> None:
    """Share ``module`` out over ``mesh``, each layer by itself. ``method`` is what is called of it, in place of ``forward``."""
    if isinstance(module, FSDPModule):
        return
    for layer in _layers(module):
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    register_fsdp_forward_method(module, method)


def _layers(module: torch.nn.Module) -> list[torch.nn.Module]:
    """The parts that are gathered one at a time: those whose classes the architecture says must not be split."""
    names = {name for part in module.modules() for name in getattr(part, "_no_split_modules", None) or ()}
    return [part for part in module.modules() if type(part).__name__ in names]


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor with the shares of all ranks, each of which must ask; one that is not shared out as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def mine(tensor: torch.Tensor) -> torch.Tensor:
    """This rank's share of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def take_whole(module: torch.nn.Module, tensors: dict[str, Any]) -> None:
    """Load whole tensors by name into a module, shared out or not; names that are missing keep their values."""
    set_model_state_dict(module, tensors, options=_WHOLE)
