"""A folder of releases in a store, as an inbox: ``<url>/<dataset name>/<version>/manifest.json``.

Listing asks for names only, one request a dataset, and looks into no version that is known. A release is fetched by the run that accepts
it, not by the sensor, so that gigabytes never stop a tick and a fetch that failed can be run again from the UI.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.catalog import age, find_by_partition, key_of, partition_key, releases, releases_in
from pe_training.datasets.inbox import hand_over
from pe_training.datasets.intake.fetch import fetch
from pe_training.datasets.intake.remote import Remote
from pe_training.datasets.release import NAME, VERSION, read_head
from pe_training.datasets.release_manifest import MANIFEST
from pe_training.settings import Settings


@dataclass(frozen=True, kw_only=True)
class NewReleases:
    """Partition keys of releases that nobody has seen, and why the bucket could not be looked into, if it could not."""

    keys: list[str]
    trouble: str | None = None


def new_releases_of(settings: Settings, *, known: Container[str]) -> NewReleases:
    """Releases in the watched folder and bucket whose keys are not ``known``. A store that does not answer is no error here."""
    found = [key for key in map(partition_key, releases_in(settings.release_inbox)) if key not in known]
    if not settings.releases_url:
        return NewReleases(keys=found)
    try:
        return NewReleases(keys=list(dict.fromkeys([*found, *new_in_bucket(settings.releases_url, known=known)])))
    except PeError as error:
        return NewReleases(keys=found, trouble=str(error))


def new_in_bucket(url: str, *, known: Container[str]) -> list[str]:
    """Keys of the releases at ``url`` that are not ``known``, of each dataset the oldest version first. Raises input or infrastructure."""
    remote = Remote.open(url)
    return [
        key
        for name in filter(NAME.match, remote.folders())
        for version in sorted(filter(VERSION.match, remote.folders(name)), key=age)
        if (key := key_of(name, version)) not in known and remote.look(f"{name}/{version}/{MANIFEST}")
    ]


def release_of_partition(settings: Settings, key: str) -> Path:
    """The folder of a release that lies in a watched folder, or that is fetched from the bucket into one. Raises not_found."""
    here = {partition_key(release) for release in releases(settings)}
    if key in here or not settings.releases_url:
        return find_by_partition(settings, key)
    name, _, version = key.partition("@")
    path = fetch(f"{settings.releases_url.rstrip('/')}/{name}/{version}", into=settings.root)
    head = read_head(path)
    if (head.name, head.version) != (name, version):
        message = f"the release calls itself {head.name} {head.version}, and lies under {name}/{version}"
        raise PeError(Kind.INPUT, message, where=key, hint="move it, or correct its manifest")
    return hand_over(path, settings).path
