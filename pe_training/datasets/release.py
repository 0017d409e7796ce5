"""A release folder as rows with places, or the places where it cannot be read.

Rows are read once, in a stream; what is kept of them stands in row_table.py.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_file, digest_json
from pe_training.datasets.release_manifest import MANIFEST, ReleaseManifest, ShardFile, read_release_manifest, shard_files
from pe_training.datasets.report import Problem
from pe_training.datasets.row_table import RowTable

if TYPE_CHECKING:
    from pe_training.datasets.texts.scan import TextScan

MISSING = "missing"
MAX_PROBLEMS_PER_FILE = 1_000
MAX_SURPLUS = 10  # times the declared rows: some megabytes can unpack into more than any disk holds
NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,62}\Z")
VERSION = re.compile(r"^(?!latest$|ds_)[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\Z")


@dataclass(frozen=True, kw_only=True)
class ReleaseHead:
    """What can be said of a release without parsing a row."""

    name: str
    version: str
    digest: str
    path: Path
    manifest: ReleaseManifest
    shards: tuple[ShardFile, ...]
    file_digests: dict[str, str]  # name below the folder -> digest, or MISSING


@dataclass(frozen=True, kw_only=True)
class Release(ReleaseHead):
    """A release as it lies in its folder, read whole."""

    scan: TextScan  # how its texts were read
    rows: RowTable
    problems: tuple[Problem, ...]  # of each file the first MAX_PROBLEMS_PER_FILE
    wrong: int  # lines that are no rows, and files that cannot be read to their end


def release_digest(folder: Path) -> str:
    """Digest of ``manifest.json`` and of every shard's bytes. Parses no row."""
    return read_head(folder).digest


def read_head(folder: Path) -> ReleaseHead:
    """Name, version, manifest and file digests of a release. Raises not_found or input."""
    if not folder.is_dir():
        raise PeError(Kind.NOT_FOUND, "no such folder", where=str(folder), hint=f"a release is a folder with {MANIFEST}")
    folder = folder.absolute()
    manifest = read_release_manifest(folder)
    name = _named(manifest.dataset_name, folder.parent.name, NAME, where=f"{folder / MANIFEST}:dataset_name")
    version = _named(manifest.version, folder.name, VERSION, where=f"{folder / MANIFEST}:version")
    shards = shard_files(folder, manifest)
    digests = {shard.name: digest_file(shard.path) if shard.path.exists() else MISSING for shard in shards}
    digests[MANIFEST] = digest_file(folder / MANIFEST)
    return ReleaseHead(
        name=name, version=version, digest=digest_json(digests), path=folder, manifest=manifest, shards=shards, file_digests=digests
    )


def read_release(folder: Path, *, scan: TextScan) -> Release:
    """The whole release. A row that cannot be read is a problem, not an error; raises input, not_found, or busy while it is copied."""
    from pe_training.datasets.read_blocks import read_blocks

    head = read_head(folder)
    rows = RowTable([shard.name for shard in head.shards])
    problems: list[Problem] = []
    wrong: Counter[int] = Counter()
    for file, block in read_blocks([None if head.file_digests[s.name] == MISSING else s.path for s in head.shards], scan=scan):
        rows.extend(block)
        for complaint in block.complaints[: max(0, MAX_PROBLEMS_PER_FILE - wrong[file])]:
            where = f"{head.shards[file].name}:{complaint.line}"
            problems.append(Problem(check="schema", where=where, field=complaint.field, message=complaint.message))
        wrong[file] += len(block.complaints)
        if len(rows) > MAX_SURPLUS * head.manifest.total_conversations + MAX_PROBLEMS_PER_FILE:
            message = f"holds more than {MAX_SURPLUS} times the {head.manifest.total_conversations:,} rows that its manifest names"
            raise PeError(Kind.INPUT, message, where=str(folder / MANIFEST), hint="the rest was not read; correct total_conversations")
    if release_digest(folder) != head.digest:
        raise changed(folder)
    return Release(**vars(head), scan=scan, rows=rows.finish(), problems=tuple(problems), wrong=wrong.total())


def changed(folder: Path) -> PeError:
    """The error for a release that is not the one it was a moment ago."""
    message = "the release changed while it was read"
    return PeError(Kind.BUSY, message, where=str(folder), hint="wait until it is wholly copied, then run this again")


def _named(declared: str | None, folder_name: str, pattern: re.Pattern[str], *, where: str) -> str:
    name = folder_name if declared is None else declared
    if not pattern.match(name):
        hint = "set 'dataset_name' (lower-case letters, digits, hyphens) and 'version' (such as v1.2.0), or name the folders so"
        raise PeError(Kind.INPUT, "this cannot be the name of a dataset or of its version", where=where, hint=hint)
    return name
