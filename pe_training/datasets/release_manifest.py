"""``manifest.json`` of a release, and the files it names, which must lie in the release's own folder.

A release is somebody else's input: a path that climbs out of the folder, is absolute or passes a symbolic link would let a
manifest read any file of the machine, so it is refused before anything is opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import BeforeValidator, Field, JsonValue, ValidationError

from pe_training.core.errors import Kind, PeError
from pe_training.core.records import Frozen
from pe_training.datasets.complaints import RepeatedKeyError, complaint, refuse_repeated_keys
from pe_training.datasets.rows import Count, Name, SplitName, Time, split_name

MANIFEST = "manifest.json"
FORMATS = (".jsonl", ".jsonl.gz", ".parquet")
MAX_NAME_BYTES = 255  # what file systems take
_HINT = "name a file below the release's folder"


class ShardEntry(Frozen):
    """One file of rows."""

    shard_id: Name
    s3_path: Name
    size_bytes: Count
    sha256: Annotated[str, BeforeValidator(lambda v: v.removeprefix("sha256:") if isinstance(v, str) else v)] = Field(
        pattern=r"^[0-9a-f]{64}$"
    )
    conversation_count: Count
    source_families: tuple[Name, ...]


class SplitEntry(Frozen):
    """One split."""

    conversations: Count
    shards: tuple[ShardEntry, ...]


class FamilyEntry(Frozen):
    """How many rows of a family there are, in all and per split."""

    conversations: Count
    splits: dict[SplitName, Count]


class HoldoutEntry(Frozen):
    """A family kept for testing."""

    test_split_only: bool
    rationale: str


class ReleaseManifest(Frozen):
    """What a release says it holds."""

    manifest_version: Annotated[str, Field(pattern=r"^1\.0$")]
    generated_at: Time
    total_conversations: Count
    splits: dict[SplitName, SplitEntry]
    source_families: dict[Name, FamilyEntry]
    holdout_families: dict[Name, HoldoutEntry] = Field(default={})
    provenance_map: dict[str, JsonValue] = Field(default={})
    dataset_name: str | None = None
    version: str | None = None


@dataclass(frozen=True, kw_only=True)
class ShardFile:
    """A shard as listed; ``name`` is its place below the folder, whether or not it is there."""

    name: str
    path: Path
    split: str
    entry: ShardEntry


def read_release_manifest(folder: Path) -> ReleaseManifest:
    """The manifest of a release folder. Raises not_found or input with the field that is wrong."""
    path = folder / MANIFEST
    if not path.exists():
        hint = f"a release is a folder with {MANIFEST} and the files it names"
        raise PeError(Kind.NOT_FOUND, f"no {MANIFEST} here", where=str(folder), hint=hint)
    if path.is_symlink() or not path.is_file():
        raise PeError(Kind.INPUT, "must be a plain file", where=str(path), hint="copy the file itself into the folder")
    try:
        text = path.read_bytes()
        manifest = ReleaseManifest.model_validate_json(text)
        refuse_repeated_keys(text, meant=split_name)  # `val` beside `validation` is one key twice
    except RepeatedKeyError as error:
        raise PeError(Kind.INPUT, str(error), where=str(path), hint="fix the release's manifest") from None
    except ValidationError as error:
        field, message = complaint(error, ReleaseManifest)
        raise PeError(Kind.INPUT, message, where=f"{path}:{field}" if field else str(path), hint="fix the release's manifest") from None
    return manifest


def shard_files(folder: Path, manifest: ReleaseManifest) -> tuple[ShardFile, ...]:
    """Every shard that the manifest lists, in its order. Raises input for a path outside, unknown formats and repeats."""
    found = tuple(_shard_files(folder, manifest))
    names = [shard.name for shard in found]
    if repeated := sorted(name for name, times in Counter(names).items() if times > 1):
        raise PeError(Kind.INPUT, f"{repeated[0]} is listed twice", where=str(folder / MANIFEST), hint="list every shard once")
    return found


def _shard_files(folder: Path, manifest: ReleaseManifest) -> Iterator[ShardFile]:
    for split, listed in manifest.splits.items():
        for index, entry in enumerate(listed.shards):
            where = f"{folder / MANIFEST}:splits.{split}.shards.{index}.s3_path"
            name = _relative(entry.s3_path, folder, where=where)
            if not name.endswith(FORMATS):
                raise PeError(Kind.INPUT, "is not a kind of file that is read", where=where, hint=f"use {', '.join(FORMATS)}")
            yield ShardFile(name=name, path=_inside(folder, name, where=where), split=split, entry=entry)


def _relative(text: str, folder: Path, *, where: str) -> str:
    """The place below the folder that ``s3_path`` stands for: itself, or of a URL the longest ending that is there."""
    if not text.isprintable() or "\\" in text or any(len(part.encode()) > MAX_NAME_BYTES for part in text.split("/")):
        raise PeError(Kind.INPUT, "is not a plain path", where=where, hint=_HINT)
    if "://" not in text:
        return text
    if not text.startswith("s3://"):
        raise PeError(Kind.INPUT, "is a URL that is not s3://", where=where, hint=_HINT)
    parts = [part for part in PurePosixPath(text.removeprefix("s3://")).parts[1:] if part != "/"]  # without the bucket
    if not parts or ".." in parts:
        raise PeError(Kind.INPUT, "names no file", where=where, hint=_HINT)
    endings = ["/".join(parts[index:]) for index in range(len(parts))]
    return next((ending for ending in endings if (folder / ending).is_file()), parts[-1])


def _inside(folder: Path, name: str, *, where: str) -> Path:
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or name != str(relative) or name == ".":
        raise PeError(Kind.INPUT, "leaves the release's folder or is not written plainly", where=where, hint=_HINT)
    path = folder
    for part in relative.parts:
        path = path / part
        if path.is_symlink():
            raise PeError(Kind.INPUT, "passes a symbolic link", where=where, hint="copy the file itself into the folder")
    if path.exists() and not path.is_file():
        raise PeError(Kind.INPUT, "is not a file", where=where, hint=_HINT)
    return path
