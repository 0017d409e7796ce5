"""From checked rows to sealed Parquet shards and the record that names them.

Canonical order is by row digest, writer settings are pinned and nothing of the release's files survives: the same rows in
other files, order or compression give the same id and, with the same pyarrow, the same bytes.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import msgspec

from pe_training.core.ids import digest_bytes
from pe_training.core.progress import progress
from pe_training.datasets.record import SPLITS, DatasetVersion, Shard, Split, Statistics
from pe_training.datasets.row_table import RowTable
from pe_training.storage.artifacts import ArtifactStore

if TYPE_CHECKING:
    import pyarrow as pa

MAX_SHARD_ROWS = 50_000
ROW_GROUP_ROWS = 1_000
TEXT_COLUMNS = ("row_digest", "family", "split", "license_tag", "phase", "content_hash", "source_key")


def root_of(digests: Iterable[str]) -> str:
    """The digest that stands for a set of rows: SHA-256 of their digests, sorted, one a line."""
    return digest_bytes("\n".join(sorted(digests)).encode())


def seal(rows: RowTable, *, name: str, store: ArtifactStore) -> DatasetVersion:
    """Store the shards and return the record, which is not registered here. Rows must have passed validation."""
    families: dict[str, Counter[str]] = {}
    licenses: Counter[str] = Counter()
    for profile, count in rows.counted():
        families.setdefault(profile.family, Counter())[profile.split] += count
        licenses[profile.license_tag] += count
    order = {split: [int(index) for index in rows.canonical_order(split)] for split in SPLITS}
    return DatasetVersion(
        name=name,
        splits={split: Split(rows=len(found), root=root_of(rows.digest(index) for index in found)) for split, found in order.items()},
        shards=tuple(shard for split, found in order.items() for shard in _shards(rows, found, split=split, store=store)),
        families={family: dict(sorted(counted.items())) for family, counted in sorted(families.items())},
        licenses=dict(sorted(licenses.items())),
        statistics=statistics_of(rows),
        training=training_of((p.phase, p.family, p.license_tag, count) for p, count in rows.counted() if p.split == "train"),
    )


def training_of(counted: Iterable[tuple[str, str, str, int]]) -> dict[str, dict[str, dict[str, int]]]:
    """Rows by phase, family and licence, from counts of each, in order of their names."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for phase, family, licence, count in sorted(counted):
        of_family = found.setdefault(phase, {}).setdefault(family, {})
        of_family[licence] = of_family.get(licence, 0) + count
    return found


def statistics_of(rows: RowTable) -> Statistics:
    """Means over all rows, of which there is at least one."""
    words, turns = rows.means()
    return Statistics(words=round(words, 6), turns=round(turns, 6))


def _shards(rows: RowTable, order: Sequence[int], *, split: str, store: ArtifactStore) -> Iterator[Shard]:
    for number, start in enumerate(range(0, len(order), MAX_SHARD_ROWS)):
        part = order[start : start + MAX_SHARD_ROWS]
        data = _parquet(rows, part)
        path = f"data/{split}-{number:05d}.parquet"
        yield Shard(path=path, split=split, rows=len(part), digest=store.put_bytes(data), size_bytes=len(data))
        progress(f"sealing {split}", start + len(part), len(order))


def _parquet(rows: RowTable, order: Sequence[int]) -> bytes:
    """One shard. Every setting that could change with a default is written out."""
    import pyarrow.parquet as pq

    file = io.BytesIO()
    with pq.ParquetWriter(
        file, _schema(), version="2.6", data_page_version="1.0", compression="zstd", compression_level=3,
        use_dictionary=["family", "split", "license_tag", "phase", "source_key"], write_statistics=True, store_schema=False,
    ) as writer:  # fmt: skip
        groups = (_table(rows, order[start : start + ROW_GROUP_ROWS]) for start in range(0, len(order), ROW_GROUP_ROWS))
        _behind(lambda group: writer.write_table(group, row_group_size=ROW_GROUP_ROWS), groups)
    return file.getvalue()


def _behind(write: Callable[[pa.Table], None], tables: Iterable[pa.Table]) -> None:
    """Write each table while the next is made: compressing needs no lock of the interpreter."""
    with ThreadPoolExecutor(1) as writing:
        last: Future[None] | None = None
        for table in tables:
            if last:
                last.result()
            last = writing.submit(write, table)
        if last:
            last.result()


def _schema() -> pa.Schema:
    import pyarrow as pa

    turns = pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())]))
    text = [pa.field(name, pa.string(), nullable=False) for name in (*TEXT_COLUMNS, "labels", "group", "metadata")]
    at = len(TEXT_COLUMNS)
    return pa.schema([*text[:at], pa.field("messages", turns, nullable=False), *text[at:], pa.field("rejected", turns)])


class _Message(msgspec.Struct, gc=False):
    role: str
    content: str


class _Metadata(msgspec.Struct, gc=False):
    source_key: str
    labels: msgspec.Raw = msgspec.Raw(b"{}")
    group: msgspec.Raw = msgspec.Raw(b"{}")


class _Sealed(msgspec.Struct, gc=False):
    messages: list[_Message]
    metadata: msgspec.Raw
    rejected: list[_Message] | None = None


_decode = msgspec.json.Decoder(_Sealed).decode
_decode_metadata = msgspec.json.Decoder(_Metadata).decode


def _table(rows: RowTable, order: Sequence[int]) -> pa.Table:
    """Rows as columns. The text of the JSON columns is cut out of the canonical JSON, and so is canonical itself."""
    import pyarrow as pa

    schema = _schema()
    content = [_decode(rows.canonical(index)) for index in order]
    metadata = [_decode_metadata(row.metadata) for row in content]
    profiles = [rows.profile(index) for index in order]
    columns: dict[str, Any] = {
        "row_digest": [rows.digest(index) for index in order],
        "family": [profile.family for profile in profiles],
        "split": [profile.split for profile in profiles],
        "license_tag": [profile.license_tag for profile in profiles],
        "phase": [profile.phase for profile in profiles],
        "content_hash": [rows.content_hash(index) for index in order],
        "source_key": [row.source_key for row in metadata],
        "messages": _turns([row.messages for row in content]),
        "labels": [bytes(row.labels).decode() for row in metadata],
        "group": [bytes(row.group).decode() for row in metadata],
        "metadata": [bytes(row.metadata).decode() for row in content],
        "rejected": [None if row.rejected is None else [(m.role, m.content) for m in row.rejected] for row in content],
    }
    return pa.table([pa.array(columns[f.name], f.type) if isinstance(columns[f.name], list) else columns[f.name] for f in schema], schema)


def _turns(dialogues: Sequence[list[_Message]]) -> pa.ListArray:
    """One list of turns a row."""
    import pyarrow as pa

    ends = [0, *accumulate(len(turns) for turns in dialogues)]
    flat = [turn for turns in dialogues for turn in turns]
    values = pa.StructArray.from_arrays(
        [pa.array([turn.role for turn in flat], pa.string()), pa.array([turn.content for turn in flat], pa.string())], ["role", "content"]
    )
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values)
