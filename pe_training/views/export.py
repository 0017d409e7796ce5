"""What is served as a folder that other tools load: a Hugging Face model with its tokenizer and card, and its evidence beside it.

A model that leaves the house takes along why it may be used, and sums by which everybody can see that nothing changed on the way. The
folder is filled under another name and renamed when it is whole; what was recalled, withdrawn or moved meanwhile is not handed out.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_file, short
from pe_training.core.records import Attachment, Record
from pe_training.evaluation.record import EvaluationReport
from pe_training.evaluation.request import decoding
from pe_training.lineage.trace import trace_up
from pe_training.manifests.record import ResolvedManifest
from pe_training.promotion.record import EVIDENCE_PAGE, PromotionDecision
from pe_training.promotion.serving import Served, resolve_place
from pe_training.promotion.targets import require_fit
from pe_training.storage.durable import new_folder, world_errors
from pe_training.storage.signatures import FOLDER as SIGNATURES
from pe_training.storage.state import State
from pe_training.training.record import HISTORY_FILE, TRACE_FILE, Checkpoint, TrainingRun
from pe_training.views.model_card import model_card
from pe_training.views.publish import evidence_of, publish

Form = Literal["as_trained", "merged"]
SUMS = "SHA256SUMS"
_EVIDENCE = "evidence"


@dataclass(frozen=True, kw_only=True)
class Export:
    """An export that was made, or would be. ``files``: relative to ``folder``, in order."""

    folder: str
    form: Form
    line: str
    place: str
    version: int
    checkpoint: str
    decision: str
    files: tuple[str, ...]

    def content(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def plan_export(served: Served, folder: Path, *, form: Form, state: State) -> Export:
    """What :func:`export_folder` would make; the model has been proved. Raises input where ``folder`` holds something, refused, corrupt."""
    _require_free(folder)
    if served.decision_id is None:
        message = f"no decision lets {short(served.checkpoint.id)} out of training"
        raise PeError(Kind.REFUSED, message, where=served.checkpoint.id, hint="export what holds staging, production or a role")
    if form == "merged" and _manifest(served, state).spec.model.quantization:
        message = f"{short(served.checkpoint.id)} was trained on a quantized base, which an adapter cannot be merged into"
        raise PeError(Kind.INPUT, message, where="--merge", hint="export it without --merge, and load it beside its base model")
    require_fit(served.checkpoint.id, served.decision_id, policy="pinned", state=state, route="export")
    named = [file.path for file in served.checkpoint.files() if file.path not in {HISTORY_FILE, TRACE_FILE}]
    return _export(served, folder, form, [*named, "README.md", SUMS, f"{_EVIDENCE}/"])


def export_folder(served: Served, folder: Path, *, form: Form, state: State) -> Export:
    """Make the folder, whole or not at all. Raises as :func:`plan_export`, and conflict where what is served changed meanwhile."""
    plan_export(served, folder, form=form, state=state)
    assert served.decision_id is not None
    decision = state.registry.get(served.decision_id, PromotionDecision)
    with new_folder(folder.absolute()) as writing, world_errors(folder):
        _write_model(served, writing, form=form, state=state)
        _write_evidence(served, decision, writing / _EVIDENCE, state=state)
        (writing / "README.md").write_text(model_card(evidence_of(decision, state=state)))
        files = sorted(str(path.relative_to(writing)) for path in writing.rglob("*") if path.is_file())
        sums = "".join(f"{digest_file(writing / name).removeprefix('sha256:')}  {name}\n" for name in files)
        (writing / SUMS).write_text(sums)
        if resolve_place(served.line, served.place, state=state) != served:
            message = f"{served.place} of {served.line} moved while it was written out"
            raise PeError(Kind.CONFLICT, message, where=served.checkpoint.id, hint="run the same command again")
    if (folder / SUMS).read_text() != sums:  # somebody else's folder was there first, and stays
        raise PeError(Kind.CONFLICT, "another process filled this folder meanwhile", where=str(folder), hint="choose another folder")
    return _export(served, folder, form, [*files, SUMS])


def _export(served: Served, folder: Path, form: Form, files: Iterable[str]) -> Export:
    return Export(
        folder=str(folder), form=form, line=served.line, place=served.place, version=served.version, checkpoint=served.checkpoint.id,
        decision=served.decision_id or "", files=tuple(files),
    )  # fmt: skip


def _require_free(folder: Path) -> None:
    with world_errors(folder):
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if taken:
        raise PeError(
            Kind.INPUT, "something is there already", where=str(folder), hint="name a folder that does not exist yet, or is empty"
        )


def _manifest(served: Served, state: State) -> ResolvedManifest:
    assert served.decision_id is not None
    return state.registry.get(state.registry.get(served.decision_id, PromotionDecision).manifest_id, ResolvedManifest)


def _write_model(served: Served, folder: Path, *, form: Form, state: State) -> None:
    """Weights, configuration, tokenizer, and how replies are decoded. Copies, never links: who edits an export edits nothing of ours."""
    checkpoint, manifest = served.checkpoint, _manifest(served, state)
    spec = manifest.spec
    if form == "merged" and checkpoint.format == "peft-adapter":
        _merge(checkpoint, manifest, folder, state=state)
    else:
        _copy([file for file in checkpoint.files() if file.path not in {HISTORY_FILE, TRACE_FILE}], folder, state=state)
    if spec.task == "text_classification":
        return  # a classifier's checkpoint holds its tokenizer
    from transformers import GenerationConfig

    from pe_training.training.base import load_tokenizer

    tokenizer = load_tokenizer(spec.model, manifest.base, settings=state.settings)
    tokenizer.save_pretrained(folder)
    most = int(decoding(manifest)["max_new_tokens"])
    GenerationConfig(
        do_sample=False, max_new_tokens=most, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    ).save_pretrained(folder)


def _merge(checkpoint: Checkpoint, manifest: ResolvedManifest, folder: Path, *, state: State) -> None:
    """The adapter in its base, in 32 bits, as it was evaluated."""
    from pe_training.evaluation.models import Asker, tuned_model

    asker = Asker.of(manifest, decoding(manifest), state=state)
    with tuned_model(checkpoint, manifest, asker, precision="32-true", state=state) as model:
        model.model.to("cpu").save_pretrained(folder)


def _copy(files: Iterable[Attachment], folder: Path, *, state: State) -> None:
    """Verified copies under their names. Raises corrupt where a copy is not what was asked for."""
    with tempfile.TemporaryDirectory() as name:
        for file in files:
            source, target = state.artifacts.checkout([file], Path(name)) / file.path, folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            if digest_file(target) != file.digest:
                raise PeError(
                    Kind.CORRUPT, f"{file.path} changed while it was copied", where=str(target), hint="check the disk, then again"
                )


def _write_evidence(served: Served, decision: PromotionDecision, folder: Path, *, state: State) -> None:
    """Why the model may be used: records, page, lineage, signatures, and what training left behind."""
    folder.mkdir()
    publish(decision, state=state)
    attached = {file.path: file for file in state.registry.attachments(decision.id)}
    vouching = [file for file in state.registry.attachments(served.checkpoint.id) if file.path.startswith(f"{SIGNATURES}/")]
    training = [file for file in served.checkpoint.files() if file.path in {HISTORY_FILE, TRACE_FILE}]
    _copy([attached[EVIDENCE_PAGE], *vouching, *training], folder, state=state)
    report = state.registry.get(decision.report_id, EvaluationReport)
    run = state.registry.get(served.checkpoint.run_id, TrainingRun)
    records: Mapping[str, Record] = {
        "decision": decision, "report": report, "checkpoint": served.checkpoint, "run": run, "manifest": _manifest(served, state),
    }  # fmt: skip
    for name, record in records.items():
        _write_json(folder / f"{name}.json", {"id": record.id, "content": record.content(), "parents": record.parents()})
    _write_json(folder / "served.json", served.content())
    _write_json(folder / "trace.json", asdict(trace_up(state, decision.id)))


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
