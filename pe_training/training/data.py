"""A dataset version as training order and held-out batches, for each task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pe_training.core.config import suggest
from pe_training.core.errors import Kind, PeError
from pe_training.datasets.read import SealedRow, read_rows
from pe_training.datasets.record import DatasetVersion
from pe_training.manifests.schema import Hyperparameters, Manifest
from pe_training.storage.state import State
from pe_training.training.batches import Batch, collate_dialogues, collate_texts
from pe_training.training.order import Bin, DataOrder
from pe_training.training.tokens import Dialogue, client_text, encode_dialogue


@dataclass(frozen=True)
class Prepared:
    """What training needs of the data."""

    order: DataOrder
    collate: Callable[[Sequence[Bin]], Batch]
    targets: list[int]  # of each training row
    held_out: Callable[[int], list[Batch]]  # batches of at most so many rows
    used: dict[str, int]  # rows per split that carry at least one target
    left_out: dict[str, int]  # rows per split that do not fit


def label_names(dataset: DatasetVersion, field: str, *, state: State) -> list[str]:
    """The classes of a classifier: values of ``field`` in the training split, sorted."""
    rows = read_rows(dataset, "train", state=state)
    found = sorted({_label(row, field) for row in rows})
    if len(found) < 2:
        raise PeError(
            Kind.DATA,
            f"the label {field!r} has {len(found)} value in the training split; a classifier needs two",
            hint="choose another label",
        )
    return found


def prepare(spec: Manifest, dataset: DatasetVersion, *, tokenizer: Any, labels: list[str] | None, state: State) -> Prepared:
    """Encode the training and validation splits. Raises data if either has nothing to learn from."""
    rows = {split: read_rows(dataset, split, state=state) for split in ("train", "val")}
    encode, collate = _dialogues(spec, tokenizer) if labels is None else _texts(spec, tokenizer, labels)
    encoded = {split: [(row, encode(row)) for row in found] for split, found in rows.items()}
    kept = {split: [(row, item) for row, item in found if item is not None] for split, found in encoded.items()}
    for split, found in kept.items():
        if not found:
            message = f"no row of {dataset.name}/{split} has a therapist turn within {spec.hyperparameters.max_length} tokens"
            raise PeError(Kind.DATA, message, where="hyperparameters.max_length", hint="raise it, or look at the dataset")
    train, held = kept["train"], [item for _, item in kept["val"]]
    order = DataOrder(
        [_length(item) for _, item in train],
        families=[row.family for row, _ in train],
        seed=spec.seed,
        max_length=spec.hyperparameters.max_length if spec.hyperparameters.packing else None,
        mixture=spec.dataset.mixture,
    )
    by_length = sorted(range(len(held)), key=lambda i: (_length(held[i]), i))
    return Prepared(
        order=order,
        collate=lambda bins: collate([tuple(train[row][1] for row in rows) for rows in bins]),
        targets=[item.targets if isinstance(item, Dialogue) else 1 for _, item in train],
        held_out=lambda size: [collate([(held[i],) for i in by_length[start : start + size]]) for start in range(0, len(held), size)],
        used={split: len(found) for split, found in kept.items()},
        left_out={split: len(encoded[split]) - len(found) for split, found in kept.items()},
    )


def _dialogues(spec: Manifest, tokenizer: Any) -> tuple[Callable[[SealedRow], Any], Callable[[Any], Batch]]:
    length = spec.hyperparameters.max_length
    return (
        lambda row: encode_dialogue(tokenizer, row.messages, max_length=length),
        lambda groups: collate_dialogues(groups, pad_id=tokenizer.pad_token_id),
    )


def _texts(spec: Manifest, tokenizer: Any, labels: list[str]) -> tuple[Callable[[SealedRow], Any], Callable[[Any], Batch]]:
    h: Hyperparameters = spec.hyperparameters
    assert h.label is not None
    field, number = h.label, {name: index for index, name in enumerate(labels)}

    def encode(row: SealedRow) -> tuple[list[int], int] | None:
        label = _label(row, field)
        if label not in number:
            message = f"a held-out row has the label {label!r}, which no training row has"
            raise PeError(Kind.DATA, message, where=f"labels.{field}", hint=suggest(label, number))
        return list(tokenizer(client_text(row.messages), truncation=True, max_length=h.max_length)["input_ids"]), number[label]

    def collate(groups: Any) -> Batch:
        pairs = [pair for group in groups for pair in group]
        return collate_texts([text for text, _ in pairs], [label for _, label in pairs], pad_id=tokenizer.pad_token_id)

    return encode, collate


def _label(row: SealedRow, field: str) -> str:
    value = row.labels.get(field)
    if not isinstance(value, str):
        hint = suggest(field, [name for name, found in row.labels.items() if isinstance(found, str)])
        raise PeError(Kind.DATA, f"row {row.row_digest[:19]} has no label {field!r}", where="hyperparameters.label", hint=hint)
    return value


def _length(item: Any) -> int:
    return len(item.ids) if hasattr(item, "ids") else len(item[0])
