"""When memory runs out: the same step in smaller parts, which sums the same gradients in more passes.

How small the parts of a run have become is an event of the run, because it is a part of its trajectory: sums in other parts differ in their
last bits. Each size holds from the state on that training went back to, so whoever resumes the run or does it again, on whichever machine,
takes every step in the parts that it was taken in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pe_training.manifests.schema import Manifest

OUT_OF_MEMORY = "out_of_memory"
_SIGNS = ("can't allocate memory", "not enough memory", "out of memory", "failed to allocate")
Event = tuple[str, str, dict[str, Any]]  # as events.py gives them


def sizes(happened: Iterable[Event]) -> list[tuple[int, int]]:
    """``(from_step, micro)`` of every time that memory ran out."""
    return [(int(body.get("from_step", 0)), int(body["micro"])) for _, kind, body in happened if kind == OUT_OF_MEMORY]


def micro_of(spec: Manifest, happened: Iterable[Event], *, step: int) -> int:
    """Sequences a forward pass in the steps after ``step``, by what happened to the run."""
    return min((micro for begins, micro in sizes(happened) if begins <= step), default=spec.micro)


def same_until(spec: Manifest, happened: Iterable[Event], *, step: int) -> int:
    """The last step that is taken in parts of the same size as the one after ``step``."""
    known = list(happened)
    now = micro_of(spec, known, step=step)
    return min((begins for begins, micro in sizes(known) if begins > step and micro < now), default=spec.hyperparameters.max_steps)


def reference_micro(spec: Manifest, happened: Iterable[Event]) -> int:
    """Pairs a forward pass of the reference model: it is asked before the first step, and needs less than training does."""
    return min((int(body["micro"]) for _, kind, body in happened if kind == OUT_OF_MEMORY and body.get("reference")), default=spec.micro)


def smaller_micro(spec: Manifest, happened: Iterable[Event], *, step: int) -> int | None:
    """The next smaller size that divides a rank's share of a step, at most half of today's; ``None`` where one sequence is too much."""
    share, now = spec.hyperparameters.batch_size // spec.compute.ranks, micro_of(spec, happened, step=step)
    return next((size for size in range(now // 2, 0, -1) if share % size == 0), None)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out: torch has a type for it on accelerators, and words on the CPU."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
