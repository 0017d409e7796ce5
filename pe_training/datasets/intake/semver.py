"""A semver export: ``manifest_v1.2.0.json`` beside ``dataset_v1.2.0.jsonl`` and, with the same rows, ``dataset_v1.2.0.parquet``.

The older way of shipping a release. Its rows are ordinary release rows; its manifest knows only digests and numbers of rows, so
what a full manifest says (splits, families, holdouts) has to be counted from the rows by whoever reads them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from pe_training.core.config import suggest
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_file
from pe_training.core.records import Frozen
from pe_training.datasets.complaints import RepeatedKeyError, complaint, refuse_repeated_keys
from pe_training.datasets.intake.plain_paths import plain_path
from pe_training.datasets.intake.source import Sha256
from pe_training.datasets.release_manifest import FORMATS
from pe_training.datasets.report import Problem
from pe_training.datasets.rows import Count, Name

_MANIFEST = re.compile(r"^manifest_(v[0-9]+\.[0-9]+\.[0-9]+(?:[-+][0-9A-Za-z.+-]{1,40})?)\.json$")
_NAMES = ("path", "name", "file")
_OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


class SemverEntry(Frozen):
    """One file as the manifest lists it; an ``s3://`` URL stands for the file of that name beside the manifest."""

    name: Name
    sha256: Sha256
    row_count: Count
    size_bytes: Count | None = None
    format: Name | None = None


class SemverManifest(Frozen):
    """What is read of ``manifest_v1.2.0.json``. ``other`` keeps the keys that are not read here, for whoever knows them."""

    version: str  # with its v
    files: tuple[SemverEntry, ...]
    other: dict[str, JsonValue] = Field(default={})


@dataclass(frozen=True, kw_only=True)
class SemverFile:
    """A listed file that is there."""

    path: Path
    entry: SemverEntry

    @property
    def is_parquet(self) -> bool:
        """Whether it is the Parquet copy; otherwise JSON Lines."""
        return self.path.name.endswith(".parquet")


@dataclass(frozen=True, kw_only=True)
class SemverExport:
    """An export as it lies in its folder. Where both kinds of file are listed they are two copies of the same rows."""

    folder: Path
    manifest_path: Path
    manifest: SemverManifest
    files: tuple[SemverFile, ...]

    @property
    def version(self) -> str:
        """Such as ``v1.2.0``."""
        return self.manifest.version


def semver_versions(folder: Path) -> list[str]:
    """Versions of the exports in a folder, such as ``v1.2.0``; none where it holds no ``manifest_v*.json``."""
    names = [version_in(path.name) for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(version for version in names if version)


def version_in(name: str) -> str | None:
    """The version that a manifest of this file name speaks of, or ``None`` where it is no such manifest's name."""
    found = _MANIFEST.match(name)
    return found.group(1) if found else None


def chosen_version(known: list[str], *, wanted: str | None, where: str) -> str:
    """The ``wanted`` one of the exports there, or the only one. Raises not_found or input."""
    if not known:
        raise PeError(Kind.NOT_FOUND, "no manifest_v*.json here", where=where, hint="an export is manifest_v1.2.0.json and its files")
    if wanted is None and len(known) > 1:
        raise PeError(Kind.INPUT, f"holds {len(known)} exports", where=where, hint=f"choose a version: {', '.join(known)}")
    chosen = known[0] if wanted is None else f"v{wanted.removeprefix('v')}"
    if chosen not in known:
        raise PeError(Kind.NOT_FOUND, "no export of that version here", where=where, hint=suggest(chosen, known))
    return chosen


def read_semver_export(folder: Path, *, version: str | None = None) -> SemverExport:
    """The export of that version, or the only one there. Reads no row. Raises not_found, or input with the field that is wrong."""
    chosen = chosen_version(semver_versions(folder), wanted=version, where=str(folder))
    path = plain_path(folder, f"manifest_{chosen}.json", where=str(folder / f"manifest_{chosen}.json"))
    manifest = _manifest(path, version=chosen)
    return SemverExport(folder=folder, manifest_path=path, manifest=manifest, files=tuple(_files(folder, path, manifest)))


def digest_problems(export: SemverExport) -> tuple[Problem, ...]:
    """The files whose bytes are not what the manifest says (check ``shard_digests``)."""
    return tuple(
        Problem(check="shard_digests", where=file.entry.name, field="sha256", message="is not the manifest's digest")
        for file in export.files
        if digest_file(file.path) != f"sha256:{file.entry.sha256}"
    )


def _manifest(path: Path, *, version: str) -> SemverManifest:
    try:
        return parse_semver_manifest(path.read_bytes(), version=version, where=str(path))
    except OSError:
        raise _wrong(str(path), "", "cannot be read") from None


def parse_semver_manifest(data: bytes, *, version: str, where: str) -> SemverManifest:
    """The manifest with these bytes; ``where`` they are from and the ``version`` in its name. Raises input with the field that is wrong."""
    path = where
    try:
        body = _OBJECT.validate_json(data)
        refuse_repeated_keys(data)
    except RepeatedKeyError as error:
        raise _wrong(path, "", str(error)) from None
    except ValidationError:
        raise _wrong(path, "", "is not a JSON object") from None
    stated = body.pop("version", version)
    if not isinstance(stated, str) or stated.removeprefix("v") != version.removeprefix("v"):
        raise _wrong(path, "version", "is not the version in the file's name")
    entries = _entries(path, body.pop("files", None))
    if not entries:
        raise _wrong(path, "files", "lists no file")
    try:
        return SemverManifest.model_validate({"version": version, "files": tuple(entries), "other": body})
    except ValidationError as error:
        raise _wrong(path, *complaint(error, SemverManifest)) from None


def _entries(path: str, listed: JsonValue) -> list[dict[str, Any]]:
    """Both spellings of ``files``: a mapping by name, or a list whose entries name themselves."""
    if isinstance(listed, dict):
        named = [(name, entry) for name, entry in listed.items()]
        return [_entry(path, index, entry, name=name) for index, (name, entry) in enumerate(named)]
    if isinstance(listed, list):
        return [_entry(path, index, entry, name=None) for index, entry in enumerate(listed)]
    raise _wrong(path, "files", "must be a list of files, or a mapping of their names")


def _entry(path: str, index: int, entry: JsonValue, *, name: str | None) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise _wrong(path, f"files.{index}", "must be a mapping with sha256 and row_count")
    body: dict[str, Any] = {key: value for key, value in entry.items() if key not in _NAMES}
    names = [entry[key] for key in _NAMES if key in entry] + ([name] if name is not None else [])
    plain = {_beside(found) if isinstance(found, str) else None for found in names}
    if len(plain) != 1 or None in plain:
        raise _wrong(path, f"files.{index}", f"must name one file, under one of {', '.join(_NAMES)}")
    return body | {"name": plain.pop()}


def _beside(name: str) -> str:
    return name.rpartition("/")[2] if name.startswith("s3://") else name


def _files(folder: Path, path: Path, manifest: SemverManifest) -> list[SemverFile]:
    found = []
    for index, entry in enumerate(manifest.files):
        where = f"{path}:files.{index}"
        if not entry.name.endswith(FORMATS):
            raise PeError(Kind.INPUT, "is not a kind of file that is read", where=where, hint=f"use {', '.join(FORMATS)}")
        place = plain_path(folder, entry.name, where=where)
        if not place.is_file():
            raise PeError(Kind.INPUT, "is not a file", where=where, hint="name a file beside the manifest")
        found.append(SemverFile(path=place, entry=entry))
    names = [entry.name for entry in manifest.files]
    if len(set(names)) < len(names):
        raise _wrong(str(path), "files", "lists a file twice")
    return found


def _wrong(path: str, field: str, message: str) -> PeError:
    return PeError(Kind.INPUT, message, where=f"{path}:{field}" if field else path, hint="fix the export's manifest")
