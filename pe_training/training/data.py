"""A dataset version as training order and held-out batches, for each task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pe_training.core.config import suggest
from pe_training.core.errors import Kind, PeError
from pe_training.datasets.read import SealedRow, read_rows
from pe_training.datasets.record import DatasetVersion
from pe_training.manifests.hyperparameters import Hyperparameters
from pe_training.manifests.schema import Manifest
from pe_training.storage.state import State
from pe_training.training.batches import Batch, collate_dialogues, collate_texts
from pe_training.training.buckets import BucketedOrder
from pe_training.training.order import Bin, DataOrder
from pe_training.training.pairs import Pair, collate_pairs, encode_pair
from pe_training.training.tokens import IGNORED, encode_dialogue, encode_text

Answers = dict[str, list[tuple[float, float]]]  # split -> log-probability of the chosen and of the rejected answer, pair by pair
Refer = Callable[[Mapping[str, Sequence[Pair]]], Answers]


@dataclass(frozen=True)
class Prepared:
    """What training needs of the data."""

    order: DataOrder
    collate: Callable[[Sequence[Bin]], Batch]
    targets: list[float]  # of each training row, what it counts for in the mean loss of its step
    tokens: list[int]  # of each training row
    lengths: list[int]  # of each training row: the longest sequence that it takes
    sides: int  # sequences that a row takes
    auxiliary: tuple[int, ...]  # of each further label that a classifier learns: the number of its classes
    held_out: Callable[[int], list[Batch]]  # batches of at most so many rows
    used: dict[str, int]  # rows per split that carry at least one target
    left_out: dict[str, int]  # rows per split that do not fit


@dataclass(frozen=True)
class Text:
    """What a client says, as token ids, with the number and the weight of its class."""

    ids: list[int]
    label: int
    weight: float | None = None  # None: classes do not weigh
    auxiliary: tuple[int, ...] = ()  # classes of the further labels, IGNORED where it has none

    @property
    def length(self) -> int:
        """Tokens."""
        return len(self.ids)

    tokens = length

    @property
    def targets(self) -> float:
        """What it counts for: one, or the weight of its class."""
        return 1 if self.weight is None else self.weight


def label_names(dataset: DatasetVersion, field: str, *, state: State) -> list[str]:
    """The classes of a classifier: values of ``field`` in the training split, sorted."""
    found = sorted({class_of(row, field) for row in read_rows(dataset, "train", state=state)})
    for row in read_rows(dataset, "test", state=state):
        class_of(row, field)  # without which nothing could be said of what is trained
    if len(found) < 2:
        raise PeError(
            Kind.DATA,
            f"the label {field!r} has {len(found)} value in the training split; a classifier needs two",
            hint="choose another label",
        )
    return found


def prepare(
    spec: Manifest, dataset: DatasetVersion, *, tokenizer: Any, labels: list[str] | None, state: State, refer: Refer | None = None
) -> Prepared:
    """Encode the training and validation splits. Raises data if either has nothing to learn from.

    ``refer`` gives the reference model's log-probabilities of preference pairs; needed for that task only.
    """
    h, auxiliary = spec.hyperparameters, _auxiliary_names(spec, dataset, state=state)
    rows = {split: read_rows(dataset, split, state=state) for split in ("train", "val")}
    if spec.task == "preference":
        encode, collate = _pairs(spec, tokenizer)
    elif labels is None:
        encode, collate = _dialogues(spec, tokenizer)
    else:
        weights = _class_weights(spec, rows["train"], labels)
        encode, collate = _texts(spec, tokenizer, labels, weights=weights, auxiliary=auxiliary)
    encoded = {split: [(row, encode(row)) for row in found] for split, found in rows.items()}
    kept = {split: [(row, item) for row, item in found if item is not None] for split, found in encoded.items()}
    for split, found in kept.items():
        if not found:
            wanted = "is a preference pair (has a rejected answer)" if spec.task == "preference" else "has a therapist turn"
            message = f"no row of {dataset.name}/{split} {wanted} within {h.max_length} tokens"
            raise PeError(Kind.DATA, message, where="hyperparameters.max_length", hint="raise it, or look at the dataset")
    order = _order(spec, kept["train"])
    if refer is not None:
        kept = _referred(kept, refer)
    train, held = kept["train"], [item for _, item in kept["val"]]
    by_length = sorted(range(len(held)), key=lambda i: (held[i].length, i))
    return Prepared(
        order=order,
        collate=lambda bins: collate([tuple(train[row][1] for row in rows) for rows in bins]),
        targets=[item.targets for _, item in train],
        tokens=[item.tokens for _, item in train],
        lengths=[item.length for _, item in train],
        sides=2 if spec.task == "preference" else 1,
        auxiliary=tuple(map(len, auxiliary.values())),
        held_out=lambda size: [collate([(held[i],) for i in by_length[start : start + size]]) for start in range(0, len(held), size)],
        used={split: len(found) for split, found in kept.items()},
        left_out={split: len(encoded[split]) - len(found) for split, found in kept.items()},
    )


def _order(spec: Manifest, train: Sequence[tuple[SealedRow, Any]]) -> DataOrder:
    h = spec.hyperparameters
    lengths, families = [item.length for _, item in train], [row.family for row, _ in train]
    for family in sorted(spec.dataset.mixture.keys() - set(families)):
        message = (
            f"every training row of {family!r} is left out: none fits into {h.max_length} tokens, or none is what this task learns from"
        )
        raise PeError(Kind.DATA, message, where="dataset.mixture", hint="leave it out of the mixture, or look at the dataset")
    if h.bucketing:
        return BucketedOrder(lengths, families=families, seed=spec.seed, mixture=spec.dataset.mixture, batch_size=h.batch_size)
    most = h.max_length if h.packing else None
    return DataOrder(lengths, families=families, seed=spec.seed, max_length=most, mixture=spec.dataset.mixture)


def _referred(kept: dict[str, list[tuple[SealedRow, Any]]], refer: Refer) -> dict[str, list[tuple[SealedRow, Any]]]:
    answers = refer({split: [pair for _, pair in found] for split, found in kept.items()})
    return {
        split: [(row, replace(pair, reference=answer)) for (row, pair), answer in zip(found, answers[split], strict=True)]
        for split, found in kept.items()
    }


def _pairs(spec: Manifest, tokenizer: Any) -> tuple[Callable[[SealedRow], Any], Callable[[Any], Batch]]:
    """Rows without a rejected answer are no pairs and are left out."""
    length = spec.hyperparameters.max_length
    return (
        lambda row: encode_pair(tokenizer, row.messages, row.rejected, max_length=length) if row.rejected else None,
        lambda groups: collate_pairs([pair for group in groups for pair in group], pad_id=tokenizer.pad_token_id),
    )


def _dialogues(spec: Manifest, tokenizer: Any) -> tuple[Callable[[SealedRow], Any], Callable[[Any], Batch]]:
    length = spec.hyperparameters.max_length
    return (
        lambda row: encode_dialogue(tokenizer, row.messages, max_length=length),
        lambda groups: collate_dialogues(groups, pad_id=tokenizer.pad_token_id),
    )


def _texts(
    spec: Manifest, tokenizer: Any, labels: list[str], *, weights: dict[str, float] | None, auxiliary: Mapping[str, list[str]]
) -> tuple[Callable[[SealedRow], Any], Callable[[Any], Batch]]:
    h: Hyperparameters = spec.hyperparameters
    assert h.label is not None
    field, number = h.label, {name: index for index, name in enumerate(labels)}

    def encode(row: SealedRow) -> Text:
        label = class_of(row, field)
        if label not in number:
            message = f"a held-out row has the label {label!r}, which no training row has"
            raise PeError(Kind.DATA, message, where=f"labels.{field}", hint=suggest(label, number))
        ids = encode_text(tokenizer, row.messages, reads=h.reads, max_length=h.max_length)
        beside = tuple(_class_beside(row, name, names) for name, names in auxiliary.items())
        return Text(ids, number[label], None if weights is None else weights[label], beside)

    def collate(groups: Any) -> Batch:
        texts = [text for group in groups for text in group]
        return collate_texts(
            [text.ids for text in texts], [text.label for text in texts],
            weights=[text.weight for text in texts] if weights else None, auxiliary=[text.auxiliary for text in texts] if auxiliary else (),
            pad_id=tokenizer.pad_token_id,
        )  # fmt: skip

    return encode, collate


def _auxiliary_names(spec: Manifest, dataset: DatasetVersion, *, state: State) -> dict[str, list[str]]:
    """The classes of each further label: its values in the training split, sorted. Rows may lack it."""
    found: dict[str, list[str]] = {}
    for name in spec.hyperparameters.auxiliary:
        rows = read_rows(dataset, "train", state=state)
        found[name] = sorted({str(row.labels[name]) for row in rows if _names_a_class(row.labels.get(name))})
        if len(found[name]) < 2:
            message = f"the label {name!r} has {len(found[name])} values in the training split; learning it needs two"
            raise PeError(Kind.DATA, message, where="hyperparameters.auxiliary", hint="leave it out, or look at the dataset")
    return found


def _class_beside(row: SealedRow, field: str, names: list[str]) -> int:
    """The number of its class; :data:`IGNORED` where the row has no such label, or one that no training row has."""
    value = row.labels.get(field)
    return names.index(str(value)) if _names_a_class(value) and str(value) in names else IGNORED


def _class_weights(spec: Manifest, train: Sequence[SealedRow], labels: list[str]) -> dict[str, float] | None:
    """Label -> weight of its rows. ``balanced`` is rows / (classes x rows of the class) over the training split (King & Zeng 2001;
    scikit-learn's formula); of a mapping, a class that it does not name weighs 1. Raises input for a name that no row has."""
    asked, field = spec.hyperparameters.class_weights, spec.hyperparameters.label
    if asked is None or field is None:
        return None
    if asked == "balanced":
        counted = Counter(class_of(row, field) for row in train)
        return {name: len(train) / (len(labels) * counted[name]) for name in labels}
    for name in asked:
        if name not in labels:
            message = f"no training row has the {field} {name!r}"
            raise PeError(Kind.INPUT, message, where="hyperparameters.class_weights", hint=suggest(name, labels))
    return {name: asked.get(name, 1.0) for name in labels}


def class_of(row: SealedRow, field: str) -> str:
    """What a row is labelled: a name, or a grade such as 2 by its digits. Raises data where it has no such label."""
    value = row.labels.get(field)
    if not _names_a_class(value):
        hint = suggest(field, [name for name, found in row.labels.items() if _names_a_class(found)])
        raise PeError(Kind.DATA, f"row {row.row_digest[:19]} has no label {field!r}", where="hyperparameters.label", hint=hint)
    return str(value)


def _names_a_class(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)
