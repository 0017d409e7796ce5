"""Learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pe_training.manifests.hyperparameters import Hyperparameters


@dataclass(frozen=True)
class Slowdown:
    """From optimiser step ``from_step`` on, the learning rate is multiplied by ``factor`` (after a rollback)."""

    from_step: int
    factor: float


def learning_rate_factor(step: int, hyperparameters: Hyperparameters, *, slowdowns: Iterable[Slowdown] = ()) -> float:
    """Factor in [0, 1] on the peak rate at optimiser step ``step`` (0-based): the schedule, less what rollbacks have taken."""
    return _scheduled(step, hyperparameters) * math.prod(slowdown.factor for slowdown in slowdowns if step >= slowdown.from_step)


def _scheduled(step: int, hyperparameters: Hyperparameters) -> float:
    """Linear warm-up, then the schedule down to 0."""
    warmup, total = hyperparameters.warmup_steps, hyperparameters.max_steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    if hyperparameters.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1.0 - progress if hyperparameters.schedule == "linear" else 1.0
