"""The training run and the checkpoint it ends with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pe_training.core.records import Attachment, Frozen, Record
from pe_training.manifests.record import BaseModelPin
from pe_training.manifests.schema import ModelRef, Name

HISTORY_FILE, TRACE_FILE = "history.jsonl", "trace.safetensors"  # of every checkpoint


class Hardware(Frozen):
    """What of a machine can change bits: the instruction set in use, the number of threads, the accelerator."""

    arch: str
    isa: str
    threads: int
    accelerator: str


class TrainingRun(Record):
    """One execution of a recipe: same recipe, code and hardware class give the same bits, hence the same run."""

    kind: ClassVar[str] = "run"

    line: str
    dataset_id: str
    recipe: dict[str, Any]
    code: str  # digest of the training code and of the libraries under it
    hardware: Hardware

    def parents(self) -> dict[str, str]:
        """The dataset version, and the checkpoint that the weights started from."""
        parent = self.recipe["model"].get("parent")
        return {"dataset": self.dataset_id} | ({"parent": parent} if parent else {})

    def label(self) -> str:
        """The model line."""
        return self.line


class Checkpoint(Record):
    """The model that a run produced."""

    kind: ClassVar[str] = "ck"

    run_id: str
    line: str
    task: str
    base: BaseModelPin
    format: str  # peft-adapter | full
    step: int  # optimiser steps behind these weights
    weights: str  # digest of every trained tensor: name, type, shape and bytes
    val_loss_before: float  # held-out loss of the untrained start, nats per target token (or per text)
    val_loss: float  # held-out loss of these weights
    content_files: tuple[Attachment, ...]

    def parents(self) -> dict[str, str]:
        """The run."""
        return {"run": self.run_id}

    def files(self) -> Sequence[Attachment]:
        """Weights, configuration, tokenizer and the history of metrics."""
        return self.content_files

    def key(self) -> str | None:
        """A run has one model."""
        return self.run_id

    def label(self) -> str:
        """The model line."""
        return self.line


class ImportedModel(Record):
    """Weights that were trained elsewhere, as what a run may start from (foreign.py)."""

    kind: ClassVar[str] = "im"

    line: str
    task: str
    base: BaseModelPin  # that the importer says they belong to
    format: str  # peft-adapter | full
    adapter: dict[str, int] | None = None  # r and alpha
    declared: dict[str, str]  # what their own files say
    imported_by: str
    reason: str
    weights: str  # as a checkpoint's
    content_files: tuple[Attachment, ...]

    def files(self) -> Sequence[Attachment]:
        """Weights and configuration."""
        return self.content_files

    def label(self) -> str:
        """Its name here."""
        return self.line


class Origin(Frozen):
    """What an importer says of weights."""

    name: Name
    model: ModelRef


def weight_files(files: Sequence[Attachment]) -> list[Attachment]:
    """Those that hold a model's weights."""
    return [file for file in files if file.path.endswith(".safetensors") and file.path != TRACE_FILE]
