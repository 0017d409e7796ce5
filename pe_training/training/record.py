"""The training run and the checkpoint it ends with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pe_training.core.records import Attachment, Frozen, Record
from pe_training.manifests.record import BaseModelPin

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

    def weight_files(self) -> list[Attachment]:
        """The safetensors files that hold the weights."""
        return [file for file in self.content_files if file.path.endswith(".safetensors") and file.path != TRACE_FILE]

    def key(self) -> str | None:
        """A run has one model."""
        return self.run_id

    def label(self) -> str:
        """The model line."""
        return self.line
