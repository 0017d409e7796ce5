"""What is tried again by itself: the world's failures, a few times, and nothing that a person must mend.

A lost machine, a killed process, a full disk or a store that was away may be well in a minute, and a run goes on from its last saved
state. Input, data, budget, divergence, a refusal and a fault of this program
are answers; asking again would give the same one and cost money.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pe_training.core.errors import Kind, PeError
from pe_training.manifests.schema import Compute

FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 60.0


class CancelledError(PeError):
    """The work ended because whoever asked for it took that back."""


def attempted(
    work: Callable[[], None], *, compute: Compute, retrying: Callable[[PeError, int], None], sleep: Callable[[float], None] = time.sleep
) -> None:
    """Do ``work``, and again while it fails for a reason that can pass. ``retrying`` is told the failure and how many tries are left."""
    for left in range(compute.retries, -1, -1):
        try:
            return work()
        except PeError as error:
            if not left or not is_passing(error, compute=compute):
                raise
            retrying(error, left)
        sleep(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (compute.retries - left)))
    return None


def is_passing(error: PeError, *, compute: Compute) -> bool:
    """Whether the same work may do well a minute later."""
    if isinstance(error, CancelledError):
        return False
    taken_away = error.kind is Kind.STOPPED and error.where is None  # by a signal; a window names its key
    return error.kind is Kind.INFRASTRUCTURE or (taken_away and compute.interruptible)
