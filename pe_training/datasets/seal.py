"""From checked rows to sealed Parquet shards and the record that names them.

Canonical order is by row digest, writer settings are pinned and nothing of the release's files survives: the same rows in
other files, order or compression give the same id and, with the same pyarrow, the same bytes.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pe_training.core.ids import canonical_json, digest_bytes
from pe_training.datasets.record import SPLITS, DatasetVersion, Shard, Split
from pe_training.datasets.release import ReleasedRow
from pe_training.storage.artifacts import ArtifactStore

if TYPE_CHECKING:
    import pyarrow as pa

MAX_SHARD_ROWS = 50_000
ROW_GROUP_ROWS = 1_000
TEXT_COLUMNS = ("row_digest", "family", "split", "license_tag", "phase", "content_hash")


def root_of(digests: Iterable[str]) -> str:
    """The digest that stands for a set of rows: SHA-256 of their digests, sorted, one a line."""
    return digest_bytes("\n".join(sorted(digests)).encode())


def seal(rows: Sequence[ReleasedRow], *, name: str, store: ArtifactStore) -> DatasetVersion:
    """Store the shards and return the record, which is not registered here. Rows must have passed validation."""
    by_split = {split: sorted((row for row in rows if row.split == split), key=lambda row: row.digest) for split in SPLITS}
    families: dict[str, Counter[str]] = {}
    for row in rows:
        families.setdefault(row.family, Counter())[row.split] += 1
    return DatasetVersion(
        name=name,
        splits={split: Split(rows=len(found), root=root_of(row.digest for row in found)) for split, found in by_split.items()},
        shards=tuple(shard for split, found in by_split.items() for shard in _shards(found, split=split, store=store)),
        families={family: dict(sorted(counted.items())) for family, counted in sorted(families.items())},
        licenses=dict(sorted(Counter(row.license_tag for row in rows).items())),
    )


def _shards(rows: Sequence[ReleasedRow], *, split: str, store: ArtifactStore) -> Iterator[Shard]:
    for number, start in enumerate(range(0, len(rows), MAX_SHARD_ROWS)):
        part = rows[start : start + MAX_SHARD_ROWS]
        data = _parquet(part)
        path = f"data/{split}-{number:05d}.parquet"
        yield Shard(path=path, split=split, rows=len(part), digest=store.put_bytes(data), size_bytes=len(data))


def _parquet(rows: Sequence[ReleasedRow]) -> bytes:
    """One shard. Every setting that could change with a default is written out."""
    import pyarrow.parquet as pq

    file = io.BytesIO()
    with pq.ParquetWriter(
        file, _schema(), version="2.6", data_page_version="1.0", compression="zstd", compression_level=3,
        use_dictionary=["family", "split", "license_tag", "phase"], write_statistics=True, store_schema=False,
    ) as writer:  # fmt: skip
        for start in range(0, len(rows), ROW_GROUP_ROWS):
            writer.write_table(_table(rows[start : start + ROW_GROUP_ROWS]), row_group_size=ROW_GROUP_ROWS)
    return file.getvalue()


def _schema() -> pa.Schema:
    import pyarrow as pa

    messages = pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())]))
    text = [pa.field(name, pa.string(), nullable=False) for name in (*TEXT_COLUMNS, "labels", "group", "metadata")]
    return pa.schema([*text[:6], pa.field("messages", messages, nullable=False), *text[6:]])


def _table(rows: Sequence[ReleasedRow]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist([_sealed(row) for row in rows], schema=_schema())


def _sealed(row: ReleasedRow) -> dict[str, Any]:
    content = json.loads(row.canonical)
    meta = content["metadata"]
    return {
        "row_digest": row.digest,
        "family": row.family,
        "split": row.split,
        "license_tag": row.license_tag,
        "phase": row.phase,
        "content_hash": row.content_hash,
        "messages": content["messages"],
        "labels": canonical_json(meta.get("labels", {})).decode(),
        "group": canonical_json(meta.get("group", {})).decode(),
        "metadata": canonical_json(meta).decode(),
    }
