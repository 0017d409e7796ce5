"""The resolved manifest: which options decide the weights, and therefore name the run."""

from __future__ import annotations

from typing import Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from pe_training.core.config import parse_config
from pe_training.core.records import Attachment
from pe_training.manifests.record import BaseModelPin, ResolvedManifest
from pe_training.manifests.schema import Manifest
from pe_training_tests.manifests.options import changed, models_in, options

EVERYTHING = """
apiVersion: pe-training/v1
name: everything
task: preference
dataset: {name: sample-dialogues, version: latest, mixture: {a: 1.0}}
model:
  base: hub:owner/name
  revision: "0000000000000000000000000000000000000000"
  adapter: {type: lora, r: 8, alpha: 16, dropout: 0.1, target_modules: all-linear}
  quantization: {type: nf4, double: true}
hyperparameters:
  {max_steps: 10, batch_size: 4, micro_batch_size: 2, learning_rate: 1e-4, warmup_steps: 1, max_length: 64, dpo: {},
   early_stopping: {patience: 2}}
seed: 17
compute: {instance: cpu-local, max_hours: 1.0}
budget: {max_cost_usd: 1.0}
checkpoints: {every_steps: 5, keep_best: {metric: val_loss, mode: min}}
evaluation: {suites: [accuracy], max_examples: {accuracy: 5}, llm_judge: {model: judge, labels: [exploration]}}
promotion: {policy: dev}
tracking: {wandb: {project: p}}
"""
DECIDES: dict[str, object] = {  # option -> another value
    "name": "other",
    "task": "text_classification",
    "dataset.name": "other",
    "dataset.version": "v2",
    "dataset.mixture": {"a": 2.0},
    "model.base": "hub:owner/other",
    "model.revision": "1" * 40,
    "model.head": "wide",
    "model.adapter.r": 9,
    "model.adapter.alpha": 17,
    "model.adapter.dropout": 0.2,
    "model.adapter.target_modules": ["q_proj"],
    "model.quantization.double": False,
    "hyperparameters.max_steps": 11,
    "hyperparameters.batch_size": 8,
    "hyperparameters.micro_batch_size": 4,
    "hyperparameters.learning_rate": 2e-4,
    "hyperparameters.schedule": "linear",
    "hyperparameters.warmup_steps": 2,
    "hyperparameters.weight_decay": 0.1,
    "hyperparameters.max_grad_norm": 2.0,
    "hyperparameters.max_length": 65,
    "hyperparameters.reads": "exchange",
    "hyperparameters.auxiliary": ["mood"],
    "hyperparameters.packing": True,
    "hyperparameters.bucketing": True,
    "hyperparameters.gradient_checkpointing": True,
    "hyperparameters.early_stopping.patience": 3,
    "hyperparameters.early_stopping.min_delta": 0.1,
    "hyperparameters.class_weights": "balanced",
    "hyperparameters.dpo.beta": 0.2,
    "hyperparameters.dpo.label_smoothing": 0.1,
    "hyperparameters.dpo.reference": "parent",
    "model.parent": "ck_" + "1" * 32,
    "hyperparameters.label": "crisis_type",
    "seed": 18,
    "compute.devices": 2,
    "compute.strategy": "fsdp",
    "compute.precision": "bf16-mixed",
    "compute.compile": True,
    "checkpoints.every_steps": 6,
    "recovery.on_spike": "rollback",
    "recovery.spike_factor": 3.0,
    "recovery.lr_factor": 0.4,
    "recovery.max_rollbacks": 3,
}
DOES_NOT_DECIDE: dict[str, object] = {
    "compute.instance": "h100-80",  # the class of hardware is the run's, as it is found there
    "compute.max_hours": 2.0,  # a run that was stopped goes on to the same weights
    "compute.stop_margin_minutes": 2.0,
    "compute.workers": 2,  # they make what one process makes
    "compute.silence_minutes": 6.0,
    "compute.stall_minutes": 61.0,
    "compute.retries": 3,
    "compute.interruptible": True,
    "checkpoints.every_minutes": 31.0,  # how often and how long states are kept moves no weight
    "checkpoints.keep_last": 3,
    "budget.max_cost_usd": 2.0,
    "evaluation.suites": ["accuracy", "safety"],
    "evaluation.baseline": "none",
    "evaluation.max_examples": {"accuracy": 6},
    "evaluation.max_new_tokens": 49,
    "evaluation.batch_size": 17,
    "evaluation.incumbent": "ck_" + "3" * 32,
    "evaluation.judges": ["ck_" + "2" * 32],
    "evaluation.llm_judge.model": "other",
    "evaluation.llm_judge.labels": ["interpretation"],
    "promotion.policy": "staging",
    "tracking.wandb.project": "q",
    "tracking.wandb.mode": "online",
}
SPEC = parse_config(EVERYTHING, Manifest, name="m.yaml")


def resolved(spec: Manifest, **pins: object) -> ResolvedManifest:
    given = {"base": BaseModelPin(ref="hub:owner/name", pin="git:0"), "suites": {"accuracy": "s"}, "policy": "p", "inputs": ()}
    whole = ResolvedManifest.model_validate({"spec": SPEC, **given, **pins})
    return whole.model_copy(update={"spec": spec})  # unchecked, as `changed` is


def single_valued(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Options for which there is only one value to give."""
    found = {
        f"{prefix}{name}"
        for name, field in model.model_fields.items()
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
    }
    return found.union(
        *(single_valued(inner, f"{prefix}{name}.") for name, field in model.model_fields.items() for inner in models_in(field.annotation))
    )


def test_every_option_is_known_to_decide_the_weights_or_not_to() -> None:
    assert sorted([*DECIDES, *DOES_NOT_DECIDE, *single_valued(Manifest)]) == sorted(options(Manifest))


@pytest.mark.parametrize("option", DECIDES)
def test_another_value_is_another_recipe(option: str) -> None:
    assert resolved(changed(SPEC, option, DECIDES[option])).recipe() != resolved(SPEC).recipe()


@pytest.mark.parametrize("option", DOES_NOT_DECIDE)
def test_another_value_is_another_manifest_and_the_same_recipe(option: str) -> None:
    other = resolved(changed(SPEC, option, DOES_NOT_DECIDE[option]))
    assert other.recipe() == resolved(SPEC).recipe()
    assert other.id != resolved(SPEC).id


@pytest.mark.parametrize("section", ["model.adapter", "model.quantization", "hyperparameters.dpo", "checkpoints.keep_best"])
def test_a_section_left_out_is_another_recipe(section: str) -> None:
    assert resolved(changed(SPEC, section, None)).recipe() != resolved(SPEC).recipe()


def test_what_the_references_stood_for_names_the_manifest_and_only_the_base_the_recipe() -> None:
    base = resolved(SPEC, base=BaseModelPin(ref="hub:owner/name", pin="git:1"))
    assert base.recipe() != resolved(SPEC).recipe()
    file = Attachment(path="policies/dev.yaml", digest="sha256:0", size_bytes=1)
    for pins in ({"suites": {"accuracy": "t"}}, {"policy": "q"}, {"inputs": (file,)}):
        assert resolved(SPEC, **pins).recipe() == resolved(SPEC).recipe()
        assert resolved(SPEC, **pins).id != resolved(SPEC).id


def test_a_resolved_manifest_comes_back_with_its_id_parent_label_and_files() -> None:
    file = Attachment(path="policies/dev.yaml", digest="sha256:0", size_bytes=1)
    record = resolved(SPEC, inputs=(file,))
    back = ResolvedManifest.from_json(record.to_json())
    assert (back, back.id) == (record, record.id)
    assert (back.parents(), back.label(), back.key(), tuple(back.files())) == ({"dataset": "latest"}, "everything", None, (file,))
