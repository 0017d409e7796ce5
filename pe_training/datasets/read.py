"""Sealed rows back from the store, and the proof that a dataset version still is what its id says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pe_training.core.config import suggest
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import canonical_json, short
from pe_training.datasets.record import DatasetVersion, Shard, Statistics
from pe_training.datasets.rows import Row, content_hash, row_digest
from pe_training.datasets.seal import TEXT_COLUMNS, root_of, training_of
from pe_training.datasets.texts.shingles import Turn
from pe_training.storage.state import State

if TYPE_CHECKING:
    import pyarrow as pa

DIALOGUES_AT_ONCE = 2_000
LATER_COLUMNS = {"source_key"}  # shards that were sealed by an older version of this code do not have them
_HINT = "restore the artifact store from a backup, or accept the release again into a fresh PE_HOME"


@dataclass(frozen=True, kw_only=True)
class SealedRow:
    """One row as training and evaluation use it; ``messages`` are ``{"role", "content"}``."""

    row_digest: str
    family: str
    messages: list[dict[str, str]]
    labels: dict[str, Any]
    group: dict[str, str]
    rejected: list[dict[str, str]] | None = None  # of a preference pair: the answer that was not preferred to the last message


def read_rows(dataset: DatasetVersion, split: str, *, state: State) -> list[SealedRow]:
    """Rows of a split in canonical order, from verified bytes. Raises input for an unknown split, corrupt for damaged bytes."""
    if split not in dataset.splits:
        raise PeError(Kind.INPUT, f"{dataset.name} has no split {split!r}", where=dataset.id, hint=suggest(split, dataset.splits))
    columns = ["row_digest", "family", "messages", "labels", "group", "rejected"]
    return [
        SealedRow(
            row_digest=row["row_digest"],
            family=row["family"],
            messages=row["messages"],
            labels=json.loads(row["labels"]),
            group=json.loads(row["group"]),
            rejected=row.get("rejected"),
        )
        for shard in dataset.shards
        if shard.split == split
        for row in _shard_rows(shard, state=state, columns=columns)
    ]


def read_dialogues(dataset: DatasetVersion, split: str, *, state: State) -> Iterator[list[list[Turn]]]:
    """What is said in the rows of a split, some thousand rows at a time, from verified bytes. Rejected answers of pairs are said, too."""
    for shard in dataset.shards:
        if shard.split == split:
            rows = _shard_rows(shard, state=state, columns=["messages", "rejected"])
            while some := list(islice(rows, DIALOGUES_AT_ONCE)):
                yield [[(turn["role"], turn["content"]) for turn in (*row["messages"], *(row.get("rejected") or ()))] for row in some]


def read_columns(dataset: DatasetVersion, columns: Sequence[str], *, state: State) -> pa.Table:
    """Columns of all rows in canonical order, from verified bytes. Raises corrupt for a damaged shard."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = []
    for shard in dataset.shards:
        with pq.ParquetFile(pa.BufferReader(_shard_bytes(shard, state=state))) as file:
            missing = LATER_COLUMNS.intersection(columns) - set(file.schema_arrow.names)
            table = file.read(columns=[*(column for column in columns if column not in missing), *(["metadata"] if missing else [])])
        for column in missing:
            table = table.append_column(column, pa.array([json.loads(text)[column] for text in table["metadata"].to_pylist()], pa.string()))
        parts.append(table.select(list(columns)))
    return pa.concat_tables(parts)


def read_training(dataset: DatasetVersion, *, state: State) -> dict[str, dict[str, dict[str, int]]]:
    """What its training rows are: phase -> family -> licence -> rows. Counted from the shards of a version whose record does not say."""
    if dataset.training is not None:
        return dataset.training
    table = read_columns(dataset, ["split", "phase", "family", "license_tag"], state=state).to_pylist()
    return training_of((row["phase"], row["family"], row["license_tag"], 1) for row in table if row["split"] == "train")


def verify_dataset(dataset: DatasetVersion, *, state: State) -> int:
    """Recompute every digest, root and count from the stored rows; returns how many rows. Raises corrupt at the first difference."""
    digests: dict[str, list[str]] = {split: [] for split in dataset.splits}
    families: dict[str, Counter[str]] = {}
    licenses: Counter[str] = Counter()
    training: Counter[tuple[str, str, str]] = Counter()
    words = turns = 0
    for shard in dataset.shards:
        rows = 0
        for stored in _shard_rows(shard, state=state, columns=None):
            rows += 1
            row = _parsed(stored, shard)
            _require(row_digest(row) == stored["row_digest"], "a row does not match its digest", shard.path)
            for column, expected in _derived(row).items():
                if column in stored or column not in LATER_COLUMNS:
                    _require(stored[column] == expected, f"the column {column!r} does not follow from the row", shard.path)
            _require(row.metadata.split == shard.split and shard.split in digests, "a row lies in another split's file", shard.path)
            digests[shard.split].append(stored["row_digest"])
            families.setdefault(row.metadata.source_family, Counter())[shard.split] += 1
            licenses[row.metadata.license_tag] += 1
            if shard.split == "train":
                training[row.metadata.phase, row.metadata.source_family, row.metadata.license_tag] += 1
            words += sum(len(message.content.split()) for message in row.messages)
            turns += sum(message.role != "system" for message in row.messages)
        _require(rows == shard.rows, f"the file has {rows:,} rows, the record says {shard.rows:,}", shard.path)
    for name, split in dataset.splits.items():
        _require(len(digests[name]) == split.rows, f"{name} has {len(digests[name]):,} rows, the record says {split.rows:,}", dataset.id)
        _require(root_of(digests[name]) == split.root, f"the rows of {name} do not give its root", dataset.id)
    _require({k: dict(v) for k, v in families.items()} == dataset.families, "the families are not as recorded", dataset.id)
    _require(dict(licenses) == dataset.licenses, "the licences are not as recorded", dataset.id)
    total = sum(len(found) for found in digests.values())
    means = Statistics(words=round(words / total, 6), turns=round(turns / total, 6)) if total else None
    _require(dataset.statistics in (None, means), "the statistics are not as recorded", dataset.id)
    kinds = training_of((*kind, rows) for kind, rows in training.items())
    _require(dataset.training in (None, kinds), "the phases of training rows are not as recorded", dataset.id)
    return total


def _shard_bytes(shard: Shard, *, state: State) -> bytes:
    data = state.artifacts.get(shard.digest)
    _require(len(data) == shard.size_bytes, f"the file has {len(data):,} bytes, the record says {shard.size_bytes:,}", shard.path)
    return data


def _shard_rows(shard: Shard, *, state: State, columns: list[str] | None) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(pa.BufferReader(_shard_bytes(shard, state=state))) as file:
        for batch in file.iter_batches(columns=columns, batch_size=DIALOGUES_AT_ONCE):
            yield from batch.to_pylist()


def _parsed(stored: dict[str, Any], shard: Shard) -> Row:
    rejected = stored.get("rejected")  # null in a row that is no pair; shards that were sealed before there were pairs have no such column
    row = {"messages": stored["messages"], "metadata": json.loads(stored["metadata"])} | (
        {} if rejected is None else {"rejected": rejected}
    )
    try:
        return Row.model_validate_json(canonical_json(row))
    except ValidationError:
        raise PeError(Kind.CORRUPT, "a row is not a dialogue any more", where=shard.path, hint=_HINT) from None


def _derived(row: Row) -> dict[str, str]:
    """The columns that repeat what the row says, so that readers need not parse it."""
    meta = row.metadata
    content = meta.content()
    values = (row_digest(row), meta.source_family, meta.split, meta.license_tag, meta.phase)
    text = dict(zip(TEXT_COLUMNS, (*values, content_hash(m.content for m in row.messages), meta.source_key), strict=True))
    return text | {name: canonical_json(content.get(name, {})).decode() for name in ("labels", "group")}


def _require(holds: bool, message: str, where: str) -> None:
    if not holds:
        raise PeError(Kind.CORRUPT, message, where=short(where) if where.startswith("ds_") else where, hint=_HINT)
