"""Per-example results as Parquet: the evidence below the metrics, the same bytes for the same rows."""

from __future__ import annotations

import io
from collections.abc import Sequence

from pe_training.core.errors import Kind, PeError
from pe_training.evaluation.measures import Row


def to_parquet(rows: Sequence[Row]) -> bytes:
    """Rows as one Parquet file: columns sorted by name, rows in the given order, no clock and no host in the bytes.

    A column holds one type (whole numbers beside fractions become fractions); a value that is absent is null. The bytes are
    the same for the same pyarrow version, which is part of the evaluation code's digest.
    """
    import pyarrow as pa
    from pyarrow import parquet

    columns = sorted({name for row in rows for name in row})
    kinds = {name: _kind(name, rows) for name in columns}
    types = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, types[kinds[name]]) for name in columns])
    table = pa.table({name: [_cast(row.get(name), kinds[name]) for row in rows] for name in columns}, schema=schema)
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="zstd", compression_level=3, row_group_size=10_000, store_schema=False)
    return sink.getvalue()


def from_parquet(data: bytes) -> list[Row]:
    """What :func:`to_parquet` wrote. Raises corrupt where the bytes are no Parquet file."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return list(parquet.read_table(pa.BufferReader(data)).to_pylist())
    except (pa.ArrowInvalid, OSError):
        raise PeError(Kind.CORRUPT, "is not a Parquet file", where="predictions", hint="run `pe verify` on the report") from None


def _kind(name: str, rows: Sequence[Row]) -> type:
    found = {type(row[name]) for row in rows if row.get(name) is not None}
    if found == {int, float}:
        return float
    assert len(found) <= 1, f"column {name} mixes {sorted(kind.__name__ for kind in found)}"
    return found.pop() if found else str


def _cast(value: object, kind: type) -> object:
    return float(value) if kind is float and isinstance(value, int) else value
