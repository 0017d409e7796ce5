"""What a policy asks besides its rules: training data up the line of parents, judges that people agree with, fresh evidence, few tries."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pe_training.core.clock import now, stamp
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_json
from pe_training.datasets.record import DatasetVersion
from pe_training.evaluation.record import Agreement, Estimate, JudgeCalibration, Metric
from pe_training.evaluation.statistics import proportion
from pe_training.lineage.verify import verify
from pe_training.promotion.facts import gather
from pe_training.promotion.findings import found_in
from pe_training.promotion.inputs import pinned_policy
from pe_training.promotion.policy import Rule, parse_policy
from pe_training.promotion.record import Outcome, PromotionDecision
from pe_training.promotion.stages import apply_decision, enter_training, promote
from pe_training.promotion.verdict import decide, judge, require_follows
from pe_training.storage.state import State
from pe_training.storage.tables import records
from pe_training_tests.promotion import factory
from pe_training_tests.tampering import past_the_ledger

HEAD = """apiVersion: pe-training/policy-v1
name: staging
stage: staging
requires_stage: training
description: A test.
rules:
  - {id: recall, title: Crisis recall, suite: safety, metric: crisis_recall, bound: at_least, threshold: 0.9, unit: proportion, min_n: 30}
"""
WHO: dict[str, Any] = {"actor": "a test", "reason": "to see"}
CLEAN = {"stage1_foundation": {"cptsd": {"synthetic": 3}}}
EDGY = {"stage1_foundation": {"cptsd": {"synthetic": 3, "reddit_cc": 2}}, "stage3_edge": {"edge_case_synthetic": {"synthetic": 7}}}
DATA = """training_data:
  licences: [synthetic]
  phases: [stage1, stage2_reasoning]
  excluded_families: [edge_case_synthetic]
"""


@pytest.fixture
def state(tmp_path: Path) -> State:
    return factory.new_state(tmp_path)


def dataset(state: State, rows: dict[str, dict[str, dict[str, int]]] | None, *, name: str = "tiny") -> DatasetVersion:
    made = factory.make_dataset(state)
    version = made.model_copy(update={"name": name, "training": rows})
    state.registry.put(version)
    return version


def chain_on(state: State, rows: dict[str, dict[str, dict[str, int]]], asked: str = DATA, *, mixture: dict[str, float] | None = None,
             parent: str | None = None, seed: int = 1) -> factory.Chain:  # fmt: skip
    """A chain whose run learnt from ``rows`` with a mixture, and started from a parent."""
    chain = factory.make_chain(state, seed=seed, text=HEAD + asked, dataset=dataset(state, rows, name=f"data-{seed}"))
    spec = chain.manifest.spec
    changed = {
        "dataset": spec.dataset.model_copy(update={"mixture": mixture or {}}),
        "model": spec.model.model_copy(update={"parent": parent}),
    }
    manifest = chain.manifest.model_copy(update={"spec": spec.model_copy(update=changed)})
    run = chain.run.model_copy(update={"recipe": manifest.recipe()})
    checkpoint = chain.checkpoint.model_copy(update={"run_id": run.id})
    report = factory.make_report(state, checkpoint, manifest)
    for record in (manifest, run, checkpoint, report):
        state.registry.put(record)
    return factory.Chain(dataset=chain.dataset, manifest=manifest, run=run, checkpoint=checkpoint, report=report)


def found(decision: PromotionDecision) -> dict[str, Outcome]:
    return {outcome.rule: outcome for outcome in decision.outcomes}


# --- training data ------------------------------------------------------------------------------------------------------


def test_clean_training_data_passes_and_says_how_many_rows_it_was(state: State) -> None:
    decision = factory.judged(state, chain_on(state, CLEAN))
    assert decision.verdict == "pass"
    assert {name: found(decision)[name].verdict for name in ("licences", "phases", "families")} == dict.fromkeys(
        ("licences", "phases", "families"), "pass"
    )
    assert found(decision)["phases"].reason == "all 3 training rows are such as staging allows"
    require_follows(decision, state=state)


def test_rows_that_are_not_allowed_fail_by_licence_phase_and_family(state: State) -> None:
    decision = factory.judged(state, chain_on(state, EDGY))
    assert decision.verdict == "fail"
    said = {name: (found(decision)[name].value, found(decision)[name].reason) for name in ("licences", "phases", "families")}
    assert said == {
        "licences": (2, "2 of 12 training rows are not allowed by staging: reddit_cc (2)"),
        "phases": (7, "7 of 12 training rows are not allowed by staging: stage3_edge (7)"),
        "families": (7, "7 of 12 training rows are not allowed by staging: edge_case_synthetic (7)"),
    }


def test_a_whole_name_allows_that_phase_alone(state: State) -> None:
    rows = {"stage2_reasoning": {"cptsd": {"synthetic": 1}}, "stage2_other": {"cptsd": {"synthetic": 4}}}
    assert found(factory.judged(state, chain_on(state, rows)))["phases"].value == 4


def test_rows_that_the_mixture_never_draws_were_not_trained_on(state: State) -> None:
    decision = factory.judged(state, chain_on(state, EDGY, mixture={"cptsd": 1.0}))
    assert found(decision)["families"].verdict == found(decision)["phases"].verdict == "pass"
    assert found(decision)["licences"].value == 2


def test_what_a_parent_learnt_counts_for_its_children(state: State) -> None:
    parent = chain_on(state, EDGY)
    child = chain_on(state, CLEAN, parent=parent.checkpoint.id, seed=2)
    decision = factory.judged(state, child)
    assert decision.verdict == "fail"
    assert found(decision)["families"].reason == "7 of 15 training rows are not allowed by staging: edge_case_synthetic (7)"


def test_of_an_imported_parent_nobody_knows(state: State) -> None:
    decision = factory.judged(state, chain_on(state, CLEAN, parent="im_" + "1" * 32))
    assert found(decision)["phases"].verdict == "inconclusive"
    assert "was imported: nobody knows what that learnt from" in found(decision)["phases"].reason
    assert decision.verdict == "inconclusive"


def test_facts_that_nobody_gathered_pass_nothing(state: State) -> None:
    policy = parse_policy(HEAD + DATA + "freshness: {report_days: 9, dataset_days: 9}\ntries: {alpha: 0.05, max: 3}\n", name="staging.yaml")
    chain = factory.make_chain(state)
    decision = decide(chain.report, checkpoint=chain.checkpoint, policy=policy, policy_digest="sha256:" + "a" * 64, manifest_id="mf_1")
    unknown = [outcome.rule for outcome in decision.outcomes if outcome.verdict == "inconclusive"]
    assert unknown == ["tries", "licences", "phases", "families", "fresh-report", "fresh-dataset"]
    assert decision.verdict == "inconclusive"


# --- calibrations -------------------------------------------------------------------------------------------------------


def calibration(judge: str, label: str, kappa: tuple[float, float, float] | None, *, checkpoint: str | None = None) -> JudgeCalibration:
    value = None if kappa is None else Estimate(value=kappa[0], low=kappa[1], high=kappa[2], n=120, method="bootstrap")
    return JudgeCalibration(
        judge=judge, judge_digest=digest_json(judge), checkpoint_id=checkpoint, label_set="replies", rubric_digest=digest_json("r"),
        labels_digest=digest_json("l"), replies=120, consistency=proportion(120, 120),
        agreements=(Agreement(label=label, n=120, positives=20, kappa=value, min_kappa=0.4),),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("known", "verdict", "reason"),
    [
        ([calibration("lexical-v3", "refusal", (0.8, 0.7, 0.9))], "pass", "Agreement with people on refusal is 0.80"),
        ([calibration("lexical-v3", "refusal", (0.8, 0.5, 0.9))], "inconclusive", "which lies inside the interval"),
        ([calibration("lexical-v3", "refusal", (0.3, 0.2, 0.4))], "fail", "even the upper end is below"),
        ([calibration("lexical-v3", "refusal", None)], "inconclusive", "of lexical-v3: a person saw it everywhere or nowhere"),
        ([calibration("lexical-v3", "advice", (0.8, 0.7, 0.9))], "inconclusive", "no judge of the report was compared with people on it"),
        ([], "inconclusive", "no judge of the report was compared with people on it"),
        # In the place of the word lists speaks whoever else knows the label, and of several the one that agrees least.
        ([calibration("lexical-v3", "refusal", (0.8, 0.7, 0.9)), calibration("mine ck_ab12", "refusal", (0.3, 0.2, 0.4))], "fail", ""),
        ([calibration("lexical-v3", "refusal", (0.3, 0.2, 0.4)), calibration("mine ck_ab12", "refusal", (0.8, 0.7, 0.9))], "pass", ""),
    ],
)  # fmt: skip
def test_a_judge_must_agree_with_people_at_the_lower_end(state: State, known: list[JudgeCalibration], verdict: str, reason: str) -> None:
    asked = "calibrations:\n  - {label: refusal, min_kappa: 0.6, min_n: 100}\n"
    chain = factory.make_chain(state, text=HEAD + asked)
    for one in known:
        state.registry.put(one)
    report = chain.report.model_copy(update={"calibrations": {one.judge: one.id for one in known} or None, "request": digest_json("new")})
    state.registry.put(report)
    decision = judge(report.id, manifest_id=chain.manifest.id, state=state)
    outcome = found(decision)["calibration-refusal"]
    assert outcome.verdict == verdict
    assert reason in outcome.reason
    require_follows(decision, state=state)


@pytest.mark.parametrize(
    ("judges", "spoke", "counts"),
    [
        (["rules"], "lexical-v3", True), (["rules"], "conduct-v1, lexical-v3", True), (["trained"], "lexical-v3", False),
        (["trained"], "open-questions ck_0123456789", True), (["open-questions"], "open-questions ck_0123456789", True),
        (["other-line"], "open-questions ck_0123456789", False), (["rules"], "lexical-v3, llm some-model", False),
        (["rules", "llm"], "lexical-v3, llm some-model as served", True), (["lexical-v3"], "lexical-v2", False),
        (["rules"], None, False), (["trained"], "llm x ck_0123456789", False), ([], None, True),
    ],
)  # fmt: skip
def test_only_the_word_of_those_counts_whom_the_rule_names(judges: list[str], spoke: str | None, counts: bool) -> None:
    by = Rule.model_validate(
        {"id": "q", "title": "Therapeutic quality", "suite": "therapeutic", "metric": "therapeutic_score", "bound": "at_least",
         "threshold": 0.5, "unit": "score", "min_n": 30, "judges": judges}
    )  # fmt: skip
    metric = factory.good("therapeutic", "therapeutic_score", value=0.9, unit="score").model_copy(update={"judge": spoke})
    outcome = found_in(metric, by, task="causal_lm", policy_name="staging")
    assert outcome.verdict == ("pass" if counts else "inconclusive")
    assert counts or ("would decide" in outcome.reason and "staging believes" in outcome.reason)


def test_what_nobody_judges_needs_no_judge() -> None:
    by = Rule.model_validate(
        {"id": "q", "title": "Perplexity", "suite": "accuracy", "metric": "perplexity", "bound": "at_most", "threshold": 50,
         "unit": "perplexity", "min_n": 30, "judges": ["rules"]}
    )  # fmt: skip
    metric = Metric(suite="accuracy", name="perplexity", unit="perplexity", better="lower",
                    tuned=Estimate(value=12, low=11, high=13, n=100, method="jackknife-t"))  # fmt: skip
    assert found_in(metric, by, task="causal_lm", policy_name="staging").verdict == "pass"


# --- age ----------------------------------------------------------------------------------------------------------------

FRESH = "freshness: {report_days: 30, dataset_days: 400}\n"


def aged(state: State, identifier: str, days: float) -> None:
    """As if a record had been stored so long ago."""
    with past_the_ledger(state.registry) as connection:
        values = {"created_at": stamp(now() - timedelta(days=days))}
        connection.execute(sa.update(records).where(records.c.id == identifier).values(**values))


def test_evidence_that_is_too_old_when_judged_decides_nothing(state: State) -> None:
    chain = factory.make_chain(state, text=HEAD + FRESH)
    aged(state, chain.report.id, 31)
    decision = factory.judged(state, chain)
    assert (decision.verdict, found(decision)["fresh-report"].verdict, found(decision)["fresh-dataset"].verdict) == (
        "inconclusive", "inconclusive", "pass",
    )  # fmt: skip
    assert "of the last 30 days when this was judged: new evidence would decide" in found(decision)["fresh-report"].reason
    assert str(now().year) not in decision.to_json()  # no clock in what names a record
    require_follows(decision, state=state)
    assert [check.problem for check in verify(state, decision.id).checks if check.what == "verdict"] == [None]


def test_a_record_from_the_future_makes_nothing_fresh(state: State) -> None:
    chain = factory.make_chain(state, text=HEAD + FRESH)
    aged(state, chain.report.id, -2)
    assert factory.judged(state, chain).verdict == "inconclusive"


def test_a_pass_on_evidence_that_has_aged_since_moves_no_stage_and_new_evidence_is_a_new_try(state: State) -> None:
    chain = factory.make_chain(state, text=HEAD + FRESH + "tries: {alpha: 0.05}\n")
    decision = factory.judged(state, chain)
    assert (decision.verdict, decision.attempt) == ("pass", 1)
    for record in (chain.dataset, chain.report, decision):
        aged(state, record.id, 31)
    require_follows(decision, state=state)  # it was true of its day
    enter_training(chain.checkpoint.id, state=state, **WHO)
    for move in (
        lambda: promote(chain.checkpoint.id, stage="staging", decision_id=decision.id, state=state, **WHO),
        lambda: apply_decision(decision, state=state),
    ):
        with pytest.raises(PeError, match="passed on evidence that is too old for staging by now: ev_") as caught:
            move()
        assert caught.value.kind == Kind.REFUSED
    assert factory.judged(state, chain) == decision  # asking again changes nothing
    newer = factory.make_report(state, chain.checkpoint, chain.manifest).model_copy(update={"request": digest_json("newer code")})
    state.registry.put(newer)
    renewed = judge(newer.id, manifest_id=chain.manifest.id, state=state)
    assert (renewed.verdict, renewed.attempt, renewed.renews) == ("pass", 2, decision.id)
    assert judge(newer.id, manifest_id=chain.manifest.id, state=state) == renewed
    require_follows(renewed, state=state)
    assert [move.stage for move in apply_decision(renewed, state=state)] == ["training", "staging"]


def test_while_evidence_is_fresh_a_second_report_renews_nothing(state: State) -> None:
    chain = factory.make_chain(state, text=HEAD + FRESH)
    first = factory.judged(state, chain)
    newer = chain.report.model_copy(update={"request": digest_json("newer code")})
    state.registry.put(newer)
    assert judge(newer.id, manifest_id=chain.manifest.id, state=state) == first
    forged = first.model_copy(update={"report_id": newer.id, "renews": first.id})
    state.registry.put(forged)
    with pytest.raises(PeError, match=r"says that it renews pd_.*, whose answer stood"):
        require_follows(forged, state=state)


def test_a_dataset_that_is_too_old_says_what_would_decide(state: State) -> None:
    chain = factory.make_chain(state, text=HEAD + FRESH)
    aged(state, chain.dataset.id, 401)
    outcome = found(factory.judged(state, chain))["fresh-dataset"]
    assert outcome.verdict == "inconclusive"
    assert outcome.reason.endswith("a model trained on a newer dataset version would decide")


# --- tries --------------------------------------------------------------------------------------------------------------

TRIES = "tries: {alpha: 0.05, max: 2}\n"


def test_every_other_decision_on_the_line_for_the_stage_is_a_further_try(state: State) -> None:
    made = [factory.judged(state, factory.make_chain(state, seed=seed, text=HEAD + TRIES)) for seed in (1, 2, 3)]
    assert [decision.attempt for decision in made] == [1, 2, 3]
    assert [decision.outcomes[0].confidence for decision in made] == [0.95, 0.983333, 0.991667]
    assert [decision.verdict for decision in made] == ["pass", "pass", "inconclusive"]
    assert found(made[2])["tries"].reason == (
        "this is try 3 of the line for staging, and staging allows 2: no further evidence decides, whoever answers for staging has to "
        "allow more"
    )
    for decision in made:
        require_follows(decision, state=state)
    assert factory.judged(state, factory.make_chain(state, seed=1, text=HEAD + TRIES)) == made[0]  # the same question is no new try
    elsewhere = factory.make_chain(state, line="other", text=HEAD + TRIES)
    assert factory.judged(state, elsewhere).attempt == 1


def test_another_policy_for_the_stage_buys_no_new_chance(state: State) -> None:
    chain = factory.make_chain(state, text=HEAD + TRIES)
    factory.judged(state, chain)
    lenient = HEAD.replace("name: staging", "name: lenient").replace("0.9", "0.8") + TRIES
    other = factory.make_chain(state, policy="lenient", text=lenient)
    assert factory.judged(state, other).attempt == 2
    without = factory.make_chain(state, policy="careless", text=HEAD.replace("name: staging", "name: careless"))
    assert factory.judged(state, without).attempt is None  # counts no tries, and is one
    assert factory.judged(state, factory.make_chain(state, seed=2, text=HEAD + TRIES)).attempt == 4


def test_a_decision_that_lies_about_its_try_does_not_follow(state: State) -> None:
    factory.judged(state, factory.make_chain(state, text=HEAD + TRIES))
    chain = factory.make_chain(state, seed=2, text=HEAD + TRIES)
    policy = pinned_policy(chain.manifest, state=state)
    facts = gather(chain.report, chain.checkpoint, policy, at=now(), state=state)
    for attempt in (1, 3):
        forged = decide(
            chain.report, checkpoint=chain.checkpoint, policy=policy, policy_digest=chain.manifest.policy, manifest_id=chain.manifest.id,
            facts=type(facts)(evidence=facts.evidence, attempt=attempt),
        )  # fmt: skip
        assert forged.attempt == attempt
        with past_the_ledger(state.registry) as connection:
            connection.execute(sa.delete(records).where(records.c.id.like("pd_%"), records.c.key == forged.key()))
        state.registry.put(forged)
        with pytest.raises(PeError, match="does not follow from its report and policy"):
            require_follows(forged, state=state)


def test_those_who_judge_at_once_count_one_after_the_other(state: State, tmp_path: Path) -> None:
    import threading

    chains = [factory.make_chain(state, seed=seed, text=HEAD + "tries: {alpha: 0.05}\n") for seed in range(8)]
    start, attempts = threading.Barrier(8), list[int | None]()

    def ask(chain: factory.Chain) -> None:
        own = factory.new_state(tmp_path)
        start.wait()
        attempts.append(factory.judged(own, chain).attempt)

    threads = [threading.Thread(target=ask, args=(chain,)) for chain in chains]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(attempt or 0 for attempt in attempts) == list(range(1, 9))


# --- what was before ----------------------------------------------------------------------------------------------------


def test_a_decision_of_before_is_read_as_it_was_and_keeps_its_id(state: State) -> None:
    chain = factory.make_chain(state, text=HEAD)
    decision = factory.judged(state, chain)
    content = decision.content()
    assert set(content) == {
        "checkpoint_id", "report_id", "manifest_id", "line", "policy_name", "policy", "stage", "evidence", "verdict", "outcomes",
    }  # fmt: skip
    assert set(content["outcomes"][0]) == {
        "rule", "title", "verdict", "severity", "reason", "suite", "metric", "slice", "of", "bound", "threshold", "min_n", "unit", "value",
        "low", "high", "n",
    }  # fmt: skip
    assert PromotionDecision.from_json(decision.to_json()) == decision
    assert decision.key() == digest_json(
        {"checkpoint": chain.checkpoint.id, "policy": chain.manifest.policy, "evidence": decision.evidence}
    )
    require_follows(decision, state=state)
