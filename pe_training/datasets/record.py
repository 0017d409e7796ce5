"""The dataset version: what may be trained on, named by its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pe_training.core.records import Attachment, Frozen, Record

SPLITS = ("train", "val", "test")


class Split(Frozen):
    """One split: how many rows, and the digest of their sorted row digests."""

    rows: int
    root: str


class Shard(Frozen):
    """One sealed Parquet file."""

    path: str  # e.g. data/train-00000.parquet
    split: str
    rows: int
    digest: str
    size_bytes: int


class Statistics(Frozen):
    """What later versions are compared with: means over all rows."""

    words: float  # between blanks, in all messages
    turns: float  # messages that are not the system's


class DatasetVersion(Record):
    """An accepted, sealed dataset. The id depends on the name and the rows, not on files, order or compression."""

    kind: ClassVar[str] = "ds"

    name: str
    splits: dict[str, Split]
    shards: tuple[Shard, ...]
    families: dict[str, dict[str, int]]  # family -> split -> rows
    licenses: dict[str, int]  # license tag -> rows
    statistics: Statistics | None = None  # a version that was sealed before they were kept has none
    training: dict[str, dict[str, dict[str, int]]] | None = None  # of its training rows: phase -> family -> licence -> rows; as above

    def identity(self) -> dict[str, Any]:
        """Name and rows; shards and counts are derived from the rows and are checked against them by verification."""
        return {"name": self.name, "splits": {name: split.content() for name, split in self.splits.items()}}

    def files(self) -> Sequence[Attachment]:
        """The shards."""
        return [Attachment(path=s.path, digest=s.digest, size_bytes=s.size_bytes) for s in self.shards]

    def label(self) -> str:
        """The dataset's name."""
        return self.name

    @property
    def rows(self) -> int:
        """Rows in all splits."""
        return sum(split.rows for split in self.splits.values())
