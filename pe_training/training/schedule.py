"""Learning rate as a pure function of the step."""

from __future__ import annotations

import math

from pe_training.manifests.schema import Hyperparameters


def learning_rate_factor(step: int, hyperparameters: Hyperparameters) -> float:
    """Factor in [0, 1] on the peak rate at optimiser step ``step`` (0-based): linear warm-up, then the schedule down to 0."""
    warmup, total = hyperparameters.warmup_steps, hyperparameters.max_steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    if hyperparameters.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1.0 - progress if hyperparameters.schedule == "linear" else 1.0
