"""The rows of one shard as JSON text with their numbers, whatever the file's format. A stream: one row is in memory at a time."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydantic_core import PydanticSerializationError, to_json

MAX_ROW_BYTES = 16 << 20  # a longer line is not a dialogue; it would be a decompression bomb's way in
MAX_BLANK_LINES = 10_000  # one after the other: a gigabyte of them packs into a megabyte
TOO_LONG = f"the row is longer than {MAX_ROW_BYTES >> 20} MiB; the rest of the file is not read"
_BATCH_ROWS = 100  # Parquet packs equal texts into one, so that a small file may hold rows beyond any memory


class UnreadableError(Exception):
    """The file cannot be read on from row ``number`` (1-based)."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number
        self.message = message


def shard_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """``(number, JSON)`` of every row; blank lines count but are no rows. Raises :class:`UnreadableError`."""
    if path.name.endswith(".parquet"):
        yield from _parquet_rows(path)
        return
    number = blank = 0
    with path.open("rb") as raw:
        file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.name.endswith(".gz") else raw
        try:
            while line := file.readline(MAX_ROW_BYTES + 1):
                number += 1
                if len(line) > MAX_ROW_BYTES:
                    raise UnreadableError(number, TOO_LONG)
                if line.strip():
                    yield number, line
                    blank = 0
                elif (blank := blank + 1) > MAX_BLANK_LINES:
                    raise UnreadableError(number, f"more than {MAX_BLANK_LINES:,} blank lines; the rest of the file is not read")
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise UnreadableError(number + 1, "the compressed file is damaged here; the rest of it is not read") from None


def _parquet_rows(path: Path) -> Iterator[tuple[int, bytes]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            if repeats(file.schema_arrow):
                raise UnreadableError(1, "a column of the Parquet file stands twice")
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for row in batch.to_pylist(maps_as_pydicts="strict"):
                    number += 1
                    line = to_json(_without_nulls(row), inf_nan_mode="constants")  # NaN stays NaN, and is refused
                    if len(line) > MAX_ROW_BYTES:
                        raise UnreadableError(number, TOO_LONG)
                    yield number, line
    except (pa.ArrowException, PydanticSerializationError, OSError, ValueError, KeyError) as error:
        raise UnreadableError(number + 1, f"the Parquet file cannot be read ({type(error).__name__})") from None


def repeats(fields: Any) -> bool:
    """Whether a schema or a type of Arrow has two fields of one name side by side, of which a reader would see the last only."""
    import pyarrow as pa

    found = [fields.field(index) for index in range(len(fields) if isinstance(fields, pa.Schema) else fields.num_fields)]
    return len({field.name for field in found}) < len(found) or any(repeats(field.type) for field in found)


def _without_nulls(value: Any) -> Any:
    """Parquet has a null where JSON has no key."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
