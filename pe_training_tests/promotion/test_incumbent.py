"""Against the incumbent: as safe give or take a margin, of better quality, and compared with whoever holds the stage on that day."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_json
from pe_training.datasets.recall import Selector
from pe_training.evaluation.record import Comparison, Metric
from pe_training.lineage.recall import recall
from pe_training.promotion.facts import Facts, holder
from pe_training.promotion.findings import outcome_of
from pe_training.promotion.pointers import current
from pe_training.promotion.policy import Rule
from pe_training.promotion.record import Holder, PromotionDecision
from pe_training.promotion.stages import apply_decision, promote, rollback
from pe_training.promotion.verdict import judge, require_follows
from pe_training.storage.state import State
from pe_training_tests.promotion import factory

WHO: dict[str, Any] = {"actor": "a test", "reason": "to see"}
MINE, HELD, OTHER = ("ck_" + digit * 32 for digit in "123")


def rule(test: str = "non_inferiority", *, bound: str = "at_least", margin: float = 0.02) -> Rule:
    return Rule.model_validate(
        {"id": "kept", "title": "Change of crisis recall", "suite": "safety", "metric": "crisis_recall", "of": "difference",
         "against": "incumbent", "test": test, "margin": margin, "bound": bound, "unit": "proportion", "min_n": 30}
    )  # fmt: skip


def change(value: float, low: float, high: float, n: int = 300) -> Comparison:
    return Comparison(value=value, low=low, high=high, n=n, method="newcombe-10")


def said(by: Rule, over: Comparison | None, *, held: Holder | None, asked: str | None = HELD, chain: factory.Chain) -> tuple[str, str]:
    base = change(-0.9, -0.95, -0.85)  # against the base model it is far worse: nothing of that may be heard here
    metric = factory.good("safety", "crisis_recall", value=0.95).model_copy(update={"over_incumbent": over, "difference": base})
    report = chain.report.model_copy(update={"metrics": (metric,), "incumbent": asked, "checkpoint_id": MINE})
    found = outcome_of(by, report, task="causal_lm", policy_name="production", facts=Facts(holder=held))
    return found.verdict, found.reason


@pytest.fixture
def state(tmp_path: Path) -> State:
    return factory.new_state(tmp_path)


@pytest.mark.parametrize(
    ("by", "over", "verdict"),
    [
        (rule(), change(0.0, -0.019, 0.019), "pass"), (rule(), change(0.0, -0.021, 0.021), "inconclusive"),
        (rule(), change(-0.06, -0.09, -0.03), "fail"), (rule(), change(0.05, 0.03, 0.07, n=29), "inconclusive"),
        (rule(bound="at_most"), change(0.01, 0.0, 0.02), "pass"), (rule(bound="at_most"), change(0.01, 0.0, 0.021), "inconclusive"),
        (rule(bound="at_most"), change(0.05, 0.03, 0.07), "fail"),
        (rule("superiority", margin=0.0), change(0.02, 0.001, 0.04), "pass"),
        (rule("superiority", margin=0.0), change(0.02, 0.0, 0.04), "inconclusive"),  # as good is not better
        (rule("superiority", margin=0.01), change(0.02, 0.009, 0.04), "inconclusive"),
        (rule("superiority", margin=0.01), change(-0.02, -0.04, 0.005), "fail"),
        (rule("superiority", margin=0.01, bound="at_most"), change(-0.03, -0.04, -0.02), "pass"), (rule(), None, "inconclusive"),
    ],
)  # fmt: skip
def test_the_pessimistic_end_of_the_paired_difference_is_held_against_the_margin(
    state: State, by: Rule, over: Comparison | None, verdict: str
) -> None:
    assert said(by, over, held=Holder(checkpoint_id=HELD), chain=factory.make_chain(state))[0] == verdict


NEEDS = "production needs at least -2 points (not worse than the incumbent)"
TITLE = "Change of crisis recall"
NOT_ASKED = (
    TITLE + " has no comparison with ck_2222222222, which holds the stage (the report was compared with {}); "
    + NEEDS + ": a run with `evaluation.incumbent` set to the stage would decide"
)  # fmt: skip
AGAINST = TITLE + " is judged against what holds the stage"


@pytest.mark.parametrize(
    ("held", "asked", "verdict", "reason"),
    [
        (Holder(checkpoint_id=HELD), HELD, "pass",
         f"{TITLE} is 0.0 points (95 % interval -1.9 to 1.9, n 300); {NEEDS}: even the lower end reaches it"),
        (Holder(checkpoint_id=HELD), None, "inconclusive", NOT_ASKED.format("no incumbent")),
        (Holder(checkpoint_id=HELD), OTHER, "inconclusive", NOT_ASKED.format("ck_3333333333")),
        (Holder(), None, "not_applicable", f"{AGAINST}, and nothing does: this is the first model of its line there"),
        (Holder(), OTHER, "not_applicable", f"{AGAINST}, and nothing does: this is the first model of its line there"),
        (Holder(checkpoint_id=MINE), HELD, "not_applicable", f"{AGAINST}, and this model holds it itself"),
        (Holder(checkpoint_id=HELD, recalled=True), None, "not_applicable",
         f"{AGAINST}, and ck_2222222222 comes from recalled data: nothing is asked of it any more"),
        (None, HELD, "inconclusive", f"{AGAINST} of production, and nobody looked what that is"),
    ],
)  # fmt: skip
def test_whom_it_was_compared_with_decides_whether_it_was_compared(
    state: State, held: Holder | None, asked: str | None, verdict: str, reason: str
) -> None:
    found = said(rule(), change(0.0, -0.019, 0.019), held=held, asked=asked, chain=factory.make_chain(state))
    assert found == (verdict, reason)


def test_a_comparison_that_the_report_lacks_is_missed_by_its_name(state: State) -> None:
    found = said(rule(), None, held=Holder(checkpoint_id=HELD), chain=factory.make_chain(state))
    assert found[1].startswith("Change of crisis recall has no comparison with the incumbent; production needs")


def in_production(state: State, seed: int) -> factory.Chain:
    """A model that went up all stages."""
    chain = factory.make_chain(state, seed=seed)
    for policy in ("staging", "production"):
        apply_decision(factory.judged(state, factory.again_under(state, chain, policy)), state=state)
    assert holder("empathy", "production", state=state).checkpoint_id == chain.checkpoint.id
    return chain


def production_decision(state: State, chain: factory.Chain) -> PromotionDecision:
    apply_decision(factory.judged(state, chain), state=state)
    return factory.judged(state, factory.again_under(state, chain, "production"))


def test_the_second_model_must_be_compared_with_the_first(state: State) -> None:
    second = factory.make_chain(state, seed=2)  # evaluated before anything was in production
    first = in_production(state, 1)
    apply_decision(factory.judged(state, second), state=state)
    manifest = factory.make_manifest(state, line="empathy", seed=2, policy="production", dataset=second.dataset)
    alone = judge(second.report.id, manifest_id=manifest.id, state=state)
    assert (alone.verdict, alone.compared, alone.holder) == ("inconclusive", None, Holder(checkpoint_id=first.checkpoint.id))
    beside = production_decision(state, second)
    assert (beside.verdict, beside.compared, beside.attempt) == ("pass", first.checkpoint.id, 3)
    require_follows(beside, state=state)
    promote(second.checkpoint.id, stage="production", decision_id=beside.id, state=state, **WHO)
    assert holder("empathy", "production", state=state).checkpoint_id == second.checkpoint.id
    require_follows(beside, state=state)  # also now that it holds the stage itself
    assert judge(beside.report_id, manifest_id=beside.manifest_id, state=state) == beside


def test_a_model_of_lower_quality_does_not_take_the_place_of_a_better_one(state: State) -> None:
    in_production(state, 1)
    second = factory.make_chain(state, seed=2)
    worse = [
        metric.model_copy(update={"over_incumbent": Comparison(value=-0.02, low=-0.03, high=-0.01, n=5000, method="paired-student-t")})
        if metric.name == "therapeutic_score" else metric
        for metric in second.report.metrics
    ]  # fmt: skip
    report = second.report.model_copy(update={"metrics": tuple(worse), "request": digest_json("worse")})
    state.registry.put(report)
    manifest = factory.make_manifest(state, line="empathy", seed=2, policy="production", dataset=second.dataset)
    decision = judge(report.id, manifest_id=manifest.id, state=state)
    assert decision.verdict == "fail"
    assert [o.rule for o in decision.outcomes if o.verdict == "fail"] == ["therapeutic-quality-gained"]


def test_a_pass_against_an_incumbent_that_has_gone_moves_nothing(state: State) -> None:
    in_production(state, 1)
    second, third = factory.make_chain(state, seed=2), factory.make_chain(state, seed=3)
    late = production_decision(state, third)
    sooner = production_decision(state, second)
    promote(second.checkpoint.id, stage="production", decision_id=sooner.id, state=state, **WHO)
    rollback("empathy", stage="staging", to=third.checkpoint.id, state=state, **WHO)
    for move in (
        lambda: promote(third.checkpoint.id, stage="production", decision_id=late.id, state=state, **WHO),
        lambda: apply_decision(late, state=state),
    ):
        with pytest.raises(PeError, match=r"was judged while ck_.* held production of empathy, and now ck_.* does") as caught:
            move()
        assert caught.value.kind == Kind.REFUSED
        assert caught.value.hint
        assert "incumbent: production" in caught.value.hint
    assert {p.stage: p.checkpoint_id for p in current(state)}["production"] == second.checkpoint.id


def test_the_first_model_is_no_first_model_once_another_came_before_it(state: State) -> None:
    first, second = factory.make_chain(state, seed=1), factory.make_chain(state, seed=2)
    alone = production_decision(state, second)
    assert (alone.verdict, alone.holder) == ("pass", Holder())
    in_production(state, 1)
    rollback("empathy", stage="staging", to=second.checkpoint.id, state=state, **WHO)
    with pytest.raises(PeError, match="was judged while nothing held production of empathy, and now ck_"):
        promote(second.checkpoint.id, stage="production", decision_id=alone.id, state=state, **WHO)
    assert holder("empathy", "production", state=state).checkpoint_id == first.checkpoint.id


def test_a_recalled_incumbent_stands_in_nobodys_way(state: State) -> None:
    poisoned = factory.make_dataset(state).model_copy(update={"name": "poisoned"})
    state.registry.put(poisoned)
    first = factory.make_chain(state, seed=1, dataset=poisoned)
    for policy in ("staging", "production"):
        apply_decision(factory.judged(state, factory.again_under(state, first, policy)), state=state)
    recall(state, Selector(kind="version", value=poisoned.id), **WHO)
    assert holder("empathy", "production", state=state) == Holder(checkpoint_id=first.checkpoint.id, recalled=True)
    second = factory.make_chain(state, seed=2)
    decision = production_decision(state, second)
    assert {o.verdict for o in decision.outcomes if o.against == "incumbent"} == {"not_applicable"}
    assert decision.verdict == "pass"
    promote(second.checkpoint.id, stage="production", decision_id=decision.id, state=state, **WHO)


def test_policies_that_compare_nothing_hear_nothing_of_incumbents(state: State) -> None:
    in_production(state, 1)
    chain = factory.make_chain(state, seed=2)
    assert chain.report.incumbent
    decision = factory.judged(state, chain)
    assert (decision.holder, decision.compared) == (None, None)


def test_a_measure_beside_an_incumbent_is_a_metric_as_any(state: State) -> None:
    metric = Metric.model_validate(factory.beside(factory.excellent())[0].model_dump())
    assert metric.over_incumbent
