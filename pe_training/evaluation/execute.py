"""One evaluation: select the examples, ask both models, score, keep every answer, report."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pe_training.core.errors import Kind, PeError
from pe_training.core.records import Attachment
from pe_training.datasets.read import read_rows
from pe_training.datasets.record import DatasetVersion
from pe_training.evaluation import accuracy, fairness, safety, therapeutic
from pe_training.evaluation.build import build_report
from pe_training.evaluation.generate import Conversation, generate_all
from pe_training.evaluation.measures import Scored
from pe_training.evaluation.models import AskedModel, base_model, tuned_model
from pe_training.evaluation.predictions import to_parquet
from pe_training.evaluation.record import EvaluationReport, SuiteUse
from pe_training.evaluation.request import decoding, evaluation_request
from pe_training.evaluation.selection import part, select, suite_use
from pe_training.evaluation.suites import Suite, load_suite, prompts
from pe_training.manifests.record import ResolvedManifest
from pe_training.storage.state import State
from pe_training.training.feed import Feed
from pe_training.training.record import Checkpoint
from pe_training.training.tokens import Dialogue, encode_dialogue


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A suite with what is put to the models: examples or test rows, as conversations, and (held out) encoded dialogues."""

    suite: Suite
    use: SuiteUse
    examples: Sequence[Any]
    conversations: Sequence[Conversation]
    dialogues: Sequence[Dialogue]


def execute(checkpoint: Checkpoint, manifest: ResolvedManifest, *, state: State, feed: Feed) -> EvaluationReport:
    """Evaluate a checkpoint as its manifest says. Keeps the answers as artifacts, registers nothing."""
    spec = manifest.spec
    feed.emit("phase", name="load", total=len(spec.evaluation.suites))
    with tempfile.TemporaryDirectory() as name:
        state.artifacts.checkout([file for file in manifest.inputs if file.path.startswith("suites/")], Path(name))
        with tuned_model(checkpoint, manifest, state=state) as model:
            asked = [_ask(load_suite(Path(name) / "suites", suite), manifest, model, state=state) for suite in spec.evaluation.suites]
            tuned = [_answers(one, model, manifest, feed=feed, who="tuned") for one in asked]
        base: list[list[Any]] | None = None
        if spec.evaluation.baseline == "base_model":
            with base_model(manifest, state=state) as model:
                base = [_answers(one, model, manifest, feed=feed, who="base") for one in asked]
    feed.emit("phase", name="score", total=len(asked))
    scored = [_score(one, tuned[i], base and base[i], manifest) for i, one in enumerate(asked)]
    return build_report(
        checkpoint_id=checkpoint.id,
        line=checkpoint.line,
        request=evaluation_request(checkpoint, manifest),
        suites={one.suite.config.name: one.use for one in asked},
        decoding=decoding(manifest),
        baseline=spec.evaluation.baseline,
        metrics=[metric for found in scored for metric in found.metrics],
        predictions=[_keep(one, found, state=state) for one, found in zip(asked, scored, strict=True)],
    )


def _ask(suite: Suite, manifest: ResolvedManifest, model: AskedModel, *, state: State) -> Asked:
    spec, name = manifest.spec, suite.config.name
    size = spec.evaluation.max_examples.get(name)
    if suite.config.kind != "held_out":
        chosen, use = select(suite, max_examples=size, seed=spec.seed)
        return Asked(suite=suite, use=use, examples=chosen, conversations=[prompt.messages for prompt in prompts(chosen)], dialogues=())
    dataset = state.registry.get(spec.dataset.version, DatasetVersion)
    rows = read_rows(dataset, "test", state=state)
    kept = part(rows, identity=lambda row: row.row_digest, stratum=lambda row: row.family, size=size, seed=spec.seed)
    use = suite_use(manifest.suites[name], [row.row_digest for row in kept], available=len(rows))
    dialogues: list[Dialogue] = []
    if spec.model_task == "causal_lm":
        encoded = [encode_dialogue(model.tokenizer, row.messages, max_length=spec.hyperparameters.max_length) for row in kept]
        pairs = [(row, dialogue) for row, dialogue in zip(kept, encoded, strict=True) if dialogue is not None]
        if not pairs:
            hint = "raise hyperparameters.max_length"
            raise PeError(
                Kind.DATA, f"no test row of {dataset.name} has a therapist turn that fits", where="hyperparameters.max_length", hint=hint
            )
        kept, dialogues = [row for row, _ in pairs], [dialogue for _, dialogue in pairs]
        use = suite_use(manifest.suites[name], [row.row_digest for row in kept], available=len(rows))
    return Asked(suite=suite, use=use, examples=kept, conversations=[row.messages for row in kept], dialogues=dialogues)


def _answers(asked: Asked, model: AskedModel, manifest: ResolvedManifest, *, feed: Feed, who: str) -> list[Any]:
    """Per example: the loss in nats, the label or the reply."""
    name, size = asked.suite.config.name, manifest.spec.evaluation.batch_size
    told = _teller(feed, f"{who} model, {name}")
    if asked.dialogues:
        return _in_batches(asked.dialogues, model.losses, size=size, told=told)
    if manifest.spec.task == "text_classification":
        return _in_batches(asked.conversations, model.labels, size=size, told=told)
    return list(generate_all(asked.conversations, replier=model, batch_size=size, on_progress=told))


def _score(asked: Asked, tuned: list[Any], base: list[Any] | None, manifest: ResolvedManifest) -> Scored:
    config, seed, examples = asked.suite.config, manifest.spec.seed, asked.examples
    classifies = manifest.spec.task == "text_classification"
    if config.kind == "crisis":
        return (safety.score_predictions if classifies else safety.score_replies)(examples, config=config, tuned=tuned, base=base)
    if config.kind == "counterfactual":
        score = fairness.score_predictions if classifies else fairness.score_replies
        return score(examples, config=config, tuned=tuned, base=base, seed=seed)
    if config.kind == "reference":
        return therapeutic.score_replies(examples, config=config, tuned=tuned, base=base)
    if classifies:
        field = manifest.spec.hyperparameters.label
        labelled = [
            accuracy.Labelled(id=row.row_digest, expected=str(row.labels[field]), tuned=tuned[i], base=base[i] if base else None)
            for i, row in enumerate(examples)
        ]
        return accuracy.score_labels(labelled, config=config, seed=seed)
    losses = [
        accuracy.DialogueLoss(
            id=row.row_digest, tokens=asked.dialogues[i].targets, nats=tuned[i], base_nats=base[i] if base else None
        )
        for i, row in enumerate(examples)
    ]  # fmt: skip
    return accuracy.score_losses(losses, config=config)


def _keep(asked: Asked, scored: Scored, *, state: State) -> Attachment:
    data = to_parquet(scored.rows)
    return Attachment(path=f"{asked.suite.config.name}.parquet", digest=state.artifacts.put_bytes(data), size_bytes=len(data))


def _teller(feed: Feed, title: str) -> Callable[[int, int], None]:
    return lambda done, total: feed.emit("generate", title=title, step=done, total=total)


def _in_batches(
    items: Sequence[Any], answer: Callable[[Sequence[Any]], list[Any]], *, size: int, told: Callable[[int, int], None]
) -> list[Any]:
    found: list[Any] = []
    for start in range(0, len(items), size):
        found += answer(items[start : start + size])
        told(len(found), len(items))
    return found
