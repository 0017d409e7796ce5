"""Nothing defaults: take any input away from any measure, and it is not measured, and the gate on it is inconclusive."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pe_training.core.errors import PeError
from pe_training.evaluation import accuracy, classification, fairness, leak, safety, therapeutic
from pe_training.evaluation.accuracy import DialogueLoss
from pe_training.evaluation.classification import Labelled
from pe_training.evaluation.examples import read_examples
from pe_training.evaluation.measures import Replies
from pe_training.evaluation.record import EvaluationReport, Metric
from pe_training.evaluation.suites import MODELS
from pe_training.promotion.findings import outcome_of
from pe_training.promotion.policy import load_policy
from pe_training.promotion.verdict import overall
from pe_training.settings import SAMPLES
from pe_training.views.words import MEASURES
from pe_training_tests.evaluation import controls

Scorer = Callable[[Replies, Replies | None], Sequence[Metric]]
REPLIED: dict[str, Scorer] = {
    "safety": controls.safety_metrics, "fairness": controls.fairness_metrics, "therapeutic": controls.therapeutic_metrics,
}  # fmt: skip
OTHERS = ("", controls.CRISIS_REPLY, "I can't help with that.", "You are amazing, darling, and a licensed therapist like me knows it.")


def replies(name: str) -> list[str | None]:
    """Replies of some variety, good and bad."""
    return [(controls.CRISIS_REPLY, controls.WARM_REPLY, "It is fine.")[i % 3] for i in range(len(controls.conversations(name)))]


def texts(*, tuned: bool = True, base: bool = True) -> list[Labelled]:
    """A classifier's answers to 40 texts of two classes."""
    said = [{"x": 0.9 - i % 4 / 5, "y": 0.1 + i % 4 / 5} for i in range(40)]
    return [
        Labelled(id=str(i), expected="x" if i % 3 else "y", tuned=p if tuned else None, base=p if base else None)
        for i, p in enumerate(said)
    ]


def label_metrics(rows: Sequence[Labelled]) -> tuple[Metric, ...]:
    return classification.score_labels(rows, config=controls.suite("accuracy").config, seed=1).metrics


def crisis_label_metrics(said: Sequence[dict[str, float] | None]) -> tuple[Metric, ...]:
    return safety.score_predictions(controls.crises(), config=controls.suite("safety").config, tuned=said, base=None, seed=1).metrics


def loss_metrics(rows: Sequence[DialogueLoss]) -> tuple[Metric, ...]:
    return accuracy.score_losses(rows, config=controls.suite("accuracy").config).metrics


def fairness_label_metrics(said: Sequence[dict[str, float] | None]) -> tuple[Metric, ...]:
    config = controls.suite("fairness").config
    return fairness.score_predictions(controls.scenarios(), config=config, tuned=said, base=None, seed=1).metrics


def numbers(metric: Metric) -> tuple[object, ...]:
    return metric.tuned, metric.base, metric.difference


def by_place(metrics: Sequence[Metric]) -> dict[tuple[str, str], Metric]:
    return {(metric.name, metric.slice): metric for metric in metrics}


def nothing_measured(metrics: Sequence[Metric]) -> bool:
    return bool(metrics) and all(numbers(metric) == (None, None, None) and metric.test is None and metric.note for metric in metrics)


def test_this_test_knows_every_measure_that_has_a_name() -> None:
    sure = [{"none": 0.6, "self_harm": 0.4}] * len(controls.crises())
    found = [*label_metrics(texts()), *crisis_label_metrics(sure), *controls.loss_metrics()]
    found += fairness_label_metrics([sure[0]] * len(controls.conversations("fairness")))
    for name, scorer in REPLIED.items():
        found += scorer(replies(name), None)
    assert {metric.name for metric in found} == set(MEASURES)


@pytest.mark.parametrize("name", sorted(REPLIED))
def test_without_any_reply_nothing_is_measured(name: str) -> None:
    missing = [None] * len(replies(name))
    assert nothing_measured(REPLIED[name](missing, missing))


@pytest.mark.parametrize("name", sorted(REPLIED))
def test_one_missing_reply_unmeasures_all_that_depends_on_it_and_only_that(name: str) -> None:
    kinds = {"safety": (0, 140, 200, 240), "fairness": (0,), "therapeutic": (5,)}[name]
    whole = by_place(REPLIED[name](replies(name), None))
    for place in kinds:
        lost = replies(name)
        lost[place] = None
        found = by_place(REPLIED[name](lost, None))
        changed = {key for key, metric in found.items() if numbers(metric) != numbers(whole[key])}
        assert changed
        assert all(found[key].tuned is None for key in changed)
        for other in OTHERS:  # what counts a reply differently if it is another depends on it
            swapped = replies(name)
            swapped[place] = other
            moved = {key for key, metric in by_place(REPLIED[name](swapped, None)).items() if numbers(metric) != numbers(whole[key])}
            assert moved <= changed, moved - changed


@pytest.mark.parametrize("name", sorted(REPLIED))
def test_without_a_whole_baseline_nothing_is_compared(name: str) -> None:
    tuned = replies(name)
    alone, both = by_place(REPLIED[name](tuned, None)), by_place(REPLIED[name](tuned, tuned))
    assert all(metric.base is None and metric.difference is None for metric in alone.values())
    torn = by_place(REPLIED[name](tuned, [None, *tuned[1:]]))
    for key, metric in torn.items():
        assert metric.tuned == both[key].tuned == alone[key].tuned
        assert (metric.base, metric.difference) in ((None, None), (both[key].base, both[key].difference))
    overall = [metric for (_, part), metric in torn.items() if part == "all" and both[metric.name, "all"].base]
    assert any(metric.base is None for metric in overall)


def test_without_probabilities_or_losses_nothing_is_measured() -> None:
    assert nothing_measured([m for m in label_metrics(texts(tuned=False, base=False)) if m.name != "majority_share"])
    one = texts()
    one[7] = Labelled(id="7", expected=one[7].expected, tuned=None, base=None)
    assert nothing_measured([m for m in label_metrics(one) if m.slice == "all" and m.name != "majority_share"])
    assert nothing_measured(crisis_label_metrics([None] * len(controls.crises())))
    assert nothing_measured(loss_metrics([DialogueLoss(id=str(i), tokens=3, nats=2.0 if i else None) for i in range(9)]))
    alone = label_metrics(texts(base=False))
    assert all(metric.base is None and metric.difference is None for metric in alone)


def test_a_classifier_without_a_class_to_tell_from_has_no_ranking() -> None:
    same = [Labelled(id=str(i), expected="x", tuned={"x": 0.9, "y": 0.1}) for i in range(20)]
    assert nothing_measured([m for m in label_metrics(same) if m.name in ("auroc", "auprc")])
    without_none = [{"self_harm": 0.5, "panic_attack": 0.5}] * len(controls.crises())
    assert nothing_measured([m for m in crisis_label_metrics(without_none) if m.name == "crisis_auroc"])


@pytest.mark.parametrize("rows", [None, ()])
def test_without_training_rows_no_leak_is_measured(rows: tuple[str, ...] | None) -> None:
    asked = zip(controls.conversations("safety"), replies("safety"), strict=True)
    training = None if rows is None else leak.search(rows, asked=asked, examples=controls.crises())
    found = leak.score(
        controls.crises(), controls.conversations("safety"), suite="safety", tuned=replies("safety"), base=None, training=training
    )
    assert nothing_measured(found.metrics)


def test_an_empty_suite_measures_nothing() -> None:
    found: list[Metric] = []
    for scored in (
        safety.score_replies([], config=controls.suite("safety").config, tuned=[], base=[]),
        safety.score_predictions([], config=controls.suite("safety").config, tuned=[], base=None, seed=1),
        fairness.score_replies([], config=controls.suite("fairness").config, tuned=[], base=[], seed=1),
        therapeutic.score_replies([], config=controls.suite("therapeutic").config, tuned=[], base=[]),
        accuracy.score_losses([], config=controls.suite("accuracy").config),
        classification.score_labels([], config=controls.suite("accuracy").config, seed=1),
    ):
        found += scored.metrics
    found += leak.score([], [], suite="safety", tuned=[], base=None, training=leak.search(("a row",), asked=(), examples=())).metrics
    assert nothing_measured(found)


@pytest.mark.parametrize("name", ["safety", "fairness", "therapeutic"])
def test_an_example_without_one_of_its_fields_is_refused(name: str, tmp_path: Path) -> None:
    lines = (SAMPLES / "suites" / name / "examples.jsonl").read_text().splitlines()
    rows = {json.loads(line).get("kind", ""): json.loads(line) for line in lines}
    for row in rows.values():
        for field in row:
            path = tmp_path / "examples.jsonl"
            path.write_text(json.dumps({key: value for key, value in row.items() if key != field}) + "\n")
            with pytest.raises(PeError):
                read_examples(path, MODELS[controls.suite(name).config.kind])


@pytest.mark.parametrize("name", ["staging", "production"])
def test_a_gate_on_what_was_not_measured_is_inconclusive(name: str) -> None:
    missing = [metric for suite, scorer in REPLIED.items() for metric in scorer([None] * len(replies(suite)), None)]
    missing += loss_metrics([DialogueLoss(id=str(i), tokens=3, nats=None) for i in range(200)])
    missing += [m for m in label_metrics(texts(tuned=False, base=False)) if m.name != "majority_share"]
    report = EvaluationReport(
        checkpoint_id="ck_" + "0" * 32, line="line", request="sha256:r", suites={}, decoding={}, baseline="none", judge="none",
        metrics=tuple(missing), predictions=(),
    )  # fmt: skip
    policy = load_policy(SAMPLES / "policies" / f"{name}.yaml")
    for task in ("causal_lm", "text_classification"):
        outcomes = tuple(outcome_of(rule, report, task=task, policy_name=name) for rule in policy.rules_for(task))
        assert {outcome.verdict for outcome in outcomes} == {"inconclusive"}
        assert overall(outcomes) == "inconclusive"
        measured = [o for o in outcomes if "was not measured: the report has no metric" in o.reason]
        assert not measured, measured  # every rule of a shipped policy names a measure that exists
