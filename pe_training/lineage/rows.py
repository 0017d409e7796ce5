"""The end of the chain: which rows of which shards a checkpoint saw, and where a single row lies and went. Counts and names, never a text.

Nobody writes down what each step saw, because it follows from the recipe: the order of rows is a pure function of seed and step. So the
order is made again here, with the windows left out that rollbacks passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.datasets.read import SealedRow, read_rows
from pe_training.datasets.record import DatasetVersion, Shard
from pe_training.manifests.schema import Manifest
from pe_training.storage.state import State
from pe_training.training.events import rollbacks
from pe_training.training.identity import training_code
from pe_training.training.record import Checkpoint, TrainingRun
from pe_training.training.reproduction import manifest_of

TOLD = ("split", "family", "license_tag", "phase", "source_key", "content_hash")  # columns that hold no word of a dialogue


@dataclass(frozen=True, kw_only=True)
class RowSeen:
    """A training row, and how often it was seen."""

    shard: str
    row_digest: str
    times: int


@dataclass(frozen=True, kw_only=True)
class ShardSeen:
    """A shard of the training split."""

    path: str
    digest: str
    rows: int
    seen: int  # rows that were seen at least once
    times: int  # looks at them, all together


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a checkpoint's own run saw up to the step of its weights. What its ``parent`` saw is the parent's to tell."""

    checkpoint_id: str
    dataset_id: str
    parent: str | None
    steps: int
    same_code: bool  # False: the run was trained with other code than that which made the order again here
    left_out: int  # training rows that do not fit and were never to be seen
    shards: tuple[ShardSeen, ...]
    rows: tuple[RowSeen, ...]


@dataclass(frozen=True, kw_only=True)
class RowPlace:
    """Where a row lies in a version."""

    dataset_id: str
    row_digest: str
    shard: str
    number: int  # of the row in its shard, from 1
    told: dict[str, str]


def rows_seen(checkpoint_id: str, *, state: State) -> Seen:
    """Make the order of a checkpoint's run again. Raises refused where its manifest was not noted, and what loading a tokenizer raises."""
    from pe_training.training.base import load_tokenizer
    from pe_training.training.data import label_names, prepare
    from pe_training.training.loader import Skip

    checkpoint = state.registry.get(checkpoint_id, Checkpoint)
    run = state.registry.get(checkpoint.run_id, TrainingRun)
    manifest = manifest_of(state, run.id)
    spec, dataset = manifest.spec, state.registry.get(run.dataset_id, DatasetVersion)
    tokenizer = load_tokenizer(spec.model, manifest.base, settings=state.settings)
    labels = label_names(dataset, spec.hyperparameters.label, state=state) if spec.hyperparameters.label else None
    data = prepare(spec, dataset, tokenizer=tokenizer, labels=labels, state=state)
    skips = [Skip(from_step=one["to_step"], steps=one["spike_step"] - one["to_step"]) for one in rollbacks(state, run.id)]
    size, times = spec.hyperparameters.batch_size, Counter[int]()
    for step in range(checkpoint.step):
        window = step + sum(skip.steps for skip in skips if step >= skip.from_step)
        times.update(row for rows in data.order.bins(window * size, size) for row in rows)
    every = read_rows(dataset, "train", state=state)
    used = [number for number, row in enumerate(every) if _fits(row, spec, tokenizer)]
    assert len(used) == data.used["train"]
    rows, shards = _by_shard(dataset, every, {used[row]: count for row, count in times.items()})
    return Seen(
        checkpoint_id=checkpoint.id, dataset_id=dataset.id, parent=spec.model.parent, steps=checkpoint.step,
        same_code=run.code == training_code(), left_out=data.left_out["train"], shards=tuple(shards), rows=tuple(rows),
    )  # fmt: skip


def find_row(dataset_id: str, text: str, *, state: State) -> RowPlace:
    """The row of a version whose digest begins with ``text``. Raises not_found, input where several do, corrupt."""
    dataset = state.registry.get(dataset_id, DatasetVersion)
    wanted = text if text.startswith("sha256:") else f"sha256:{text}"
    if len(wanted) < len("sha256:") + 6 or not set(wanted.removeprefix("sha256:")) <= set("0123456789abcdef"):
        raise PeError(Kind.INPUT, f"{text!r} is no row digest", hint="give sha256:... or at least six of its hexadecimal digits")
    found = [place for shard in dataset.shards for place in _in_shard(dataset.id, shard, wanted, state=state)]
    if len(found) == 1:
        return found[0]
    if found:
        raise PeError(Kind.INPUT, f"{text} stands for {len(found)} rows of {short(dataset.id)}", hint="give more digits")
    raise PeError(Kind.NOT_FOUND, f"no row {short(wanted)} in {short(dataset.id)}", hint="`pe impact sha256:...` looks in all versions")


def _in_shard(dataset_id: str, shard: Shard, wanted: str, *, state: State) -> list[RowPlace]:
    """Rows are sealed in the order of their digests, so that groups of rows whose statistics rule it out are not read."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path, upper = state.artifacts.local_path(shard.digest), wanted[:-1] + chr(ord(wanted[-1]) + 1)
    columns = [column for column in TOLD if column in pq.read_schema(path).names]
    table = pq.read_table(path, columns=["row_digest", *columns], filters=[("row_digest", ">=", wanted), ("row_digest", "<", upper)])
    if not table.num_rows:
        return []
    every = pq.read_table(path, columns=["row_digest"])["row_digest"]
    return [
        RowPlace(
            dataset_id=dataset_id, row_digest=row["row_digest"], shard=shard.path,
            number=int(pc.index(every, row["row_digest"]).as_py()) + 1, told={column: row[column] for column in columns},
        )
        for row in table.to_pylist()
    ]  # fmt: skip


def _fits(row: SealedRow, spec: Manifest, tokenizer: Any) -> bool:
    """Whether training could see the row at all, as ``training/data.py`` says."""
    from pe_training.training.pairs import encode_pair
    from pe_training.training.tokens import encode_dialogue

    length = spec.hyperparameters.max_length
    if spec.task == "preference":
        return bool(row.rejected) and encode_pair(tokenizer, row.messages, row.rejected or [], max_length=length) is not None
    return spec.hyperparameters.label is not None or encode_dialogue(tokenizer, row.messages, max_length=length) is not None


def _by_shard(dataset: DatasetVersion, every: Sequence[SealedRow], times: dict[int, int]) -> tuple[list[RowSeen], list[ShardSeen]]:
    rows: list[RowSeen] = []
    shards: list[ShardSeen] = []
    start = 0
    for shard in (shard for shard in dataset.shards if shard.split == "train"):
        numbers = range(start, start + shard.rows)
        own = [RowSeen(shard=shard.path, row_digest=every[n].row_digest, times=times[n]) for n in numbers if n in times]
        total = sum(row.times for row in own)
        shards.append(ShardSeen(path=shard.path, digest=shard.digest, rows=shard.rows, seen=len(own), times=total))
        rows += own
        start += shard.rows
    return rows, shards
