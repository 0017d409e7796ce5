"""Pages for people, laid where they can be opened: the evidence page of a decision, which is kept as an artifact, and the data page."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.core.records import Attachment
from pe_training.costs.ledger import ledger
from pe_training.datasets.accept import find_release, stored_report, version_before
from pe_training.datasets.record import DatasetVersion
from pe_training.evaluation.measures import Row
from pe_training.evaluation.predictions import from_parquet
from pe_training.evaluation.record import EvaluationReport
from pe_training.evaluation.suites import load_suite, prompts
from pe_training.lineage.recall import taints_of
from pe_training.lineage.trace import trace_up
from pe_training.manifests.record import ResolvedManifest
from pe_training.promotion.lapses import spoken_words
from pe_training.promotion.record import EVIDENCE_PAGE, PromotionDecision
from pe_training.storage.durable import write_durably
from pe_training.storage.state import State
from pe_training.training.record import Checkpoint, TrainingRun
from pe_training.views.dataset_page import render_dataset_page
from pe_training.views.evidence import OTHERS, Evidence, Messages, Sample, sample_of, tells_right_from_wrong, turned
from pe_training.views.page import render_page

SAMPLES_PER_SUITE = 6


def publish(decision: PromotionDecision, *, state: State) -> Path:
    """The decision's page as a file under PE_HOME; rendered the first time, afterwards laid out again from the artifact."""
    kept = next((file for file in state.registry.attachments(decision.id) if file.path == EVIDENCE_PAGE), None)
    if kept is None:
        html = render_page(evidence_of(decision, state=state)).encode()
        kept = Attachment(path=EVIDENCE_PAGE, digest=state.artifacts.put_bytes(html), size_bytes=len(html))
        with state.registry.writing() as connection:
            state.registry.attach_in(connection, decision.id, kept)
    path = state.settings.report_page(decision.id)
    if not path.exists():
        data = state.artifacts.get(kept.digest)
        write_durably(path, lambda file: file.write(data))
    return path


def publish_card(decision: PromotionDecision, *, state: State) -> Path:
    """The model card of the decision's checkpoint, beside the page. It follows from what is known, so it is written anew each time."""
    from pe_training.views.model_card import model_card

    text = model_card(evidence_of(decision, state=state), spoken_words(decision, state=state)).encode()
    path = state.settings.report_page(decision.id).with_suffix(".md")
    write_durably(path, lambda file: file.write(text))
    return path


def publish_release(digest: str, *, state: State) -> Path:
    """The data page of a release's newest judgement, under PE_HOME, named by the dataset version or the release. Raises not_found."""
    known = find_release(state, digest)
    if known is None:
        raise PeError(Kind.NOT_FOUND, "this release was never judged", where=short(digest), hint="`pe dataset add PATH` judges it")
    report = stored_report(known.report_digest, state=state)
    previous = version_before(state, name=known.name, digest=digest)
    recalls = taints_of(state, known.dataset_id) if known.dataset_id else ()
    html = render_dataset_page(report, dataset_id=known.dataset_id, previous=previous, recalls=recalls).encode()
    path = state.settings.report_page(known.dataset_id or f"release_{digest.removeprefix('sha256:')[:32]}")
    write_durably(path, lambda file: file.write(html))
    return path


def evidence_of(decision: PromotionDecision, *, state: State) -> Evidence:
    """Everything the page shows, from records and artifacts alone."""
    registry = state.registry
    report = registry.get(decision.report_id, EvaluationReport)
    checkpoint = registry.get(decision.checkpoint_id, Checkpoint)
    run = registry.get(checkpoint.run_id, TrainingRun)
    manifest = registry.get(decision.manifest_id, ResolvedManifest)
    history = next(file for file in checkpoint.content_files if file.path == "history.jsonl")
    asked = _prompts(manifest, report, state=state)
    answers = {file.path.removesuffix(".parquet"): from_parquet(state.artifacts.get(file.digest)) for file in report.predictions}
    return Evidence(
        decision=decision,
        report=report,
        checkpoint=checkpoint,
        run=run,
        manifest=manifest,
        dataset=registry.get(run.dataset_id, DatasetVersion),
        lineage=trace_up(state, decision.id),
        charges=(*ledger(state, subject=run.id), *ledger(state, subject=checkpoint.id)),
        history=tuple(json.loads(line) for line in state.artifacts.get(history.digest).decode().splitlines()),
        samples={suite: _samples(rows, asked) for suite, rows in answers.items()},
        turned={
            suite: [found for who in OTHERS if (found := turned(_named(rows, asked), who))]
            for suite, rows in answers.items()
            if tells_right_from_wrong(report, suite)
        },
    )


def _prompts(manifest: ResolvedManifest, report: EvaluationReport, *, state: State) -> dict[str, Messages]:
    """Prompt id -> messages, from the pinned suites that the report used. Held-out suites have none: their rows are clients' words."""
    found: dict[str, Messages] = {}
    with tempfile.TemporaryDirectory() as name:
        state.artifacts.checkout([file for file in manifest.inputs if file.path.startswith("suites/")], Path(name))
        for suite, use in report.suites.items():
            if manifest.suites.get(suite) == use.digest:  # a manifest with another policy may pin another version of the suite
                found |= {prompt.id: prompt.messages for prompt in prompts(load_suite(Path(name) / "suites", suite).examples)}
    return found


def _samples(answers: Sequence[Row], asked: dict[str, Messages]) -> tuple[Sample, ...]:
    """A few per-example rows whose prompt is known, spread evenly over the file."""
    rows = _named(answers, asked)
    stride = max(1, len(rows) // SAMPLES_PER_SUITE)
    return tuple(sample_of(row, asked[row["id"]]) for row in rows[::stride][:SAMPLES_PER_SUITE])


def _named(rows: Sequence[Row], asked: dict[str, Messages]) -> list[dict[str, Any]]:
    """Rows about a suite's own prompts: held-out rows are clients' words, and are named by a digest that nobody looks up."""
    return [dict(row) for row in rows if row["id"] in asked]
