"""Builds correct release folders from rows; tests break them one way at a time. Also writes the shipped sample release."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pe_training.datasets.record import SPLITS
from pe_training.datasets.rows import content_hash

Format = Literal["jsonl", "jsonl.gz", "parquet"]
BUILT_AT = "2026-01-01T00:00:00Z"


def make_row(messages: Sequence[tuple[str, str]], *, split: str, **metadata: Any) -> dict[str, Any]:
    """A whole row from ``(role, content)`` pairs; ``metadata`` replaces or adds keys. The content hash is computed."""
    contents = [content for _, content in messages]
    base = {
        "source_family": "professional_therapeutic",
        "source_key": "s3://example-bucket/sample/part-0.jsonl",
        "content_hash": content_hash(contents),
        "pii_status": "none_detected",
        "license_tag": "synthetic",
        "split": split,
        "phase": "stage1_foundation",
        "conversation_length": sum(role != "system" for role, _ in messages),
        "provenance": {
            "original_s3_key": "raw/sample.json",
            "processing_pipeline": "sample_v1",
            "processed_at": BUILT_AT,
            "dedup_status": "unique",
        },
    }
    return {"messages": [{"role": role, "content": content} for role, content in messages], "metadata": base | metadata}


def build_release(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    name: str,
    version: str,
    holdout_families: Mapping[str, str] | None = None,
    format: Format = "jsonl",
    rows_per_shard: int = 50_000,
) -> Path:
    """Write ``rows`` as shards and ``manifest.json`` into ``folder`` and return it.

    ``holdout_families``: family -> why it is held out. Shards are ``<split>/part-00000.<format>``; the order of rows is kept.
    The same rows always give the same bytes.
    """
    splits: dict[str, Any] = {}
    for split in SPLITS:
        chosen = [row for row in rows if row["metadata"]["split"] == split]
        parts = [chosen[start : start + rows_per_shard] for start in range(0, len(chosen), rows_per_shard)]
        shards = [_write_shard(folder, part, split=split, number=number, format=format) for number, part in enumerate(parts)]
        splits[split] = {"conversations": len(chosen), "shards": shards}
    manifest = {
        "manifest_version": "1.0",
        "generated_at": BUILT_AT,
        "dataset_name": name,
        "version": version,
        "total_conversations": len(rows),
        "splits": splits,
        "source_families": _families(rows),
        "holdout_families": {
            family: {"test_split_only": True, "rationale": rationale} for family, rationale in sorted((holdout_families or {}).items())
        },
        "provenance_map": {},
    }
    write_manifest(folder, manifest)
    return folder


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write ``manifest.json``, last, as a producer should."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def encode_rows(rows: Sequence[Mapping[str, Any]], format: Format) -> bytes:
    """The bytes of one shard."""
    if format == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), sink)
        return sink.getvalue()
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    return text if format == "jsonl" else gzip.compress(text, mtime=0)


def describe_shard(data: bytes, rows: Sequence[Mapping[str, Any]], *, path: str) -> dict[str, Any]:
    """The manifest's entry for a shard with these bytes."""
    return {
        "shard_id": path.partition(".")[0].replace("/", "-"),
        "s3_path": path,
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "conversation_count": len(rows),
        "source_families": sorted({row["metadata"]["source_family"] for row in rows}),
    }


def _write_shard(folder: Path, rows: Sequence[Mapping[str, Any]], *, split: str, number: int, format: Format) -> dict[str, Any]:
    path = f"{split}/part-{number:05d}.{format}"
    data = encode_rows(rows, format)
    (folder / split).mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(data)
    return describe_shard(data, rows, path=path)


def _families(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    counted: dict[str, Counter[str]] = {}
    for row in rows:
        counted.setdefault(row["metadata"]["source_family"], Counter())[row["metadata"]["split"]] += 1
    return {family: {"conversations": found.total(), "splits": dict(found)} for family, found in sorted(counted.items())}
