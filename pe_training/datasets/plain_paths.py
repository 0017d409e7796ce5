"""A path that somebody else's file names, below the folder that it may name files of.

The same rule as for the shards of a release: absolute paths, ``..``, symbolic links and odd spellings are refused before
anything is opened, so that a declaration cannot read any file of the machine.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from pe_training.core.errors import Kind, PeError


def plain_path(folder: Path, name: str, *, where: str) -> Path:
    """``folder / name``. Raises input where that leaves the folder or passes a link, not_found where nothing is there."""
    relative = PurePosixPath(name)
    hint = "name a file below this folder, with / between parts"
    if not name.isprintable() or "\\" in name or "://" in name:
        raise PeError(Kind.INPUT, "is not a plain path", where=where, hint=hint)
    if relative.is_absolute() or ".." in relative.parts or name != str(relative) or name == ".":
        raise PeError(Kind.INPUT, "leaves the folder or is not written plainly", where=where, hint=hint)
    path = folder
    for part in relative.parts:
        path = path / part
        if path.is_symlink():
            raise PeError(Kind.INPUT, "passes a symbolic link", where=where, hint="copy the file itself into the folder")
    if not path.exists():
        raise PeError(Kind.NOT_FOUND, "no such file", where=where, hint=f"{name} is not below {folder}")
    return path
