"""The files of a source as a stream of rows, each with its place or with what is wrong there. One record is in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import from_json, to_json

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_file
from pe_training.core.progress import Meter
from pe_training.datasets.complaints import RepeatedKeyError, may_repeat_keys, refuse_repeated_keys
from pe_training.datasets.intake.formats import Dropped, convert
from pe_training.datasets.intake.hf_folder import arrow_files, arrow_lines, folder_digest, is_hf_folder
from pe_training.datasets.intake.plain_paths import plain_path
from pe_training.datasets.intake.record_fields import FormatError
from pe_training.datasets.intake.source import Source, SourceFile
from pe_training.datasets.intake.tally import Converted
from pe_training.datasets.release_manifest import FORMATS
from pe_training.datasets.report import Problem
from pe_training.datasets.rows import Row
from pe_training.datasets.shard_lines import UnreadableError, shard_lines


def read_source_rows(path: Path, source: Source) -> Iterator[Converted]:
    """Every record of a source's files in their order. ``path`` is the folder that they lie in, or the one file or saved folder.

    A record that does not fit is a :class:`Problem` of the check ``schema``; a file with another digest or number of rows than declared
    is one of ``shard_digests`` or ``manifest_counts``. Raises input or not_found, before the first record, where a path cannot be used.
    """
    files = [_listed(path, file, source) for file in source.files]
    meter = Meter("converting", sum(part.path.stat().st_size for listed in files for part in listed.parts))
    return (item for listed in files for item in _file_rows(listed, source, meter))


def source_digests(path: Path, source: Source) -> dict[str, str]:
    """File of a source -> ``sha256:`` digest of its bytes as they are now. Raises as :func:`read_source_rows` does."""
    return {file.path: _listed(path, file, source).digest() for file in source.files}


@dataclass(frozen=True, kw_only=True)
class _Part:
    name: str
    path: Path
    split: str | None
    lines: Callable[[Path], Iterator[tuple[int, bytes]]]


@dataclass(frozen=True, kw_only=True)
class _Listed:
    entry: SourceFile
    place: Path
    parts: tuple[_Part, ...]  # of a saved folder its Arrow files, otherwise the file itself

    def digest(self) -> str:
        return digest_file(self.place) if self.place.is_file() else folder_digest(self.place)


def _listed(path: Path, file: SourceFile, source: Source) -> _Listed:
    place = _place(path, file, source)
    if place.is_file():
        return _Listed(entry=file, place=place, parts=(_Part(name=file.path, path=place, split=None, lines=shard_lines),))
    saved = arrow_files(place)
    parts = tuple(_Part(name=f"{file.path}/{arrow.name}", path=arrow.path, split=arrow.split, lines=arrow_lines) for arrow in saved)
    return _Listed(entry=file, place=place, parts=parts)


def _place(path: Path, file: SourceFile, source: Source) -> Path:
    if not path.exists():
        raise PeError(Kind.NOT_FOUND, "no such folder", where=str(path), hint="give the folder that the source's files lie in")
    whole = path.is_file() or is_hf_folder(path)
    if whole and (len(source.files) > 1 or file.path != path.absolute().name):
        raise PeError(
            Kind.INPUT, "is not the one file of the source", where=str(path), hint="give the folder that the source's files lie in"
        )
    where = f"{source.name}:files.{source.files.index(file)}.path"
    place = path if whole else plain_path(path, file.path, where=where)
    if not is_hf_folder(place) and not (place.is_file() and place.name.endswith(FORMATS)):
        hint = f"use {', '.join(FORMATS)}, or a folder that save_to_disk wrote"
        raise PeError(Kind.INPUT, "is not a kind of file that is read", where=where, hint=hint)
    return place


def _file_rows(listed: _Listed, source: Source, meter: Meter) -> Iterator[Converted]:
    file = listed.entry
    if file.sha256 is not None and listed.digest() != f"sha256:{file.sha256}":
        yield _file_problem(file.path, check="shard_digests", field="sha256", message="is not the declared digest")
    rows, own = 0, source.of(file)
    for part in listed.parts:
        try:
            for number, line in part.lines(part.path):
                rows += 1
                meter.add(len(line))
                where = f"{part.name}:{number}"
                yield Converted(where=where, outcome=_outcome(line, own, where=where, stated_split=part.split))
        except UnreadableError as error:
            yield _file_problem(f"{part.name}:{error.number}", check="schema", field="", message=error.message)
    if file.rows is not None and rows != file.rows:
        message = f"declares {file.rows:,} rows and has {rows:,}"
        yield _file_problem(file.path, check="manifest_counts", field="rows", message=message)


def _outcome(line: bytes, source: Source, *, where: str, stated_split: str | None) -> Row | Dropped | Problem:
    try:
        record = from_json(line, allow_inf_nan=False)
        if may_repeat_keys(line, written=to_json(record)):
            refuse_repeated_keys(line)
    except RepeatedKeyError as error:
        return Problem(check="schema", where=where, field="", message=str(error))
    except ValueError:
        return Problem(check="schema", where=where, field="", message="is not valid JSON")
    if not isinstance(record, dict):
        return Problem(check="schema", where=where, field="", message="must be a JSON object")
    try:
        return convert(record, source, where=where, stated_split=stated_split)
    except FormatError as error:
        message = f"{error.message}; {error.hint}" if error.hint else error.message
        return Problem(check="schema", where=where, field=error.field, message=message)


def _file_problem(where: str, *, check: str, field: str, message: str) -> Converted:
    return Converted(where=where, outcome=Problem(check=check, where=where, field=field, message=message), about="file")
