"""When training has nothing left to gain: held-out loss has not fallen for as many measurements as the manifest allows.

A function of the history alone, so a resumed run comes to the same answer at the same step, and one that was killed between the last
step and its export knows that it has ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pe_training.manifests.hyperparameters import EarlyStopping


def gives_up(history: Iterable[Mapping[str, Any]], early: EarlyStopping | None) -> bool:
    """Whether the last ``early.patience`` measurements, at least, are not below the lowest before them by more than ``early.min_delta``."""
    if early is None:
        return False
    lowest, waited = math.inf, 0
    for line in history:
        if "val_loss" in line:
            better = line["val_loss"] < lowest - early.min_delta
            lowest, waited = (line["val_loss"], 0) if better else (lowest, waited + 1)
    return waited >= early.patience
