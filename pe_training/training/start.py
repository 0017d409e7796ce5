"""The model that a run starts from: the pinned base, with its adapter, and the weights of the parent checkpoint where there is one."""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors.torch import load

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import kind_of, short
from pe_training.manifests.record import ResolvedManifest
from pe_training.storage.signatures import require_signed
from pe_training.storage.state import State
from pe_training.training.base import load_base
from pe_training.training.proofs import attend_by_document, require_causal, require_documents_apart
from pe_training.training.record import Checkpoint, ImportedModel, weight_files
from pe_training.training.weights import trained_tensors


def start_model(manifest: ResolvedManifest, *, labels: list[str] | None, state: State) -> Any:
    """The model to train, as its manifest describes it. Raises input, not_found or corrupt."""
    spec = manifest.spec
    model: Any = load_base(spec.model, manifest.base, labels=labels, seed=spec.seed, settings=state.settings)
    if labels is None:
        require_causal(model)
        if not spec.compute.compile:  # which would compile anew for other numbers and lengths of documents
            attend_by_document(model, max_length=spec.hyperparameters.max_length)
    if spec.hyperparameters.packing:
        require_documents_apart(model)
    if spec.model.adapter:
        model = _adapted(model, manifest)
    if spec.model.parent:
        _take_over(model, spec.model.parent, labels=labels, state=state)
    if spec.hyperparameters.gradient_checkpointing:
        renamed = getattr(model, "activation_checkpointing_enable", None)  # its name from transformers 5.2x on
        (renamed or model.gradient_checkpointing_enable)({"use_reentrant": False})
    if spec.compute.compile:
        _inner(model, labels).compile(dynamic=True)
    return model.train()  # a pretrained model comes without dropout, and Lightning leaves it so: a resumed run would train another model


def reference_model(manifest: ResolvedManifest, *, state: State) -> Any:
    """The model that answers are compared with: the base, or the base with the parent's weights. It never trains.

    A fresh adapter changes no bit of what its base answers (its second matrix is zero), and keeps the two loaded in the same way.
    """
    spec = manifest.spec
    assert spec.hyperparameters.dpo is not None
    parent = spec.model.parent if spec.hyperparameters.dpo.reference == "parent" else None
    update = {"model": spec.model.model_copy(update={"parent": parent}), "compute": spec.compute.model_copy(update={"compile": False})}
    return start_model(manifest.model_copy(update={"spec": spec.model_copy(update=update)}), labels=None, state=state).eval()


def _adapted(model: Any, manifest: ResolvedManifest) -> Any:
    from peft import LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training

    spec = manifest.spec
    adapter = spec.model.adapter
    assert adapter is not None
    if spec.model.quantization:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    config = LoraConfig(
        r=adapter.r, lora_alpha=adapter.alpha, lora_dropout=adapter.dropout, target_modules=adapter.target_modules,
        task_type=TaskType.CAUSAL_LM,
    )  # fmt: skip
    return get_peft_model(model, config)


def _inner(model: Any, labels: list[str] | None) -> torch.nn.Module:
    """What is called in a step: of a causal model its body, because logits are taken at targets only."""
    if labels is not None:
        return model
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    return causal.base_model


def _take_over(model: Any, parent: str, *, labels: list[str] | None, state: State) -> None:
    """Put a checkpoint's weights into ``model``, whose trained tensors must have the same names and shapes."""
    files = state.registry.get(parent, Checkpoint if kind_of(parent) == Checkpoint.kind else ImportedModel).files()
    require_signed(parent, files, state=state)
    tensors = {name: t for file in weight_files(files) for name, t in load(state.artifacts.get(file.digest)).items()}
    wanted = trained_tensors(model)
    if {name: t.shape for name, t in tensors.items()} != {name: t.shape for name, t in wanted.items()}:
        stray = sorted(name for name in tensors.keys() | wanted.keys() if name not in tensors or name not in wanted)
        what = f"{len(stray)} tensors are in one of the two only, such as {stray[0]}" if stray else "a tensor has another shape"
        raise PeError(
            Kind.INPUT, f"{short(parent)} does not fit this model: {what}", where="model.parent", hint="change the adapter or the parent"
        )
    if labels is not None:
        config = next(file.digest for file in files if file.path == "config.json")
        _require_labels(labels, parent, config=state.artifacts.get(config))
    if hasattr(model, "peft_config"):
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(model, tensors)
    else:
        model.load_state_dict(tensors, strict=False)  # every name was compared above; tied weights are there once
    _require_taken(tensors, trained_tensors(model), parent)


def _require_labels(labels: list[str], parent: str, *, config: bytes) -> None:
    named = json.loads(config).get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})  # transformers leaves out what it would assume
    known = [name for _, name in sorted(named.items(), key=lambda item: int(item[0]))]
    if known != labels:
        message = f"{short(parent)} tells {', '.join(known)} apart, and the training rows have {', '.join(labels)}"
        raise PeError(Kind.DATA, message, where="model.parent", hint="train on the same labels, or without a parent")


def _require_taken(given: dict[str, torch.Tensor], taken: dict[str, torch.Tensor], parent: str) -> None:
    for name, tensor in given.items():
        assert torch.equal(taken[name].to(tensor.dtype), tensor), f"{name} of {parent} was not taken over"
