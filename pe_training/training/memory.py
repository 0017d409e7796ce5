"""When memory runs out: the same step in smaller parts, which sums the same gradients in more passes.

How small the parts of a run have become is an event of the run, because it is a part of its trajectory: sums in other parts differ in their
last bits. Whoever resumes it, on whichever machine, goes on with the parts that fitted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pe_training.manifests.schema import Manifest

OUT_OF_MEMORY = "out_of_memory"
_SIGNS = ("can't allocate memory", "not enough memory", "out of memory", "failed to allocate")
Event = tuple[str, str, dict[str, Any]]  # as events.py gives them


def micro_of(spec: Manifest, happened: Iterable[Event]) -> int:
    """Sequences a forward pass, after what happened to the run."""
    sizes = [int(body["micro"]) for _, kind, body in happened if kind == OUT_OF_MEMORY]
    return sizes[-1] if sizes else spec.micro


def smaller_micro(spec: Manifest, happened: Iterable[Event]) -> int | None:
    """The next smaller size that divides a rank's share of the step, at most half of today's; ``None`` where one sequence is too much."""
    share, now = spec.hyperparameters.batch_size // spec.compute.ranks, micro_of(spec, happened)
    return next((size for size in range(now // 2, 0, -1) if share % size == 0), None)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out: torch has a type for it on accelerators, and words on the CPU."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
