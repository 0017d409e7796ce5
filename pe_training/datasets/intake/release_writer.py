"""Writes rows as a release folder: shards of JSON Lines by split, then the manifest, counted from what was written.

Rows stream through: one shard a split is open, and what is kept are counts. The same rows in the same order always give the same bytes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from pe_training.datasets.conversion import Origin
from pe_training.datasets.record import SPLITS
from pe_training.datasets.release_manifest import MANIFEST, FamilyEntry, HoldoutEntry, ReleaseManifest, ShardEntry, SplitEntry
from pe_training.storage.durable import world_errors

MAX_SHARD_ROWS = 50_000


class ReleaseWriter:
    """Fills one empty folder. Rows are given as their canonical JSON and are not looked at again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, _Shard] = {}
        self._shards: dict[str, list[ShardEntry]] = {split: [] for split in SPLITS}
        self._families: dict[str, Counter[str]] = {}

    def add(self, row: bytes, *, split: str, family: str) -> None:
        """Append a row to its split."""
        shard = self._open.get(split)
        if shard is None:
            shard = self._open[split] = _Shard(self._folder, split=split, number=len(self._shards[split]))
        shard.add(row, family=family)
        self._families.setdefault(family, Counter())[split] += 1
        if shard.rows >= MAX_SHARD_ROWS:
            self._shards[split].append(self._open.pop(split).finish())

    def finish(self, *, name: str, version: str, generated_at: str, holdouts: Mapping[str, HoldoutEntry], origin: Origin) -> None:
        """Close the shards and write the manifest, last."""
        for split, shard in self._open.items():
            self._shards[split].append(shard.finish())
        splits = {
            split: SplitEntry(conversations=sum(shard.conversation_count for shard in shards), shards=tuple(shards))
            for split, shards in self._shards.items()
        }
        families = {
            family: FamilyEntry.model_validate({"conversations": found.total(), "splits": dict(sorted(found.items()))})
            for family, found in sorted(self._families.items())
        }
        body = {
            "manifest_version": "1.0",
            "generated_at": generated_at,
            "total_conversations": sum(found.total() for found in self._families.values()),
            "splits": splits,
            "source_families": families,
            "holdout_families": dict(holdouts),
            "dataset_name": name,
            "version": version,
            "conversion": origin,
        }
        manifest = ReleaseManifest.model_validate(body)
        path = self._folder / MANIFEST
        with world_errors(path):
            path.write_text(manifest.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")

    def close(self) -> None:
        """Let go of files that are still open."""
        for shard in self._open.values():
            shard.close()


class _Shard:
    def __init__(self, folder: Path, *, split: str, number: int) -> None:
        self._name = f"{split}/part-{number:05d}.jsonl"
        path = folder / self._name
        with world_errors(path):
            path.parent.mkdir(exist_ok=True)
            self._file: BinaryIO = path.open("xb")
        self._path = path
        self._hasher = hashlib.sha256()
        self._size_bytes = self.rows = 0
        self._families: set[str] = set()

    def add(self, row: bytes, *, family: str) -> None:
        line = row + b"\n"
        with world_errors(self._path):
            self._file.write(line)
        self._hasher.update(line)
        self._size_bytes += len(line)
        self.rows += 1
        self._families.add(family)

    def close(self) -> None:
        with world_errors(self._path):
            self._file.close()

    def finish(self) -> ShardEntry:
        self.close()
        return ShardEntry(
            shard_id=self._name.removesuffix(".jsonl").replace("/", "-"),
            s3_path=self._name,
            size_bytes=self._size_bytes,
            sha256=self._hasher.hexdigest(),
            conversation_count=self.rows,
            source_families=tuple(sorted(self._families)),
        )
