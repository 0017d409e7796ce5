"""Which releases lie in the folders that settings name: ``<folder>/<dataset name>/<version>/manifest.json``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pe_training.core.config import suggest
from pe_training.core.errors import Kind, PeError
from pe_training.datasets.release_manifest import MANIFEST
from pe_training.settings import Settings

_SEPARATOR = "@"


@dataclass(frozen=True, kw_only=True)
class ReleaseFolder:
    """A release by its place; nothing in it has been read."""

    name: str
    version: str
    path: Path


def releases_in(folder: Path) -> list[ReleaseFolder]:
    """Releases below one folder, by name, newest version last. A folder that is not there has none."""
    found = (
        ReleaseFolder(name=path.parent.parent.name, version=path.parent.name, path=path.parent) for path in folder.glob(f"*/*/{MANIFEST}")
    )
    return sorted(found, key=lambda release: (release.name, age(release.version)))


def releases(settings: Settings) -> list[ReleaseFolder]:
    """Releases below all folders; of two with one name and version the later folder's counts."""
    found = {(r.name, r.version): r for folder in settings.release_folders for r in releases_in(folder)}
    return sorted(found.values(), key=lambda release: (release.name, age(release.version)))


def find_release_folder(settings: Settings, *, name: str, version: str = "latest") -> ReleaseFolder:
    """The release of that name and version. Raises not_found with the closest name."""
    known = releases(settings)
    named = [release for release in known if release.name == name]
    if not named:
        folders = ", ".join(str(folder) for folder in settings.release_folders)
        raise PeError(Kind.NOT_FOUND, f"no release of {name!r} in {folders}", hint=suggest(name, (r.name for r in known)))
    if version == "latest":
        return named[-1]
    return _only(version, named, what=f"no version {version!r} of {name!r}")


def partition_key(release: ReleaseFolder) -> str:
    """``name@version``: what Dagster calls the release."""
    return key_of(release.name, release.version)


def key_of(name: str, version: str) -> str:
    """The partition key of a release by its name and version."""
    return f"{name}{_SEPARATOR}{version}"


def find_by_partition(settings: Settings, key: str) -> Path:
    """The folder that a partition key stands for. Raises not_found."""
    name, _, version = key.partition(_SEPARATOR)
    return find_release_folder(settings, name=name, version=version).path


def _only(version: str, named: Iterable[ReleaseFolder], *, what: str) -> ReleaseFolder:
    by_version = {release.version: release for release in named}
    if version not in by_version:
        raise PeError(Kind.NOT_FOUND, what, hint=suggest(version, by_version))
    return by_version[version]


def age(version: str) -> list[tuple[int, str]]:
    """What versions are sorted by: v1.10.0 is newer than v1.9.0, and v2026-11-23 than v2026-02-01."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", version)]
