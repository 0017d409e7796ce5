"""What was spent, line by line. Lines are appended and never change; sums are made from them when asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import sqlalchemy as sa

from pe_training.core.clock import now, stamp
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.costs.rates import CENT_FRACTION, Rates, price
from pe_training.storage.registry import PAGE_ROWS
from pe_training.storage.state import State
from pe_training.storage.tables import charges

Step = Literal["training", "evaluation", "reproduction"]


@dataclass(frozen=True, kw_only=True)
class Charge:
    """One line of the ledger. ``rates_digest`` names the price list it was settled at."""

    seq: int
    subject: str  # id of the run or the report
    step: str
    instance: str
    duration_ms: int
    cost_usd: Decimal
    rates_digest: str
    at: str


def settle(state: State, *, subject: str, step: Step, instance: str, duration_s: float, rates: Rates) -> Charge:
    """Append what ``duration_s`` seconds of ``instance`` cost. Call it once for each stretch of work, a resumed one too.

    The price is that of the duration as it is kept, in whole milliseconds, so that anybody can compute it again.
    Raises input for an unknown instance.
    """
    duration_ms = round(duration_s * 1000)
    row = {
        "subject": subject,
        "step": step,
        "instance": instance,
        "duration_ms": duration_ms,
        "cost_usd": str(price(rates, instance=instance, duration_s=duration_ms / 1000)),
        "rates_digest": rates.content_digest,
        "at": stamp(now()),
    }
    with state.registry.writing() as connection:
        made = connection.execute(sa.insert(charges).values(**row)).inserted_primary_key
        assert made is not None
        return _charge(connection.execute(sa.select(charges).where(charges.c.seq == made[0])).one())


@contextmanager
def settling(state: State, *, subject: str, step: Step, instance: str, rates: Rates) -> Iterator[None]:
    """Settle the time that the body takes, however it ends short of a SIGKILL."""
    began = time.monotonic()
    try:
        yield
    finally:
        settle(state, subject=subject, step=step, instance=instance, duration_s=time.monotonic() - began, rates=rates)


def spent(state: State, *, subject: str, step: Step | None = None) -> Decimal:
    """USD settled for a subject so far; for one ``step`` of it only, if one is named."""
    query = sa.select(charges.c.cost_usd).where(charges.c.subject == subject)
    query = query.where(charges.c.step == step) if step is not None else query
    with state.registry.reading() as connection:
        return sum((Decimal(row.cost_usd) for row in connection.execute(query)), Decimal("0.000000"))


def ledger(state: State, *, subject: str | None = None, before: int | None = None, limit: int = PAGE_ROWS) -> tuple[Charge, ...]:
    """Charges, newest first, one page; ``before`` is the ``seq`` of the last row of the page above."""
    query = sa.select(charges).order_by(charges.c.seq.desc()).limit(limit)
    query = query.where(charges.c.subject == subject) if subject is not None else query
    query = query.where(charges.c.seq < before) if before is not None else query
    with state.registry.reading() as connection:
        return tuple(_charge(row) for row in connection.execute(query))


def remaining(state: State, *, subject: str, budget_usd: Decimal) -> Decimal:
    """USD left of a budget; below zero where it is overdrawn."""
    return (budget_usd - spent(state, subject=subject)).quantize(CENT_FRACTION)


def seconds_left(state: State, *, subject: str, budget_usd: Decimal, instance: str, rates: Rates) -> float:
    """How long ``instance`` may still work on a subject before its budget is used up; infinite where it costs nothing.

    Raises budget where nothing is left, and input for an unknown instance.
    """
    left = remaining(state, subject=subject, budget_usd=budget_usd)
    hourly = rates.instance(instance).usd_per_hour
    if left <= 0:
        message = f"the budget of {budget_usd:.2f} USD for {short(subject)} is used up ({budget_usd - left:.2f} USD spent)"
        raise PeError(
            Kind.BUDGET, message, where=subject, hint="raise budget.max_cost_usd; saved state is kept and the run goes on from it"
        )
    return float(left / hourly * 3600) if hourly else float("inf")


def _charge(row: sa.Row[tuple[object, ...]]) -> Charge:
    values = dict(row._mapping)
    return Charge(**values | {"cost_usd": Decimal(values["cost_usd"])})
