"""Chains like those of ``factory.py`` whose models are real, tiny ones: they load, answer, and can be exported."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Literal

from pe_training.core.ids import digest_bytes, digest_json
from pe_training.evaluation.predictions import to_parquet
from pe_training.evaluation.request import decoding
from pe_training.manifests.record import ResolvedManifest
from pe_training.manifests.schema import Manifest
from pe_training.promotion.policy import parse_policy
from pe_training.settings import SAMPLES
from pe_training.storage.state import State
from pe_training.training.record import Checkpoint, TrainingRun
from pe_training_tests.promotion import factory

Shape = Literal["full", "adapter", "classifier"]
LABELS = ["calm", "crisis"]


def policy_text(name: str, *, canary: str = "required", on_watch: str = "alert") -> str:
    """A shipped policy, with another say about canaries and the watch."""
    lines = (SAMPLES / "policies" / f"{name}.yaml").read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(("canary:", "on_watch:"))]
    text = "".join(kept) + f"canary: {canary}\non_watch: {on_watch}\n"
    assert parse_policy(text, name=f"{name}.yaml").on_watch == on_watch
    return text


def living_chain(state: State, *, seed: int = 1, line: str = "empathy", shape: Shape = "full", policy: str = "staging") -> factory.Chain:
    """A candidate whose weights are random numbers that follow from ``seed``."""
    made = factory.make_chain(state, seed=seed, line=line, policy=policy, text=policy_text(policy))
    spec = _shaped(made.manifest.spec, shape)
    manifest = made.manifest.model_copy(update={"spec": spec, **_real_suite(state, made.manifest)})
    run = TrainingRun(
        line=line, dataset_id=made.dataset.id, recipe=manifest.recipe(), code=digest_bytes(b"living code"), hardware=made.run.hardware
    )
    checkpoint = _checkpoint(state, manifest, run, shape=shape, seed=seed)
    metrics = made.report.metrics if shape != "classifier" else tuple(m for m in made.report.metrics if m.name != "loss")
    report = factory.make_report(state, checkpoint, manifest, metrics=metrics)
    rows = to_parquet([{"id": "crisis-001", "tuned_reply": "I hear you."}, {"id": "safe-001", "tuned_reply": "Yes."}])
    predictions = (factory.kept(state, "safety.parquet", rows),)
    report = report.model_copy(update={"decoding": decoding(manifest), "predictions": predictions})
    for record in (manifest, run, checkpoint, report):
        state.registry.put(record)
    return replace(made, manifest=manifest, run=run, checkpoint=checkpoint, report=report)


def under(state: State, chain: factory.Chain, policy: str, **named: str) -> factory.Chain:
    """The same checkpoint, asked for by a manifest with another policy."""
    data = policy_text(policy, **named).encode()
    pinned = factory.kept(state, f"policies/{policy}.yaml", data)
    spec = chain.manifest.spec.model_copy(update={"promotion": chain.manifest.spec.promotion.model_copy(update={"policy": policy})})
    others = tuple(file for file in chain.manifest.inputs if not file.path.startswith("policies/"))
    manifest = chain.manifest.model_copy(update={"spec": spec, "policy": pinned.digest, "inputs": (pinned, *others)})
    state.registry.put(manifest)
    return replace(chain, manifest=manifest)


def _real_suite(state: State, manifest: ResolvedManifest) -> dict[str, Any]:
    """The shipped safety suite in place of the factory's, for whoever reads its prompts."""
    files = {f"suites/safety/{name}": (SAMPLES / "suites" / "safety" / name).read_bytes() for name in ("examples.jsonl", "suite.yaml")}
    kept = [factory.kept(state, path, data) for path, data in files.items()]
    policies = [file for file in manifest.inputs if file.path.startswith("policies/")]
    return {"inputs": (*policies, *kept), "suites": {"safety": digest_json({file.path: file.digest for file in kept})}}


def _shaped(spec: Manifest, shape: Shape) -> Manifest:
    body: dict[str, Any] = json.loads(spec.model_dump_json(exclude_none=True))
    if shape == "adapter":
        body["model"]["adapter"] = {"type": "lora", "r": 4, "alpha": 8, "dropout": 0.0, "target_modules": "all-linear"}
    if shape == "classifier":
        body["task"] = "text_classification"
        body["hyperparameters"]["label"] = "crisis_level"
        body["evaluation"]["baseline"] = "none"
    body["evaluation"] |= {"max_new_tokens": 16, "batch_size": 4}
    return Manifest.model_validate(body)


def _checkpoint(state: State, manifest: ResolvedManifest, run: TrainingRun, *, shape: Shape, seed: int) -> Checkpoint:
    from pe_training.training.base import load_base, load_tokenizer
    from pe_training.training.weights import export_model, tensors_digest, trained_tensors

    spec = manifest.spec
    labels = LABELS if shape == "classifier" else None
    model: Any = load_base(spec.model, manifest.base, labels=labels, seed=seed, settings=state.settings)
    _made_talkative(model, seed=seed)
    if shape == "adapter":
        import torch
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(
            load_base(spec.model, manifest.base, labels=None, seed=spec.seed, settings=state.settings),
            LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
        )
        with torch.no_grad():
            for name, weight in sorted(model.named_parameters()):
                if "lora_B" in name:
                    weight.normal_(std=1.0, generator=torch.Generator().manual_seed(seed))
    tensors = trained_tensors(model)
    tokenizer = load_tokenizer(spec.model, manifest.base, settings=state.settings)
    history = [{"step": 2, "val_loss": 2.5}]
    files = export_model(
        model, tensors, tokenizer=tokenizer, base=manifest.base, history=history, trace=b"trace", artifacts=state.artifacts
    )
    return Checkpoint(
        run_id=run.id, line=run.line, task=spec.task, base=manifest.base, format="peft-adapter" if shape == "adapter" else "full",
        step=2, weights=tensors_digest(tensors), val_loss_before=3.0, val_loss=2.5, content_files=files,
    )  # fmt: skip


def _made_talkative(model: Any, *, seed: int) -> None:
    """Fresh weights repeat the last token, which is a line's end; these say something, each seed something else."""
    import torch

    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if weight.ndim == 2 and "embed" not in name:
                weight.normal_(std=0.3, generator=torch.Generator().manual_seed(seed))
