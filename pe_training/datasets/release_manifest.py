"""``manifest.json`` of a release, and the files it names, which must lie in the release's own folder.

A release is somebody else's input: a path that climbs out of the folder, is absolute or passes a symbolic link would let a
manifest read any file of the machine, so it is refused before anything is opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import BeforeValidator, Field, JsonValue, ValidationError

from pe_training.core.errors import Kind, PeError
from pe_training.core.records import Frozen
from pe_training.datasets.complaints import RepeatedKeyError, complaint, refuse_repeated_keys
from pe_training.datasets.conversion import Origin
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
    conversion: Origin | None = None  # of a release that was made from files in another shape


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
    return parse_release_manifest(path.read_bytes(), where=str(path))


def parse_release_manifest(data: bytes, *, where: str) -> ReleaseManifest:
    """The manifest with these bytes; ``where`` they are from. Raises input with the field that is wrong."""
    try:
        manifest = ReleaseManifest.model_validate_json(data)
        refuse_repeated_keys(data, meant=split_name)  # `val` beside `validation` is one key twice
    except RepeatedKeyError as error:
        raise PeError(Kind.INPUT, str(error), where=where, hint="fix the release's manifest") from None
    except ValidationError as error:
        field, message = complaint(error, ReleaseManifest)
        raise PeError(Kind.INPUT, message, where=f"{where}:{field}" if field else where, hint="fix the release's manifest") from None
    return manifest


def shard_files(folder: Path, manifest: ReleaseManifest) -> tuple[ShardFile, ...]:
    """Every shard that the manifest lists, in its order. Raises input for a path outside, unknown formats and repeats."""
    listed = shard_names(manifest, where=str(folder / MANIFEST), is_there=lambda name: (folder / name).is_file())
    return tuple(
        ShardFile(name=name, path=_inside(folder, name, where=where), split=split, entry=entry) for split, entry, name, where in listed
    )


def shard_names(manifest: ReleaseManifest, *, where: str, is_there: Callable[[str], bool]) -> list[tuple[SplitName, ShardEntry, str, str]]:
    """Split, entry, name below the release's folder and place in the manifest of every shard, wherever that folder is.

    An ``s3_path`` that is a URL stands for the longest ending of it that ``is_there``. Raises input as :func:`shard_files`.
    """
    found: list[tuple[SplitName, ShardEntry, str, str]] = []
    for split, listed in manifest.splits.items():
        for index, entry in enumerate(listed.shards):
            place = f"{where}:splits.{split}.shards.{index}.s3_path"
            name = _relative(entry.s3_path, is_there, where=place)
            if not name.endswith(FORMATS):
                raise PeError(Kind.INPUT, "is not a kind of file that is read", where=place, hint=f"use {', '.join(FORMATS)}")
            _require_plain(name, where=place)
            found.append((split, entry, name, place))
    names = [name for _, _, name, _ in found]
    if repeated := sorted(name for name, times in Counter(names).items() if times > 1):
        raise PeError(Kind.INPUT, f"{repeated[0]} is listed twice", where=where, hint="list every shard once")
    return found


def _relative(text: str, is_there: Callable[[str], bool], *, where: str) -> str:
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
    return next((ending for ending in endings if is_there(ending)), parts[-1])


def _require_plain(name: str, *, where: str) -> None:
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or name != str(relative) or name == ".":
        raise PeError(Kind.INPUT, "leaves the release's folder or is not written plainly", where=where, hint=_HINT)


def _inside(folder: Path, name: str, *, where: str) -> Path:
    path = folder
    for part in PurePosixPath(name).parts:
        path = path / part
        if path.is_symlink():
            raise PeError(Kind.INPUT, "passes a symbolic link", where=where, hint="copy the file itself into the folder")
    if path.exists() and not path.is_file():
        raise PeError(Kind.INPUT, "is not a file", where=where, hint=_HINT)
    return path
