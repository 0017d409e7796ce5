"""A path that somebody else's file names, below the folder that it may name files of.

The same rule as for the shards of a release: absolute paths, ``..``, symbolic links and odd spellings are refused before
anything is opened, so that a declaration cannot read any file of the machine.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from pe_training.core.errors import Kind, PeError

_HINT = "name a file below this folder, with / between parts"


def plain_name(name: str, *, where: str) -> PurePosixPath:
    """``name`` as a place below some folder. Raises input where it leaves the folder or is oddly written."""
    relative = PurePosixPath(name)
    if not name.isprintable() or "\\" in name or "://" in name:
        raise PeError(Kind.INPUT, "is not a plain path", where=where, hint=_HINT)
    if relative.is_absolute() or ".." in relative.parts or name != str(relative) or name == ".":
        raise PeError(Kind.INPUT, "leaves the folder or is not written plainly", where=where, hint=_HINT)
    return relative


def plain_path(folder: Path, name: str, *, where: str) -> Path:
    """``folder / name``. Raises input where that leaves the folder or passes a link, not_found where nothing is there."""
    path = folder
    for part in plain_name(name, where=where).parts:
        path = path / part
        if path.is_symlink():
            raise PeError(Kind.INPUT, "passes a symbolic link", where=where, hint="copy the file itself into the folder")
    if not path.exists():
        raise PeError(Kind.NOT_FOUND, "no such file", where=where, hint=f"{name} is not below {folder}")
    return path
