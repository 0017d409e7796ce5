"""The manifest: every shipped one loads, every rule says what is wrong, and the set of options is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from syrupy.assertion import SnapshotAssertion

from pe_training.core.config import parse_config
from pe_training.core.errors import Kind, PeError
from pe_training.manifests.resolve import read_manifest
from pe_training.manifests.schema import Manifest
from pe_training.settings import SAMPLES
from pe_training_tests.manifests.options import models_in

SHIPPED = sorted((SAMPLES / "manifests").glob("*.yaml"))
SMOKE, CLASSIFIER, TUNED, QUANTIZED, PAIRS = (
    (SAMPLES / "manifests" / f"{name}.yaml").read_text()
    for name in ("smoke", "crisis-classifier", "empathy-sft", "wayfarer-12b-qlora", "reply-preferences")
)
COMMIT = "0" * 40


def error_of(text: str, before: str, after: str) -> str:
    """How a manifest is refused after one edit."""
    assert text.count(before) == 1, before
    with pytest.raises(PeError) as caught:
        parse_config(text.replace(before, after), Manifest, name="m.yaml")
    assert caught.value.kind is Kind.INPUT
    return str(caught.value)


def test_manifests_are_shipped() -> None:
    assert {path.stem for path in SHIPPED} >= {"smoke", "empathy-sft", "crisis-classifier", "wayfarer-12b-qlora"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_manifest_loads_under_its_own_name(path: Path) -> None:
    manifest = read_manifest(path)
    assert manifest.name == path.stem
    assert Manifest.model_validate(manifest.model_dump()) == manifest


HUB = "m.yaml:6:8: model: a hub: base needs 'revision' (40 hex digits of a commit), and only a hub: base has one"
LABEL = "m.yaml:2:1: (top level): hyperparameters.label is needed for text_classification, and only there"


@pytest.mark.parametrize(
    ("text", "before", "after", "error"),
    [
        (SMOKE, 'base: "scratch:tiny-llama"', 'base: "hub:a/b"', HUB),
        (SMOKE, 'tiny-llama"}', f'tiny-llama", revision: "{COMMIT}"}}', HUB),
        (SMOKE, 'tiny-llama"}', 'tiny-llama", quantization: {type: nf4}}',
         "m.yaml:6:8: model: a quantized base cannot be trained itself; add an adapter"),
        (TUNED, "target_modules: all-linear", "target_modules: []",
         "m.yaml:9:12: model.adapter: target_modules is empty: name the modules to adapt, or write all-linear"),
        (SMOKE, "warmup_steps: 3", "warmup_steps: 30", "m.yaml:8:3: hyperparameters: warmup_steps (30) must be below max_steps (30)"),
        (SMOKE, "micro_batch_size: 2", "micro_batch_size: 3",
         "m.yaml:8:3: hyperparameters: batch_size (4) must be a multiple of micro_batch_size (3)"),
        (SMOKE, "micro_batch_size: 2", "micro_batch_size: 8",
         "m.yaml:8:3: hyperparameters: batch_size (4) must be a multiple of micro_batch_size (8)"),
        (SMOKE, "packing: true", "packing: true\n  bucketing: true",
         "m.yaml:2:1: (top level): hyperparameters.bucketing has nothing to sort: packed sequences are all of like length"),
        (CLASSIFIER, "max_length: 128", "max_length: 128\n  bucketing: true",
         "m.yaml:2:1: (top level): hyperparameters.bucketing has nothing to sort: micro_batch_size must be below batch_size"),
        (SMOKE, "packing: true", "packing: true\n  class_weights: balanced",
         "m.yaml:2:1: (top level): hyperparameters.class_weights is for text_classification only"),
        (SMOKE, "packing: true", "packing: true\n  dpo: {}",
         "m.yaml:2:1: (top level): hyperparameters.dpo is needed for preference, and only there"),
        (PAIRS, "  dpo: {beta: 0.1, label_smoothing: 0.0, reference: base}\n", "",
         "m.yaml:4:1: (top level): hyperparameters.dpo is needed for preference, and only there"),
        (PAIRS, "bucketing: true", "packing: true", "m.yaml:4:1: (top level): hyperparameters.packing is for causal_lm only"),
        (PAIRS, "reference: base", "reference: parent",
         "m.yaml:4:1: (top level): hyperparameters.dpo.reference is parent, and model.parent is missing"),
        (SMOKE, "stop_margin_minutes: 1", "stop_margin_minutes: 15",
         "m.yaml:17:10: compute: stop_margin_minutes must be shorter than max_hours"),
        (SMOKE, "accuracy: 20", "acuracy: 20", "m.yaml:21:3: evaluation: max_examples names suites that are not run: acuracy"),
        (SMOKE, "[accuracy, safety, fairness, therapeutic]", "[accuracy, accuracy]", "m.yaml:21:3: evaluation: a suite is named twice"),
        (SMOKE, "task: causal_lm", "task: text_classification", LABEL),
        (SMOKE, "packing: true", "packing: true\n  label: crisis_type", LABEL),
        (CLASSIFIER, "  label: crisis_type\n", "", LABEL),
        (CLASSIFIER, "max_length: 128", "max_length: 128\n  packing: true",
         "m.yaml:2:1: (top level): hyperparameters.packing is for causal_lm only"),
        (CLASSIFIER, "baseline: none", "baseline: base_model",
         "m.yaml:2:1: (top level): a classifier has no base model to compare with: set evaluation.baseline to none"),
        (CLASSIFIER, 'l6-v2"', 'l6-v2", adapter: {type: lora, r: 1, alpha: 1}',
         "m.yaml:2:1: (top level): a classifier trains every weight: leave model.adapter out"),
        (CLASSIFIER, "[accuracy, safety, fairness]", "[accuracy, therapeutic]",
         "m.yaml:2:1: (top level): a classifier gives no replies: leave 'therapeutic' out of evaluation.suites"),
        (SMOKE, '"scratch:tiny-llama"', '"scratch:tiny-llama", head: wide',
         "m.yaml:2:1: (top level): model.head wide is for text_classification with a pretrained encoder, on one device"),
        (CLASSIFIER, "max_length: 128", "max_length: 128\n  gradient_checkpointing: true",
         "m.yaml:2:1: (top level): model.head wide does not compute activations twice: leave hyperparameters.gradient_checkpointing out"),
        (CLASSIFIER, "baseline: none", "baseline: none\n  judges: [judge@training]",
         "m.yaml:2:1: (top level): a classifier gives no replies to judge: leave evaluation.judges out"),
        (CLASSIFIER, "baseline: none", "baseline: none\n  llm_judge: {model: judge, labels: [exploration]}",
         "m.yaml:2:1: (top level): a classifier gives no replies to judge: leave evaluation.llm_judge out"),
        (SMOKE, "baseline: base_model", "baseline: base_model\n  llm_judge: {model: judge, labels: [exploration, exploration]}",
         "m.yaml:23:14: evaluation.llm_judge: a label is named twice"),
        (CLASSIFIER, "label: crisis_type", "label: crisis_type\n  reads: exchange",
         "m.yaml:2:1: (top level): a classifier of replies cannot be asked what clients say alone: "
         "leave 'fairness' out of evaluation.suites"),
        (CLASSIFIER, "label: crisis_type", "label: crisis_type\n  auxiliary: [mood, mood]",
         "m.yaml:8:3: hyperparameters: auxiliary names a label twice, or the one that is learnt anyway"),
        (CLASSIFIER, "label: crisis_type", "label: crisis_type\n  auxiliary: [crisis_type]",
         "m.yaml:8:3: hyperparameters: auxiliary names a label twice, or the one that is learnt anyway"),
        (SMOKE, "packing: true", "packing: true\n  auxiliary: [mood]",
         "m.yaml:2:1: (top level): hyperparameters.auxiliary is for text_classification with model.head wide"),
        (SMOKE, "packing: true", "packing: true\n  reads: exchange",
         "m.yaml:2:1: (top level): hyperparameters.reads is for text_classification only"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_said(text: str, before: str, after: str, error: str) -> None:
    message, _, shown = error_of(text, before, after).partition(" (got {")
    assert message == error
    assert shown


@pytest.mark.parametrize(
    ("text", "before", "after", "error"),
    [
        (SMOKE, "  learning_rate", "  learning_rte",
         "m.yaml:11:3: unknown key 'hyperparameters.learning_rte' (did you mean 'learning_rate'?; 1 more after this one)"),
        (SMOKE, "seed: 17", "alerts: default\nseed: 17",
         "m.yaml:16:1: unknown key 'alerts' (allowed here: apiVersion, budget, checkpoints, compute, dataset, evaluation, "
         "hyperparameters, model, name, promotion, recovery, seed, task, tracking)"),
        (SMOKE, "seed: 17\n", "", "m.yaml:2:1: missing key 'seed' (add it)"),
        (SMOKE, "seed: 17", "seed: 4294967296", "m.yaml:16:7: seed: input should be less than 4294967296 (got 4294967296)"),
        (SMOKE, "seed: 17", "seed: 17.5", "m.yaml:16:7: seed: input should be a valid integer (got 17.5)"),
        (SMOKE, "seed: 17", "seed: yes", "m.yaml:16:7: seed: input should be a valid integer (got 'yes')"),
        (SMOKE, "max_steps: 30", "max_steps: 99999999999999999999",
         "m.yaml:8:14: an integer beyond 9,007,199,254,740,991 is not exact in JSON (fix the YAML syntax here)"),
        (SMOKE, "learning_rate: 3.0e-3", "learning_rate: .nan",
         "m.yaml:11:18: hyperparameters.learning_rate: input should be a finite number (got nan)"),
        (SMOKE, "name: smoke", "name: Smoke", "m.yaml:3:7: name: string should match pattern '^[a-z0-9][a-z0-9-]{0,62}$' (got 'Smoke')"),
        (SMOKE, "name: smoke", "name: ../smoke",
         "m.yaml:3:7: name: string should match pattern '^[a-z0-9][a-z0-9-]{0,62}$' (got '../smoke')"),
        (SMOKE, "scratch:tiny-llama", "gpt2",
         "m.yaml:6:15: model.base: string should match pattern '^(package|hub|scratch):[A-Za-z0-9][A-Za-z0-9._/-]*$' (got 'gpt2')"),
        (QUANTIZED, f'"{COMMIT}" #', "main #", "m.yaml:9:13: model.revision: string should match pattern '^[0-9a-f]{40}$' (got 'main')"),
        (TUNED, "dropout: 0.05", "dropout: 1.0", "m.yaml:9:52: model.adapter.dropout: input should be less than 1 (got 1.0)"),
        (SMOKE, "target: local", "target: moon", "m.yaml:17:19: compute.target: input should be 'local' (got 'moon')"),
        (SMOKE, "version: latest", "version: latest, mixture: {a: 0.0}",
         "m.yaml:5:65: dataset.mixture.a: input should be greater than 0 (got 0.0)"),
        (SMOKE, "pe-training/v1", "pe-training/v2", "m.yaml:2:13: apiVersion: input should be 'pe-training/v1' (got 'pe-training/v2')"),
    ],
)  # fmt: skip
def test_a_slip_is_found_at_its_place(text: str, before: str, after: str, error: str) -> None:
    assert error_of(text, before, after) == error


def test_the_set_of_options_and_their_defaults_are_frozen(snapshot: SnapshotAssertion) -> None:
    assert described(Manifest) == snapshot


def described(model: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """Dotted key -> default, for every key that a manifest may hold."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        key, nested = f"{prefix}{name}", models_in(field.annotation)
        if not nested or field.default is None:
            found[key] = "required" if field.default is PydanticUndefined else repr(field.default)
        for inner in nested:
            found |= described(inner, f"{key}.")
    return found


def test_a_batch_is_split_into_whole_forward_passes() -> None:
    assert parse_config(SMOKE, Manifest, name="m.yaml").micro == 2
    assert parse_config(TUNED, Manifest, name="m.yaml").micro == 2  # its whole batch
