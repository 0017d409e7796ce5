"""Which values that somebody recalls the rows of a version have, and the taint of a version that is accepted after a recall.

Families and licences stand in the version's record. Records and source keys are looked up in the sealed shards, one column at
a time; rows lie in the order of their digests, so that a look for one row reads one group of rows of one shard. A version that
comes after a recall is looked at too: otherwise a recalled dialogue would come back with the next release of its producer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Set
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pe_training.datasets.record import DatasetVersion
from pe_training.storage.artifacts import ArtifactStore
from pe_training.storage.state import State
from pe_training.storage.taints import Recall, holding_in, spread_in

_COLUMNS = {"record": ("row_digest", "content_hash"), "source_key": ("source_key",)}


def held(version: DatasetVersion, kind: str, values: Set[str], *, store: ArtifactStore) -> set[str]:
    """Which of ``values`` (see :class:`Recall` for their kinds) the version has. Raises corrupt for a damaged shard."""
    listed: dict[str, Iterable[str]] = {"version": [version.id], "family": version.families, "licence": version.licenses}
    if kind in listed:
        return {value for value in listed[kind] if value in values}
    found: set[str] = set()
    for shard in version.shards:
        if found != values:
            path = store.local_path(shard.digest)
            found.update(*(_in_column(path, column, values - found) for column in _COLUMNS[kind]))
    return found


def covering(version: DatasetVersion, recalls: Iterable[Recall], *, store: ArtifactStore) -> dict[int, bool]:
    """Number of each recall -> whether the version's rows fall under it."""
    wanted: dict[str, dict[int, str]] = {}
    for recall in recalls:
        wanted.setdefault(recall.kind, {})[recall.seq] = recall.value
    answers: dict[int, bool] = {}
    for kind, values in wanted.items():
        found = held(version, kind, set(values.values()), store=store)
        answers |= {seq: value in found for seq, value in values.items()}
    return answers


def recalls_over(version: DatasetVersion, *, state: State) -> dict[int, bool]:
    """As :func:`covering`, for all recalls that hold now."""
    with state.registry.reading() as connection:
        holding = holding_in(connection)
    return covering(version, holding, store=state.artifacts)


def taint_accepted_in(connection: sa.Connection, version: DatasetVersion, *, known: dict[int, bool], store: ArtifactStore) -> None:
    """Taint an accepted version by the recalls that hold and that it falls under.

    ``known``: the answer of :func:`recalls_over` from before the transaction, which so reads shards only for recalls made meanwhile.
    """
    holding = holding_in(connection)
    answers = known | covering(version, [recall for recall in holding if recall.seq not in known], store=store)
    for recall in holding:
        if answers[recall.seq]:
            spread_in(connection, recall.seq, [version.id])


def _in_column(path: Path, column: str, values: Set[str]) -> set[str]:
    """Which values a column of a sealed shard has. Groups of rows whose statistics rule them out are not read."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: set[str] = set()
    with pq.ParquetFile(path) as file:
        if column not in file.schema_arrow.names:  # sealed by an older version of this code
            said = (json.loads(text)[column] for text in file.read(columns=["metadata"])["metadata"].to_pylist())
            return {value for value in said if value in values}
        for number in range(file.num_row_groups):
            wanted = _possible(file.metadata.row_group(number), column, values)
            if wanted:
                rows = file.read_row_group(number, columns=[column])[column]
                found |= set(rows.filter(pc.is_in(rows, pa.array(sorted(wanted)))).to_pylist())
    return found


def _possible(group: Any, column: str, values: Set[str]) -> set[str]:
    """The values that a group of rows may have, by its statistics."""
    statistics = next(group.column(i).statistics for i in range(group.num_columns) if group.column(i).path_in_schema == column)
    if statistics is None or not statistics.has_min_max:
        return set(values)
    lowest, highest = statistics.min, statistics.max
    return {value for value in values if lowest <= value <= highest}
