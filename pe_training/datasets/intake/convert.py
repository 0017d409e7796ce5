"""Files in another shape as a release folder, once: everything after this reads one shape only.

A conversion is named after its source, by the digest of what was declared and of every file's bytes. The same source is found again
and not converted anew; a changed file or declaration is another conversion, beside the first. If one record is refused, nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_json
from pe_training.datasets.conversion import Origin, OriginalFile
from pe_training.datasets.intake.export_rows import export_digests, read_export_rows
from pe_training.datasets.intake.read_source import read_source_rows, source_digests
from pe_training.datasets.intake.release_writer import ReleaseWriter
from pe_training.datasets.intake.repeats import joined, without_repeats
from pe_training.datasets.intake.semver import SemverExport
from pe_training.datasets.intake.source import UNKNOWN_TIME, Source
from pe_training.datasets.intake.tally import Converted, Tally
from pe_training.datasets.parse import parse_row
from pe_training.datasets.release_manifest import HoldoutEntry
from pe_training.datasets.rows import Row, is_rfc3339
from pe_training.storage.durable import new_folder

CONVERTER = 2  # one more whenever the same source gives other rows than before
FOLDER = "converted"
_KEY_DIGITS = 12
_HOLDOUTS: TypeAdapter[dict[str, HoldoutEntry]] = TypeAdapter(dict[str, HoldoutEntry])


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What is to be converted, whatever its shape."""

    name: str
    version: str
    format: str
    declared: Mapping[str, Any]
    generated_at: str
    holdouts: Mapping[str, HoldoutEntry] = field(default_factory=dict)
    digests: Callable[[], dict[str, str]]  # of the files as they are now
    rows: Callable[[], Iterable[Converted]]


def convert_source(path: Path, source: Source, *, into: Path) -> Path:
    """The release folder, below ``into``, of a source whose files lie at ``path``.

    Raises refused with counts by reason and the first places, busy where a file changes meanwhile, input, not_found.
    """

    def read() -> Iterator[Converted]:
        return read_source_rows(path, source)

    kept: dict[str, Callable[[], Iterable[Converted]]] = {"keep": read, "drop": lambda: without_repeats(read), "join": lambda: joined(read)}

    job = _Job(
        name=source.name,
        version=source.version,
        format=source.format,
        declared=source.content(),
        generated_at=source.processed_at,
        digests=lambda: source_digests(path, source),
        rows=kept[source.repeats],
    )
    return _convert(job, into=into)


def convert_export(export: SemverExport, *, name: str, into: Path) -> Path:
    """The release folder, below ``into``, of a semver export. Raises as :func:`convert_source`; two copies that differ are refused."""
    other = export.manifest.other
    stated = other.get("generated_at", other.get("created_at"))
    job = _Job(
        name=name,
        version=export.version,
        format="semver_export",
        declared={"name": name, "manifest": export.manifest.content()},
        generated_at=stated if isinstance(stated, str) and is_rfc3339(stated) else UNKNOWN_TIME,
        holdouts=_holdouts(export),
        digests=lambda: export_digests(export),
        rows=lambda: read_export_rows(export),
    )
    return _convert(job, into=into)


def _convert(job: _Job, *, into: Path) -> Path:
    digests, declaration = job.digests(), digest_json(job.declared)
    key = digest_json({"converter": CONVERTER, "format": job.format, "declaration": declaration, "files": digests})
    folder = into / FOLDER / job.name / f"{job.version}-{key.removeprefix('sha256:')[:_KEY_DIGITS]}"
    if folder.exists():
        return folder
    tally = Tally()
    with new_folder(folder) as writing, closing(ReleaseWriter(writing)) as writer:
        for item in job.rows():
            tally.add(item)
            if isinstance(item.outcome, Row) and tally.whole:
                meta = item.outcome.metadata
                writer.add(_canonical(item.outcome), split=meta.split, family=meta.source_family)
        if not tally.whole:
            raise tally.refusal(name=job.name)
        if not tally.conversion().converted:
            message = f"no record holds anything to learn from: {tally.conversion().summary}"
            raise PeError(Kind.REFUSED, message, where=job.name, hint="is this the right format? `pe schema source` lists them")
        if job.digests() != digests:
            message = "a file changed while it was converted"
            raise PeError(Kind.BUSY, message, where=job.name, hint="wait until it is wholly copied, then run this again")
        originals = tuple(OriginalFile(path=name, sha256=digest.removeprefix("sha256:")) for name, digest in sorted(digests.items()))
        origin = Origin(format=job.format, declaration=declaration, files=originals, counts=tally.conversion())
        writer.finish(name=job.name, version=job.version, generated_at=job.generated_at, holdouts=job.holdouts, origin=origin)
    return folder


def _canonical(row: Row) -> bytes:
    """By the fast reader, which thereby has read every row that is written."""
    return parse_row(row.model_dump_json(exclude_none=True).encode()).canonical


def _holdouts(export: SemverExport) -> dict[str, HoldoutEntry]:
    """Families that the export's manifest holds out: leaving them behind would leave the leakage check nothing to look at."""
    try:
        return _HOLDOUTS.validate_python(export.manifest.other.get("holdout_families", {}), strict=True)
    except ValidationError:
        where = f"{export.manifest_path}:holdout_families"
        hint = "each family is {test_split_only: true, rationale: '...'}"
        raise PeError(Kind.INPUT, "is not a mapping of families to holdouts", where=where, hint=hint) from None
