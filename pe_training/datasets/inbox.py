"""Releases that wait to be accepted: those a manifest asks for, and those that a person hands over."""

from __future__ import annotations

from pathlib import Path

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.accept import find_release
from pe_training.datasets.catalog import ReleaseFolder, releases
from pe_training.datasets.release import read_head
from pe_training.settings import Settings
from pe_training.storage.durable import world_errors
from pe_training.storage.state import State


def waiting_release(state: State, *, name: str, version: str) -> ReleaseFolder | None:
    """The release folder that ``name`` and ``version`` mean and that has not been accepted; ``None`` if there is none.

    A newest release that was refused keeps waiting: training on the one before it without a word would be a guess.
    """
    named = [release for release in releases(state.settings) if release.name == name]
    wanted = named[-1:] if version == "latest" else [release for release in named if release.version == version]
    if not wanted:
        return None
    known = find_release(state, read_head(wanted[0].path).digest)
    return None if known is not None and known.outcome == "accepted" else wanted[0]


def hand_over(path: Path, settings: Settings) -> ReleaseFolder:
    """Make a release folder known under its own name and version, by a link in the inbox; returns it as found there."""
    head = read_head(path)
    release = ReleaseFolder(name=head.name, version=head.version, path=path.absolute())
    known = {(found.name, found.version): found for found in releases(settings)}.get((release.name, release.version))
    if known is not None and known.path.resolve() == release.path.resolve():
        return known
    link = settings.release_inbox / release.name / release.version
    with world_errors(link):
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink():
            link.unlink()
        elif link.exists():
            hint = "give the release a new version, or remove the older folder"
            raise PeError(Kind.CONFLICT, f"another release {release.name} {release.version} lies in the inbox", where=str(link), hint=hint)
        link.symlink_to(release.path.resolve(), target_is_directory=True)
    return release
