"""Whatever somebody hands over, as a release folder: the one shape that acceptance, partitions and the sensor know.

A release folder is used as it is. Files in another shape are converted and what lies at a URL is fetched, each once, below the folder
that state lives in. Nothing is guessed: a file that is not a release says its shape by a flag or in a declaration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.intake.convert import convert_export, convert_source
from pe_training.datasets.intake.fetch import DECLARATIONS, fetch
from pe_training.datasets.intake.hf_folder import is_hf_folder
from pe_training.datasets.intake.semver import read_semver_export, semver_versions, version_in
from pe_training.datasets.intake.source import load_source, source_for
from pe_training.datasets.release import NAME
from pe_training.datasets.release_manifest import FORMATS, MANIFEST

_SAYS_ALL = "leave the flags out"


def bring(given: str, *, into: Path, flags: Mapping[str, Any] | None = None) -> Path:
    """The release folder that ``given`` is or becomes; copies and conversions go below ``into``.

    ``given``: path or fsspec URL of a release folder, a semver export or its manifest, a declaration (YAML), or a data file or a folder
    that ``save_to_disk`` wrote. ``flags``: fields of a :class:`Source`, for the last two; name and version also for an export;
    ``data``, the folder of a declaration's files where they do not lie beside it.
    Raises refused where records do not fit what was declared or copies differ, input, not_found, busy, infrastructure.
    """
    said = {key: value for key, value in (flags or {}).items() if value is not None}
    data = said.pop("data", None)
    path = _local(given, into=into, version=said.get("version"))
    if data and not path.name.endswith(DECLARATIONS):
        raise PeError(Kind.INPUT, "is no declaration, whose files --data would name the folder of", where=given, hint="leave --data out")
    if path.name == MANIFEST and path.is_file():
        path = path.parent
    if (path / MANIFEST).is_file():
        _refuse_flags(said, allowed=(), where=given, message="is a release, whose manifest and rows say everything")
        return path
    if path.name.endswith(DECLARATIONS) and path.is_file():
        _refuse_flags(said, allowed=(), where=given, message="is a declaration, which says everything")
        return convert_source(Path(data or path.parent).absolute(), load_source(path), into=into)
    if is_hf_folder(path) or (path.is_file() and path.name.endswith(FORMATS)):
        return _declared(path, said, into=into)
    return _export(path, said, where=given, into=into)


def _local(given: str, *, into: Path, version: str | None) -> Path:
    if "://" not in given:
        path = Path(given)
    elif given.startswith("file://"):
        parts = urlsplit(given)
        if parts.netloc not in ("", "localhost"):
            raise PeError(Kind.INPUT, "names another machine", where=given, hint="write a path, or file:// and a path that begins with /")
        path = Path(unquote(parts.path))
    else:
        path = fetch(given, into=into, version=version)
    if not path.exists():
        raise PeError(Kind.NOT_FOUND, "no such file or folder", where=given, hint=f"a release is a folder with {MANIFEST}")
    return path


def _declared(path: Path, said: dict[str, Any], *, into: Path) -> Path:
    if "format" not in said:
        hint = "say it with --format (chat, sharegpt, alpaca, prompt_response, question_answer, conversation, preference, labelled_text)"
        raise PeError(Kind.INPUT, "the shape of its records is not declared", where=str(path), hint=f"{hint}, or write a declaration")
    return convert_source(path, source_for(path, **said), into=into)


def _export(path: Path, said: dict[str, Any], *, where: str, into: Path) -> Path:
    stated = version_in(path.name) if path.is_file() else None
    version = stated or said.get("version")
    folder = path.parent if stated else path
    if not (version or semver_versions(folder)) or not folder.is_dir():
        hint = (
            f"give a folder with {MANIFEST}, a declaration ({DECLARATIONS[0]}), a folder that save_to_disk wrote, or {', '.join(FORMATS)}"
        )
        raise PeError(Kind.INPUT, f"no {MANIFEST} here, and nothing else that is read", where=str(path), hint=hint)
    _refuse_flags(said, allowed=("name", "version"), where=where, message="is a semver export, whose rows say the rest")
    if stated and said.get("version", stated) not in (stated, stated.removeprefix("v")):
        raise PeError(Kind.INPUT, f"is the manifest of {stated}: version {said['version']} was given", where=where, hint=_SAYS_ALL)
    export = read_semver_export(folder, version=version)
    title = export.manifest.other.get("dataset_name")
    name = said.get("name") or (title if isinstance(title, str) else folder.absolute().name.lower().replace("_", "-"))
    if not re.match(NAME, name):
        hint = "give a name with --name: lower-case letters, digits, hyphens"
        raise PeError(Kind.INPUT, "the export does not say the name of its dataset", where=str(export.manifest_path), hint=hint)
    return convert_export(export, name=name, into=into)


def _refuse_flags(said: Mapping[str, Any], *, allowed: tuple[str, ...], where: str, message: str) -> None:
    for field in said:
        if field not in allowed:
            raise PeError(Kind.INPUT, f"{message}: {field} was given as well", where=where, hint=_SAYS_ALL)
