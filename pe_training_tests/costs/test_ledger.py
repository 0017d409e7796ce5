"""The ledger: appended, priced from what it keeps, summed exactly."""

from __future__ import annotations

import threading
from decimal import Decimal
from pathlib import Path

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.costs.ledger import ledger, remaining, seconds_left, settle, spent
from pe_training.costs.rates import load_rates, price
from pe_training.settings import SAMPLES, Settings
from pe_training.storage.state import State

RATES = load_rates(SAMPLES / "rates.yaml")
RUN = "run_" + "1" * 32


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(Settings(home=tmp_path, artifacts_url="", database_url=""))


def test_a_charge_can_be_computed_again_from_what_is_kept(state: State) -> None:
    charge = settle(state, subject=RUN, step="training", instance="m5.large", duration_s=1234.56789, rates=RATES)
    assert charge.duration_ms == 1_234_568
    assert charge.cost_usd == price(RATES, instance="m5.large", duration_s=charge.duration_ms / 1000)
    assert charge.rates_digest == RATES.content_digest
    assert ledger(state) == (charge,)


def test_a_resumed_run_pays_for_every_stretch(state: State) -> None:
    for duration_s in (3600, 1800):
        settle(state, subject=RUN, step="training", instance="h100-80", duration_s=duration_s, rates=RATES)
    settle(state, subject="ev_" + "2" * 32, step="evaluation", instance="h100-80", duration_s=3600, rates=RATES)
    assert spent(state, subject=RUN) == Decimal("7.500000")
    assert spent(state, subject="run_" + "9" * 32) == 0


def test_an_unknown_instance_settles_nothing(state: State) -> None:
    with pytest.raises(PeError, match="no price for instance"):
        settle(state, subject=RUN, step="training", instance="h200", duration_s=1, rates=RATES)
    assert ledger(state) == ()


def test_sixteen_charges_at_once_are_all_kept(state: State) -> None:
    state.registry.close()
    threads = [
        threading.Thread(target=settle, args=(State(state.settings),),
                         kwargs={"subject": RUN, "step": "training", "instance": "l4-24", "duration_s": 6, "rates": RATES})
        for _ in range(16)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spent(state, subject=RUN) == Decimal("0.016000")


def test_the_ledger_is_paged_newest_first(state: State) -> None:
    made = [settle(state, subject=RUN, step="training", instance="l4-24", duration_s=second, rates=RATES) for second in (1, 2, 3)]
    assert ledger(state, limit=2) == (made[2], made[1])
    assert ledger(state, before=made[1].seq) == (made[0],)
    assert ledger(state, subject="run_" + "9" * 32) == ()


def test_what_is_left_of_a_budget_is_money_and_time(state: State) -> None:
    settle(state, subject=RUN, step="training", instance="h100-80", duration_s=720, rates=RATES)
    budget = Decimal("1.50")
    assert remaining(state, subject=RUN, budget_usd=budget) == Decimal("0.500000")
    assert seconds_left(state, subject=RUN, budget_usd=budget, instance="h100-80", rates=RATES) == 360.0
    settle(state, subject=RUN, step="training", instance="h100-80", duration_s=720, rates=RATES)
    assert remaining(state, subject=RUN, budget_usd=budget) == Decimal("-0.500000")
    with pytest.raises(PeError) as caught:
        seconds_left(state, subject=RUN, budget_usd=budget, instance="h100-80", rates=RATES)
    assert caught.value.kind == Kind.BUDGET
    assert str(caught.value) == (
        f"{RUN}: the budget of 1.50 USD for run_1111111111 is used up (2.00 USD spent) "
        "(raise budget.max_cost_usd; saved state is kept and the run goes on from it)"
    )
