"""The rows of a semver export, which may hold them twice: as JSON Lines and as Parquet. Two copies must be the same rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pe_training.core.ids import digest_file
from pe_training.core.progress import Meter
from pe_training.datasets.intake.semver import SemverExport, SemverFile, digest_problems
from pe_training.datasets.intake.tally import Converted
from pe_training.datasets.parse import NotARowError, parse_row
from pe_training.datasets.report import Problem
from pe_training.datasets.rows import Row
from pe_training.datasets.shard_lines import UnreadableError, shard_lines


def export_digests(export: SemverExport) -> dict[str, str]:
    """Listed file -> ``sha256:`` digest of its bytes as they are now."""
    return {file.entry.name: digest_file(file.path) for file in export.files}


def read_export_rows(export: SemverExport) -> Iterator[Converted]:
    """Every row once, from the JSON Lines where there are any. Whatever is not as the manifest says is a problem of its file."""
    for problem in (*digest_problems(export), *_size_problems(export)):
        yield Converted(where=problem.where, outcome=problem, about="file")
    lines = [file for file in export.files if not file.is_parquet]
    tables = [file for file in export.files if file.is_parquet]
    main, copies = (lines, tables) if lines else (tables, [])
    meter = Meter("converting", sum(file.path.stat().st_size for file in export.files))
    of_main: Counter[bytes] = Counter()  # which rows a copy holds and how often, whatever their order
    of_copies: Counter[bytes] = Counter()
    for file in main:
        yield from _read(file, of_main, meter)
    for file in copies:
        yield from (item for item in _read(file, of_copies, meter) if item.about == "file")
    if copies:
        yield from _missing(of_main, of_copies, names=[file.entry.name for file in copies])
        yield from _missing(of_copies, of_main, names=[file.entry.name for file in main])


def _missing(there: Counter[bytes], here: Counter[bytes], *, names: list[str]) -> Iterator[Converted]:
    if missing := (there - here).total():
        message = f"lacks {missing:,} rows that the other copy of the export holds"
        yield _file_problem(", ".join(names), check="manifest_counts", field="", message=message)


def _read(file: SemverFile, seen: Counter[bytes], meter: Meter) -> Iterator[Converted]:
    rows = 0
    try:
        for number, line in shard_lines(file.path):
            rows += 1
            meter.add(len(line))
            where = f"{file.entry.name}:{number}"
            yield Converted(where=where, outcome=_row(line, seen, where=where))
    except UnreadableError as error:
        yield _file_problem(f"{file.entry.name}:{error.number}", check="schema", field="", message=error.message)
    if rows != file.entry.row_count:
        message = f"the manifest says {file.entry.row_count:,}, the file has {rows:,}"
        yield _file_problem(file.entry.name, check="manifest_counts", field="row_count", message=message)


def _size_problems(export: SemverExport) -> Iterator[Problem]:
    for file in export.files:
        size_bytes = file.path.stat().st_size
        if file.entry.size_bytes not in (None, size_bytes):
            message = f"the manifest says {file.entry.size_bytes:,}, the file has {size_bytes:,}"
            yield Problem(check="shard_digests", where=file.entry.name, field="size_bytes", message=message)


def _row(line: bytes, seen: Counter[bytes], *, where: str) -> Row | Problem:
    """The row, whose digest is then ``seen``, or what is wrong with it."""
    try:
        seen[parse_row(line).digest] += 1
    except NotARowError as error:
        return Problem(check="schema", where=where, field=error.field, message=error.message)
    return Row.model_validate_json(line)


def _file_problem(where: str, *, check: str, field: str, message: str) -> Converted:
    return Converted(where=where, outcome=Problem(check=check, where=where, field=field, message=message), about="file")
