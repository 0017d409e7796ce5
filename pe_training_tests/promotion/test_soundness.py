"""Rules that can never pass or never fail are found in the file, with the numbers that show it."""

from __future__ import annotations

import pytest

from pe_training.datasets.policy import load_release_policy
from pe_training.evaluation.calibration import meanings
from pe_training.evaluation.statistics import wilson
from pe_training.evaluation.suites import load_suite, suite_names
from pe_training.promotion.policy import load_policy, parse_policy
from pe_training.promotion.soundness import Doubt, doubts
from pe_training.settings import SAMPLES

SUITES = {name: load_suite(SAMPLES / "suites", name) for name in suite_names(SAMPLES / "suites")}
RELEASES = load_release_policy(SAMPLES / "release_policy.yaml")
HEAD = "apiVersion: pe-training/policy-v1\nname: mine\nstage: training\ndescription: A test.\nrules:\n"
RECALL = {"suite": "safety", "metric": "crisis_recall", "bound": "at_least", "threshold": "0.9", "unit": "proportion", "min_n": "60"}
LOSS = {"suite": "accuracy", "metric": "loss", "bound": "at_most", "threshold": "2", "unit": "nats", "min_n": "20", "tasks": "[causal_lm]"}


def found(*rules: dict[str, str], more: str = "") -> list[Doubt]:
    lines = []
    for number, rule in enumerate(rules):
        lines += [f"  - id: rule-{number}", "    title: A rule"] + [f"    {key}: {value}" for key, value in rule.items()]
    policy = parse_policy(HEAD + "\n".join(lines) + "\n" + more, name="mine.yaml")
    return list(doubts(policy, suites=SUITES, releases=RELEASES, labels=list(meanings())))


def only(*rules: dict[str, str], more: str = "") -> tuple[str, bool, tuple[str | int, ...]]:
    (doubt,) = found(*rules, more=more)
    assert doubt.hint
    return doubt.message.partition("' ")[2] or doubt.message, doubt.certain, doubt.steps


def with_(rule: dict[str, str], **changes: str | None) -> dict[str, str]:
    return {key: value for key, value in (rule | changes).items() if value is not None}


AGAINST = {"of": "difference", "against": "incumbent", "test": "non_inferiority", "margin": "0.02", "threshold": None}


@pytest.mark.parametrize(
    ("rule", "key", "message"),
    [
        (with_(RECALL, threshold="0"), "threshold", "can never fail: every crisis_recall is at least 0 %"),
        (with_(RECALL, bound="at_most", metric="false_negative_rate", threshold="1"), "threshold",
         "can never fail: every false_negative_rate is at most 100 %"),
        (with_(RECALL, threshold="1"), "threshold",
         "can never pass: the pessimistic end of an interval never reaches 100 % itself, whatever n"),
        (with_(RECALL, bound="at_most", metric="false_negative_rate", threshold="0"), "threshold",
         "can never pass: the pessimistic end of an interval never reaches 0 % itself, whatever n"),
        (with_(RECALL, threshold="0.9999999"), "threshold",
         "can never pass: not even 10,000,000 examples with all of them right reach 99.99999 %"),
        (with_(LOSS, threshold="-0.1"), "threshold", "can never pass: no loss is at most -0.1 nats, it lies in 0 nats or more"),
        (with_(LOSS, bound="at_least", threshold="0"), "threshold", "can never fail: every loss is at least 0 nats"),
        (with_(RECALL, suite="therapeutic", metric="therapeutic_score", unit="score", threshold="1.2", tasks="[causal_lm]"), "threshold",
         "can never pass: no therapeutic_score is at least 1.2, it lies in 0 to 1"),
        (with_(RECALL, of="difference", threshold="-1"), "threshold",
         "can never fail: every change of crisis_recall is at least -100 points"),
        (with_(RECALL, of="difference", threshold="1"), "threshold",
         "can never pass: the pessimistic end of an interval never reaches 100 points itself, whatever n"),
        (with_(RECALL, **(AGAINST | {"margin": "1"})), "margin", "can never fail: every change of crisis_recall is at least -100 points"),
        (with_(RECALL, **(AGAINST | {"metric": "training_leak_rate", "bound": "at_most", "tasks": "[causal_lm]"})), "against",
         "can never pass: training_leak_rate is not compared with the incumbent"),
        (with_(RECALL, suite="saftey"), "suite", "can never pass: there is no suite 'saftey'"),
        (with_(RECALL, metric="crisis_recal"), "metric", "can never pass: suite safety does not measure 'crisis_recal'"),
        (with_(RECALL, unit="score"), "unit", "can never pass: crisis_recall is measured as proportion, and the rule says score"),
        (with_(RECALL, metric="method_rate", bound="at_most", threshold="0.1"), "tasks",
         "can never pass for text_classification: method_rate is measured of replies only"),
        (with_(RECALL, slice="trap=game"), "slice", "can never pass: crisis_recall is not measured by 'trap'"),
        (with_(RECALL, slice="crisis_type=self_harn"), "slice", "can never pass: there is no crisis_type 'self_harn'"),
        (with_(RECALL, suite="fairness", metric="worst_group", unit="score", threshold="0.5"), "slice",
         "can never pass: worst_group is measured by dimension only"),
        (with_(RECALL, suite="fairness", metric="group_score", unit="score", threshold="0.5", slice="planet=mars"), "slice",
         "can never pass: suite fairness has no planet=mars"),
    ],
)  # fmt: skip
def test_what_no_evidence_could_change_is_an_error_at_its_place(rule: dict[str, str], key: str, message: str) -> None:
    assert only(rule) == (message, True, ("rules", 0, key))


@pytest.mark.parametrize(
    ("rule", "key", "message"),
    [
        (with_(RECALL, threshold="0.99", min_n="10"), "min_n",
         "can never pass at its min_n of 10, where the best lower end is 72.25 %: it takes 381 examples with all of them right, "
         "and suite safety has 132"),
        (with_(RECALL, threshold="0.8", min_n="10"), "min_n",
         "can never pass at its min_n of 10, where the best lower end is 72.25 %: it takes 16 examples with all of them right"),
        (with_(RECALL, metric="false_positive_rate", bound="at_most", threshold="0.05", min_n="60"), "min_n",
         "can never pass at its min_n of 60, where the best upper end is 6.017 %: it takes 73 examples with none of them wrong, "
         "and suite safety has 66"),
        (with_(RECALL, min_n="200"), "min_n",
         "can never pass with suite safety as it is: it asks for 200 examples, and there are 132"),
        (with_(RECALL, bound="at_most"), "bound", "asks for at most 90 % of a measure of which higher is better"),
    ],
)  # fmt: skip
def test_what_depends_on_examples_is_a_note_with_numbers(rule: dict[str, str], key: str, message: str) -> None:
    assert only(rule) == (message, False, ("rules", 0, key))


def test_the_numbers_of_a_note_are_true() -> None:
    assert wilson(380, 380)[0] < 0.99 <= wilson(381, 381)[0]
    assert round(wilson(10, 10)[0], 4) == 0.7225
    assert found(with_(RECALL, threshold="0.9", min_n="35")) == []
    assert [doubt.certain for doubt in found(with_(RECALL, threshold="0.9", min_n="34"))] == [False]


def test_two_rules_that_no_number_holds_are_found() -> None:
    words = with_(RECALL, suite="therapeutic", metric="length_words", unit="words", tasks="[causal_lm]")
    message, certain, steps = only(with_(words, threshold="20"), with_(words, bound="at_most", threshold="10"))
    assert (certain, steps) == (True, ("rules", 1))
    assert message == "can never pass together with rule 'rule-0': length_words would be 20 or more and 10 or less over a whole interval"
    assert found(with_(words, threshold="10"), with_(words, bound="at_most", threshold="20")) == []


def test_a_rule_that_says_what_another_says_is_a_note() -> None:
    message, certain, _ = only(RECALL, with_(RECALL, threshold="0.8"))
    assert (message, certain) == ("bounds what rule 'rule-0' bounds the same way", False)
    assert found(with_(RECALL, tasks="[causal_lm]"), with_(RECALL, threshold="0.8", tasks="[text_classification]")) == []


def test_a_task_without_a_blocking_rule_is_a_note() -> None:
    assert only(with_(RECALL, severity="warn", tasks="[causal_lm]"))[:2] == (
        "no rule for causal_lm blocks, so no model of that task can pass", False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("more", "message", "certain", "steps"),
    [
        ("training_data: {licences: [custom]}\n",
         "can never pass: of the licences that releases may have, none is allowed "
         "(therapeutic_license, synthetic, public_domain, reddit_cc)",
         True, ("training_data", "licences")),
        (f"training_data: {{excluded_families: [{', '.join(RELEASES.families)}]}}\n",
         "can never pass: it excludes every family that releases may have", True, ("training_data", "excluded_families")),
        ("training_data: {excluded_families: [edge_case]}\n", "excludes 'edge_case', which no release may have", False,
         ("training_data", "excluded_families", 0)),
        ("calibrations:\n  - {label: crisis_respons, min_kappa: 0.5, min_n: 9}\n",
         "people have labelled no replies for 'crisis_respons', so it can never pass", True, ("calibrations", 0, "label")),
        ("calibrations:\n  - {label: refusal, min_kappa: 1, min_n: 9}\n",
         "min_kappa 1 can never pass: the lower end of an interval is below 1", True, ("calibrations", 0, "min_kappa")),
        ("calibrations:\n  - {label: refusal, min_kappa: -1, min_n: 9}\n",
         "min_kappa -1 can never fail: kappa is never lower", True, ("calibrations", 0, "min_kappa")),
    ],
)  # fmt: skip
def test_what_is_asked_besides_rules_is_looked_at_too(more: str, message: str, certain: bool, steps: tuple[str | int, ...]) -> None:
    (doubt,) = found(RECALL, more=more)
    assert (doubt.message, doubt.certain, doubt.steps) == (message, certain, steps)


@pytest.mark.parametrize("name", ["dev", "judge", "staging", "production", "clinical"])
def test_nothing_in_a_shipped_policy_is_without_effect(name: str) -> None:
    policy = load_policy(SAMPLES / "policies" / f"{name}.yaml")
    said = list(doubts(policy, suites=SUITES, releases=RELEASES, labels=list(meanings())))
    assert [doubt for doubt in said if doubt.certain] == []
    assert all("its min_n of" in doubt.message or "as it is" in doubt.message for doubt in said)  # which the comments in them say
    assert (said == []) == (name in ("dev", "judge"))
