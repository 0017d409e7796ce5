"""Reasons to end early. Each saves, is named, and can be continued; none is ever mistaken for having finished."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from decimal import Decimal
from types import FrameType

from pe_training.core.errors import Kind, PeError
from pe_training.costs.rates import Rates, price
from pe_training.manifests.schema import Manifest

AGAIN = "its state is saved; run the same command again to continue"


class Stops:
    """Watches signals, the wall-clock window and the budget; asked after every step."""

    def __init__(self, spec: Manifest, *, spent_usd: Decimal, rates: Rates, clock: Callable[[], float] = time.monotonic) -> None:
        """``spent_usd``: what earlier attempts of this run have cost."""
        self._spec, self._spent_usd, self._rates, self._clock = spec, spent_usd, rates, clock
        self._began = clock()
        self._signal: str | None = None

    def listen(self) -> None:
        """Take SIGTERM and SIGINT as requests to save and stop at the next step."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def reason(self) -> PeError | None:
        """Why to stop now, or ``None``."""
        if self._signal:
            return PeError(Kind.STOPPED, f"training was stopped by {self._signal}", hint=AGAIN)
        window_s = self._spec.compute.max_hours * 3600 - self._spec.compute.stop_margin_minutes * 60
        if self.elapsed_s >= window_s:
            message = f"training reached its window of {self._spec.compute.max_hours:g} h (less the margin)"
            return PeError(Kind.STOPPED, message, where="compute.max_hours", hint=AGAIN)
        limit, cost = Decimal(str(self._spec.budget.max_cost_usd)), self.cost_usd
        if cost >= limit:
            hint = "raise budget.max_cost_usd and run it again to continue; its state is saved"
            return PeError(Kind.BUDGET, f"training reached its budget: {cost:.4f} of {limit} USD", where="budget.max_cost_usd", hint=hint)
        return None

    @property
    def elapsed_s(self) -> float:
        """Seconds since this attempt began."""
        return self._clock() - self._began

    @property
    def cost_usd(self) -> Decimal:
        """Cost so far, earlier attempts included."""
        return self._spent_usd + price(self._rates, instance=self._spec.compute.instance, duration_s=self.elapsed_s)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = signal.Signals(number).name
