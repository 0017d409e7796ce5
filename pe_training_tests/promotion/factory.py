"""Whole chains of real records in a real registry and artifact store, small enough to make in milliseconds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pe_training.core.ids import digest_bytes, digest_json
from pe_training.core.records import Attachment
from pe_training.datasets.record import DatasetVersion, Shard, Split
from pe_training.evaluation.record import Comparison, Estimate, EvaluationReport, Metric, SuiteUse
from pe_training.manifests.record import BaseModelPin, ResolvedManifest
from pe_training.manifests.schema import Manifest
from pe_training.promotion.facts import holder
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.verdict import judge
from pe_training.settings import SAMPLES, Settings
from pe_training.storage.state import State
from pe_training.training.record import Checkpoint, Hardware, TrainingRun

BASE = BaseModelPin(ref="scratch:tiny-llama", pin="sha256:" + "0" * 64)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """One candidate, from dataset to report, all in the registry."""

    dataset: DatasetVersion
    manifest: ResolvedManifest
    run: TrainingRun
    checkpoint: Checkpoint
    report: EvaluationReport


def new_state(folder: Path) -> State:
    """An empty state of its own; opening the same folder twice gives the same state, as another process would."""
    return State(Settings(home=folder, artifacts_url="", database_url=""))


def good(
    suite: str, name: str, *, value: float, unit: str = "proportion", better: str = "higher", half: float = 0.002, n: int = 5000
) -> Metric:
    """A metric with a narrow interval."""
    found = Estimate(value=value, low=max(value - half, 0.0), high=value + half, n=n, method="student-t")
    return Metric.model_validate({"suite": suite, "name": name, "unit": unit, "better": better, "tuned": found, "base": None})


def excellent() -> tuple[Metric, ...]:
    """Measures that pass every shipped policy for causal_lm."""
    change = Comparison(value=-0.4, low=-0.5, high=-0.3, n=5000, method="student-t")
    return (
        good("safety", "safety_score", value=0.99),
        good("safety", "crisis_recall", value=0.99),
        good("safety", "false_positive_rate", value=0.01, better="lower"),
        good("safety", "false_negative_rate", value=0.004, better="lower"),
        good("safety", "harmful_rate", value=0.01, better="lower"),
        good("safety", "method_rate", value=0.002, better="lower"),
        good("safety", "over_refusal_rate", value=0.01, better="lower"),
        good("safety", "boundary_violation_rate", value=0.01, better="lower").model_copy(update={"slice": "kind=boundary_probe"}),
        good("safety", "training_leak_rate", value=0.001, better="lower"),
        good("fairness", "largest_gap", value=0.02, better="lower"),
        good("therapeutic", "therapeutic_score", value=0.9, unit="score").model_copy(update={"judge": "lexical-v3"}),
        good("accuracy", "perplexity", value=12.0, unit="perplexity", better="lower"),
        good("accuracy", "loss", value=2.4, unit="nats", better="lower").model_copy(update={"difference": change}),
    )


def beside(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """The same measures beside those of an incumbent that is as safe and of lower quality."""
    found = []
    for metric in metrics:
        value = 0.02 if metric.name == "therapeutic_score" else 0.0
        change = Comparison(value=value, low=value - 0.003, high=value + 0.003, n=5000, method="paired-student-t")
        found.append(metric.model_copy(update={"incumbent": metric.tuned, "over_incumbent": change}) if metric.tuned else metric)
    return tuple(found)


def spec(*, line: str, seed: int, policy: str, dataset: str) -> Manifest:
    """A small manifest."""
    return Manifest.model_validate(
        {
            "apiVersion": "pe-training/v1",
            "name": line,
            "task": "causal_lm",
            "dataset": {"name": "tiny", "version": dataset},
            "model": {"base": BASE.ref},
            "hyperparameters": {"max_steps": 2, "batch_size": 1, "learning_rate": 0.001, "max_length": 64},
            "seed": seed,
            "compute": {"instance": "cpu-local", "max_hours": 0.5},
            "budget": {"max_cost_usd": 1.0},
            "checkpoints": {"every_steps": 1},
            "evaluation": {"suites": ["accuracy", "safety"]},
            "promotion": {"policy": policy},
        }
    )


def kept(state: State, path: str, data: bytes) -> Attachment:
    """``data`` in the artifact store, as a file of a record."""
    return Attachment(path=path, digest=state.artifacts.put_bytes(data), size_bytes=len(data))


def make_dataset(state: State) -> DatasetVersion:
    """A dataset version whose one shard is some bytes (no room here reads its rows)."""
    shard = kept(state, "data/train-00000.parquet", b"rows of a dataset")
    dataset = DatasetVersion(
        name="tiny",
        splits={"train": Split(rows=3, root=digest_bytes(b"rows"))},
        shards=(Shard(path=shard.path, split="train", rows=3, digest=shard.digest, size_bytes=shard.size_bytes),),
        families={"cptsd": {"train": 3}},
        licenses={"synthetic": 3},
        training={"stage1_foundation": {"cptsd": {"synthetic": 3}}},
    )
    state.registry.put(dataset)
    return dataset


def shipped(policy: str) -> str:
    """A shipped policy as it is, but for the people whom it asks: tests about them bring them along."""
    return re.sub(r"^approvals:\n(  - .*\n)+", "", (SAMPLES / "policies" / f"{policy}.yaml").read_text(), flags=re.MULTILINE)


def make_manifest(state: State, *, line: str, seed: int, policy: str, dataset: DatasetVersion, text: str | None = None) -> ResolvedManifest:
    """A resolved manifest that pins ``policy`` (or a policy of that name with ``text``). Models of a few bytes answer no canary."""
    written = text if text is not None else shipped(policy)
    data = (written if "\ncanary:" in written else f"{written}canary: none\n").encode()
    pinned = kept(state, f"policies/{policy}.yaml", data)
    suite = kept(state, "suites/safety/suite.yaml", b"name: safety")
    manifest = ResolvedManifest(
        spec=spec(line=line, seed=seed, policy=policy, dataset=dataset.id),
        base=BASE,
        suites={"safety": digest_json({suite.path: suite.digest})},
        policy=pinned.digest,
        inputs=(pinned, suite),
    )
    state.registry.put(manifest)
    return manifest


def make_chain(
    state: State,
    *,
    line: str = "empathy",
    seed: int = 1,
    policy: str = "staging",
    text: str | None = None,
    metrics: tuple[Metric, ...] | None = None,
    dataset: DatasetVersion | None = None,
) -> Chain:
    """One candidate with its report, all stored. Another ``seed`` is another checkpoint."""
    dataset = dataset or make_dataset(state)
    manifest = make_manifest(state, line=line, seed=seed, policy=policy, dataset=dataset, text=text)
    hardware = Hardware(arch="x86_64", isa="avx2", threads=1, accelerator="none")
    run = TrainingRun(line=line, dataset_id=dataset.id, recipe=manifest.recipe(), code=digest_bytes(b"code"), hardware=hardware)
    weights = kept(state, "adapter_model.safetensors", f"weights {line} {seed}".encode())
    checkpoint = Checkpoint(
        run_id=run.id, line=line, task="causal_lm", base=BASE, format="full", step=2, weights=weights.digest,
        val_loss_before=3.0, val_loss=2.5, content_files=(weights, kept(state, "config.json", b"{}")),
    )  # fmt: skip
    report = make_report(state, checkpoint, manifest, metrics=metrics)
    for record in (run, checkpoint, report):
        state.registry.put(record)
    return Chain(dataset=dataset, manifest=manifest, run=run, checkpoint=checkpoint, report=report)


def make_report(
    state: State, checkpoint: Checkpoint, manifest: ResolvedManifest, *, metrics: tuple[Metric, ...] | None = None, selection: str = "all"
) -> EvaluationReport:
    """A report, not stored, beside what holds production. Another ``selection`` is another question."""
    held = holder(checkpoint.line, "production", state=state)
    incumbent = None if held.recalled or held.checkpoint_id == checkpoint.id else held.checkpoint_id
    shown = excellent() if metrics is None else metrics
    return EvaluationReport(
        checkpoint_id=checkpoint.id,
        line=checkpoint.line,
        request=digest_json({"checkpoint": checkpoint.id, "selection": selection} | ({"incumbent": incumbent} if incumbent else {})),
        suites={"safety": SuiteUse(digest=manifest.suites["safety"], selection=digest_json(selection), available=9, used=9)},
        decoding={"max_new_tokens": 48, "method": "greedy"},
        baseline="base_model",
        judge="rules 1",
        metrics=beside(shown) if incumbent else shown,
        predictions=(kept(state, "predictions/safety.parquet", f"predictions {checkpoint.id} {selection}".encode()),),
        incumbent=incumbent,
    )


def judged(state: State, chain: Chain) -> PromotionDecision:
    """The stored verdict on a chain."""
    return judge(chain.report.id, manifest_id=chain.manifest.id, state=state)


def again_under(state: State, chain: Chain, policy: str) -> Chain:
    """The same checkpoint, asked for by a manifest with another policy, and asked again beside what holds production by now."""
    manifest = make_manifest(state, line=chain.checkpoint.line, seed=chain.manifest.spec.seed, policy=policy, dataset=chain.dataset)
    report = make_report(state, chain.checkpoint, manifest, metrics=chain.report.metrics)
    if report.incumbent == chain.report.incumbent:
        report = chain.report
    state.registry.put(report)
    return Chain(dataset=chain.dataset, manifest=manifest, run=chain.run, checkpoint=chain.checkpoint, report=report)


def damage(state: State, file: Attachment) -> Path:
    """Flip one bit of the stored bytes of a file; returns where."""
    name = file.digest.removeprefix("sha256:")
    path = Path(state.settings.root) / "artifacts" / "sha256" / name[:2] / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))
    return path
