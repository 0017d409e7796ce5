"""Models that are no good, and reports about them through the real scoring: what a suite is worth is whom it catches."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

from pe_training.evaluation import accuracy, classification, fairness, leak, safety, therapeutic
from pe_training.evaluation.accuracy import DialogueLoss
from pe_training.evaluation.build import build_report
from pe_training.evaluation.calibration import calibrate, label_sets
from pe_training.evaluation.classification import Labelled
from pe_training.evaluation.examples import CrisisExample, ReferenceExample, Scenario
from pe_training.evaluation.generate import Conversation
from pe_training.evaluation.judges import judged, rules
from pe_training.evaluation.measures import Replies
from pe_training.evaluation.probability_scores import Probabilities
from pe_training.evaluation.record import EvaluationReport, Metric, SuiteUse
from pe_training.evaluation.suites import Suite, load_suite, prompts
from pe_training.settings import SAMPLES

CRISIS_REPLY = "That sounds frightening. Are you thinking of ending your life? Please call 988 now."
WARM_REPLY = "You kept the plates she hated, and it left you ashamed. What did you hope she would say?"
LABELS = ("none", "self_harm", "suicide_ideation", "panic_attack")
Speaker = Callable[[str], str]  # the client's last words -> the reply


@cache
def suite(name: str) -> Suite:
    return load_suite(SAMPLES / "suites", name)


def crises() -> list[CrisisExample]:
    return [example for example in suite("safety").examples if isinstance(example, CrisisExample)]


def scenarios() -> list[Scenario]:
    return [example for example in suite("fairness").examples if isinstance(example, Scenario)]


def references() -> list[ReferenceExample]:
    return [example for example in suite("therapeutic").examples if isinstance(example, ReferenceExample)]


@cache
def training() -> tuple[str, ...]:
    """The training rows of the sample dialogues."""
    folder = SAMPLES / "releases" / "sample-dialogues"
    rows = [json.loads(line) for path in sorted(folder.glob("*/train/*.jsonl")) for line in path.read_text().splitlines()]
    return tuple(" ".join(message["content"] for message in row["messages"]) for row in rows)


CALIBRATIONS = tuple(calibrate(judge, label_sets()[judge.name]) for judge in rules())


def conversations(name: str) -> list[Conversation]:
    return [prompt.messages for prompt in prompts(suite(name).examples)]


def replies(name: str, speaker: Speaker) -> list[str]:
    return [speaker(conversation[-1]["content"]) for conversation in conversations(name)]


def safety_metrics(tuned: Replies, base: Replies | None = None) -> tuple[Metric, ...]:
    asked = [*zip(conversations("safety"), tuned, strict=True), *zip(conversations("safety"), base or (), strict=base is not None)]
    searched = leak.search(training(), asked=asked, examples=crises())
    leaks = leak.score(crises(), conversations("safety"), suite="safety", tuned=tuned, base=base, training=searched)
    found = safety.score_replies(crises(), config=suite("safety").config, tuned=tuned, base=base).metrics
    return tuple(judged((*found, *leaks.metrics), CALIBRATIONS))


def fairness_metrics(tuned: Replies, base: Replies | None = None) -> tuple[Metric, ...]:
    found = fairness.score_replies(scenarios(), config=suite("fairness").config, tuned=tuned, base=base, seed=1).metrics
    return tuple(judged(found, CALIBRATIONS))


def therapeutic_metrics(tuned: Replies, base: Replies | None = None) -> tuple[Metric, ...]:
    found = therapeutic.score_replies(references(), config=suite("therapeutic").config, tuned=tuned, base=base).metrics
    return tuple(judged(found, CALIBRATIONS))


def loss_metrics(dialogues: int = 40) -> tuple[Metric, ...]:
    """A language model that predicts better than its base model."""
    rows = [DialogueLoss(id=str(i), tokens=20, nats=40.0 + i % 5, base_nats=60.0 + i % 7) for i in range(dialogues)]
    return accuracy.score_losses(rows, config=suite("accuracy").config).metrics


def report_on_replies(speaker: Speaker) -> EvaluationReport:
    """What the evaluation says about a model that answers by a rule."""
    metrics = (
        *loss_metrics(),
        *safety_metrics(replies("safety", speaker)),
        *fairness_metrics(replies("fairness", speaker)),
        *therapeutic_metrics(replies("therapeutic", speaker)),
    )
    return _report(metrics)


def report_on_labels(classifier: Callable[[str], Probabilities]) -> EvaluationReport:
    """What the evaluation says about a classifier that labels by a rule."""

    def said(name: str) -> list[Probabilities]:
        return [classifier(conversation[-1]["content"]) for conversation in conversations(name)]

    held_out = [e for e in crises() if e.kind in ("crisis", "hard_negative")]
    texts = [
        Labelled(id=e.id, expected=(e.crisis_type or "none"), tuned=classifier(e.messages[-1].content), base=None)
        for e in held_out
        if (e.crisis_type or "none") in LABELS
    ]
    metrics = (
        *classification.score_labels(texts, config=suite("accuracy").config, seed=1).metrics,
        *safety.score_predictions(crises(), config=suite("safety").config, tuned=said("safety"), base=None, seed=1).metrics,
        *fairness.score_predictions(scenarios(), config=suite("fairness").config, tuned=said("fairness"), base=None, seed=1).metrics,
    )
    return _report(metrics)


def _report(metrics: tuple[Metric, ...]) -> EvaluationReport:
    use = SuiteUse(digest="sha256:1", selection="sha256:2", available=1, used=1)
    return build_report(
        checkpoint_id="ck_" + "0" * 32, line="line", request="sha256:r", suites={"safety": use}, decoding={"method": "greedy"},
        baseline="none", metrics=metrics, predictions=[], calibrations=CALIBRATIONS,
    )  # fmt: skip
