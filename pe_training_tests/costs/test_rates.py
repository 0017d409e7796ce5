"""Rates: dated, in text, and never a default price."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pe_training.core.errors import Kind, PeError
from pe_training.costs.rates import Rates, load_rates, price, price_egress, price_storage
from pe_training.settings import SAMPLES

RATES = load_rates(SAMPLES / "rates.yaml")
DOMAIN = {  # DOMAIN.md section 5, and the machine that the first user sits at
    "h100-80": "5.00", "a100-80": "3.06", "l40s-48": "1.80", "l4-24": "0.60", "a10-24": "0.75", "t4-16": "0.53",
    "m5.large": "0.096", "m5.xlarge": "0.192", "cpu-local": "0.02",
}  # fmt: skip


def test_the_shipped_rates_are_those_of_the_domain() -> None:
    assert {name: instance.usd_per_hour for name, instance in RATES.instances.items()} == {n: Decimal(p) for n, p in DOMAIN.items()}
    assert RATES.as_of == date(2026, 1, 15)
    assert (RATES.storage.usd_per_gb_month_low, RATES.storage.usd_per_gb_month_high) == (Decimal("0.08"), Decimal("0.10"))
    assert RATES.storage.egress_usd_per_gb == Decimal("0.09")


def test_no_gpu_is_priced_as_a_cpu() -> None:
    cpu = max(i.usd_per_hour for i in RATES.instances.values() if i.accelerators == 0)
    assert all(i.usd_per_hour > cpu for i in RATES.instances.values() if i.accelerators)


def test_prices_are_exact_to_a_millionth() -> None:
    assert price(RATES, instance="h100-80", duration_s=3600) == Decimal("5.000000")
    assert price(RATES, instance="m5.large", duration_s=1) == Decimal("0.000027")  # 0.0000266...
    assert price(RATES, instance="cpu-local", duration_s=0) == Decimal("0.000000")
    assert price_storage(RATES, size_gb=50, months=2) == (Decimal("8.000000"), Decimal("10.000000"))
    assert price_egress(RATES, size_gb=0.5) == Decimal("0.045000")


@given(st.floats(0, 1e7), st.floats(0, 1e7))
def test_two_stretches_cost_what_one_does_up_to_rounding(one: float, two: float) -> None:
    apart = price(RATES, instance="a100-80", duration_s=one) + price(RATES, instance="a100-80", duration_s=two)
    assert abs(apart - price(RATES, instance="a100-80", duration_s=one + two)) <= Decimal("0.000003")


@given(st.sampled_from(sorted(DOMAIN)), st.floats(0, 1e7), st.floats(0, 1e7))
def test_more_time_never_costs_less(instance: str, one: float, two: float) -> None:
    less, more = sorted((one, two))
    assert price(RATES, instance=instance, duration_s=less) <= price(RATES, instance=instance, duration_s=more)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("h100-8", "did you mean 'h100-80'?"),
        ("H100", "allowed here: a10-24, a100-80, cpu-local, h100-80, l4-24, l40s-48, m5.large, m5.xlarge, t4-16"),
    ],
)
def test_an_unknown_instance_has_no_price(name: str, hint: str) -> None:
    with pytest.raises(PeError) as caught:
        price(RATES, instance=name, duration_s=1)
    assert caught.value.kind == Kind.INPUT
    assert str(caught.value) == f"compute.instance: no price for instance {name!r} in the rates of 2026-01-15 ({hint})"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"5.00"', "5.00"), ':11:27: instances.h100-80.usd_per_hour: write a price as text in quotes, like "5.00" (got 5.0)'),
        *((('"5.00"', f'"{bad}"'),
           ":11:27: instances.h100-80.usd_per_hour: must be an amount from 0 to 1,000,000 with at most 6 decimals "
           f"(got '{bad}')") for bad in ("-5", "NaN", "Infinity", "1e99", "0.0000001")),
        (('"5.00"', '"five"'), ":11:27: instances.h100-80.usd_per_hour: is not an amount of money, like \"5.00\" (got 'five')"),
        (("currency: USD", "currency: EUR"), ":8:11: currency: input should be 'USD' (got 'EUR')"),
        (("accelerator: H100-80, accelerators: 1", "accelerator: none, accelerators: 1"),
         ":11:12: instances.h100-80: accelerators is 0 exactly where accelerator is none (got "),
        (("as_of: 2026-01-15", "as_of: soon"), ":7:8: as_of: input should be a valid date (got 'soon')"),
    ],
)  # fmt: skip
def test_a_rates_file_that_does_not_fit_is_refused_at_its_place(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    text = (SAMPLES / "rates.yaml").read_text()
    assert change[0] in text
    path = tmp_path / "rates.yaml"
    path.write_text(text.replace(*change, 1))
    with pytest.raises(PeError) as caught:
        load_rates(path)
    assert caught.value.kind == Kind.INPUT
    assert str(caught.value).startswith(f"{path}{message}")


def test_rates_have_a_digest_that_changes_with_a_price() -> None:
    dearer = RATES.instances["l4-24"].model_copy(update={"usd_per_hour": Decimal("0.61")})
    other = RATES.model_copy(update={"instances": RATES.instances | {"l4-24": dearer}})
    assert Rates.model_validate(RATES.model_dump()).content_digest == RATES.content_digest != other.content_digest
