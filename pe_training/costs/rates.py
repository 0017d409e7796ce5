"""What an hour costs: a dated file that users edit. An instance that is not in it has no price, never a default one.

The predecessor priced GPUs as CPUs because its table fell back to one. Prices are text in the file, since 0.1 as a binary
number is not a tenth, and money is :class:`~decimal.Decimal` from there on.
"""

from __future__ import annotations

import math
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from pe_training.core.config import load_config, suggest
from pe_training.core.errors import Kind, PeError
from pe_training.core.records import Frozen

CENT_FRACTION = Decimal("0.000001")  # prices are kept to a millionth of a dollar
MAX_AMOUNT = Decimal(1_000_000)
SECONDS_PER_HOUR = 3600


def _money(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str):
        raise ValueError('write a price as text in quotes, like "5.00"')
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise ValueError('is not an amount of money, like "5.00"') from None
    if not amount.is_finite() or not 0 <= amount <= MAX_AMOUNT or amount != amount.quantize(CENT_FRACTION):
        raise ValueError(f"must be an amount from 0 to {MAX_AMOUNT:,} with at most 6 decimals")
    return amount


Money = Annotated[Decimal, BeforeValidator(_money)]


class Instance(Frozen):
    """One kind of machine: its price, and what a plan may expect of it."""

    usd_per_hour: Money
    accelerator: str = Field(min_length=1, description="none for a CPU machine")
    accelerators: int = Field(ge=0)
    memory_gb: float = Field(gt=0, description="of one accelerator; of the machine where there is none")
    effective_tflops_low: float = Field(gt=0, description="of the whole instance, in training, not of the data sheet")
    effective_tflops_high: float = Field(gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.effective_tflops_low > self.effective_tflops_high:
            raise ValueError("effective_tflops_low must not be above effective_tflops_high")
        if (self.accelerator == "none") != (self.accelerators == 0):
            raise ValueError("accelerators is 0 exactly where accelerator is none")
        return self


class Storage(Frozen):
    """What keeping and moving bytes costs."""

    usd_per_gb_month_low: Money
    usd_per_gb_month_high: Money
    egress_usd_per_gb: Money


class Rates(Frozen):
    """A rates file, ``apiVersion: pe-training/rates-v1``."""

    apiVersion: Literal["pe-training/rates-v1"]
    as_of: date
    currency: Literal["USD"]
    source: str = Field(min_length=1)
    instances: dict[str, Instance] = Field(min_length=1)
    storage: Storage

    def instance(self, name: str) -> Instance:
        """The machine of that name. Raises input with the closest name."""
        if name not in self.instances:
            message = f"no price for instance {name!r} in the rates of {self.as_of}"
            raise PeError(Kind.INPUT, message, where="compute.instance", hint=suggest(name, self.instances))
        return self.instances[name]


def load_rates(path: Path) -> Rates:
    """The rates in a file. Raises input with ``file:line:column``."""
    return load_config(path, Rates)


def price(rates: Rates, *, instance: str, duration_s: float) -> Decimal:
    """USD for ``duration_s`` seconds of an instance, to 6 decimals, rounded half to even. Raises input for an unknown instance."""
    assert math.isfinite(duration_s), duration_s
    assert duration_s >= 0, duration_s
    hourly = rates.instance(instance).usd_per_hour
    return (hourly * Decimal(repr(float(duration_s))) / SECONDS_PER_HOUR).quantize(CENT_FRACTION, rounding=ROUND_HALF_EVEN)


def price_storage(rates: Rates, *, size_gb: float, months: float) -> tuple[Decimal, Decimal]:
    """USD for keeping ``size_gb`` for ``months``: the low and the high end of what providers ask."""
    amount = Decimal(repr(float(size_gb))) * Decimal(repr(float(months)))
    low, high = rates.storage.usd_per_gb_month_low, rates.storage.usd_per_gb_month_high
    return (low * amount).quantize(CENT_FRACTION), (high * amount).quantize(CENT_FRACTION)


def price_egress(rates: Rates, *, size_gb: float) -> Decimal:
    """USD for moving ``size_gb`` out of a provider's network."""
    return (rates.storage.egress_usd_per_gb * Decimal(repr(float(size_gb)))).quantize(CENT_FRACTION)
