"""How two dataset versions differ, row by row, from one column at a time of their sealed shards.

A row of one version is a row of the other if the digest is the same, copy for copy. Of the rest, rows that alone have the same content
in both were *changed* in their metadata, roles or order, and rows that alone have a source key in both were *reworded*; what is left was
added or removed. Rows that went to another split are said apart: a model trained on one version and tested on the other may know the
answers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pe_training.core.records import Frozen
from pe_training.datasets.complaints import shown
from pe_training.datasets.read import read_columns
from pe_training.datasets.record import DatasetVersion
from pe_training.storage.state import State

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("row_digest", "content_hash", "source_key", "split", "family", "license_tag", "labels")


class Cell(Frozen):
    """Rows of one family in one split; a changed row counts where it is afterwards."""

    split: str
    family: str
    same: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    reworded: int = 0


class Move(Frozen):
    """Rows that are in both versions and stand elsewhere now."""

    before: str
    after: str
    rows: int


class Shift(Frozen):
    """A number before and after; ``None`` where a version has none."""

    name: str
    before: float | None
    after: float | None


class DatasetDiff(Frozen):
    """What lies between two versions."""

    before: str
    after: str
    same: bool  # the same rows in the same splits
    cells: tuple[Cell, ...]
    moved: tuple[Move, ...]  # between splits, those out of training first
    relicensed: tuple[Move, ...]
    labels: tuple[Shift, ...]  # share of a value among the rows that have the label, in percent, largest shift first
    lengths: tuple[Shift, ...]  # mean words and turns

    def total(self, kind: str) -> int:
        """Rows that were ``same``, ``added``, ``removed``, ``changed`` or ``reworded``."""
        return sum(getattr(cell, kind) for cell in self.cells)


def compare(before: DatasetVersion, after: DatasetVersion, *, state: State) -> DatasetDiff:
    """Compare two versions. Raises corrupt for damaged shards. Reads no message; some hundred bytes of memory a row."""
    old, new = (_rows(dataset, state=state) for dataset in (before, after))
    same = new[new.row_digest.isin(old.row_digest)]
    left, right = old[~old.row_digest.isin(new.row_digest)], new[~new.row_digest.isin(old.row_digest)]
    left, right, changed = _paired(left, right, by="content_hash")
    removed, added, reworded = _paired(left, right, by="source_key")
    kinds = {"same": same, "added": added, "removed": removed, "changed": changed, "reworded": reworded}
    moved = _moves([changed, reworded], "split")
    return DatasetDiff(
        before=before.id,
        after=after.id,
        same=len(same) == len(old) == len(new),
        cells=tuple(_cells(kinds)),
        moved=tuple(sorted(moved, key=lambda move: (move.before != "train", move.after != "train", move.before, move.after))),
        relicensed=tuple(_moves([changed, reworded], "license_tag")),
        labels=tuple(_label_shifts(_label_counts(old), _label_counts(new))),
        lengths=tuple(_length_shifts(before, after)),
    )


def _rows(dataset: DatasetVersion, *, state: State) -> pd.DataFrame:
    """The columns. A row that stands there again, which a waiver may allow, has another digest: two copies are not the same as one."""
    rows: pd.DataFrame = read_columns(dataset, COLUMNS, state=state).to_pandas()
    again = rows.row_digest.duplicated()
    if again.any():
        copies = rows.groupby("row_digest").cumcount()[again]
        rows.loc[again, "row_digest"] += "#" + copies.astype(str)
    return rows


def _paired(left: pd.DataFrame, right: pd.DataFrame, *, by: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """What is left of both, and the pairs: rows that alone have a value in both. Of several it is not known which became which."""
    one, other = (rows[~rows[by].duplicated(keep=False)] for rows in (left, right))
    pairs = one.merge(other, on=by, suffixes=("_old", ""))
    return left[~left[by].isin(pairs[by])], right[~right[by].isin(pairs[by])], pairs


def _cells(kinds: dict[str, pd.DataFrame]) -> Iterable[Cell]:
    counts = {kind: Counter(zip(rows.split, map(shown, rows.family), strict=True)) for kind, rows in kinds.items()}
    places = sorted({place for found in counts.values() for place in found})
    return (Cell(split=split, family=family, **{kind: counts[kind][split, family] for kind in kinds}) for split, family in places)


def _moves(pairs: Iterable[pd.DataFrame], column: str) -> list[Move]:
    counts: Counter[tuple[str, str]] = Counter()
    for rows in pairs:
        counts.update(zip(rows[f"{column}_old"], rows[column], strict=True))
    return [Move(before=was, after=now, rows=count) for (was, now), count in sorted(counts.items()) if was != now]


def _label_counts(rows: pd.DataFrame) -> Counter[tuple[str, str]]:
    """How many rows say what of which label. Equal texts are parsed once."""
    counts: Counter[tuple[str, str]] = Counter()
    for text, count in rows.labels.value_counts().items():
        for label, value in json.loads(str(text)).items():
            if isinstance(value, str):
                counts[shown(label), shown(value)] += count
    return counts


def _label_shifts(old: Counter[tuple[str, str]], new: Counter[tuple[str, str]]) -> list[Shift]:
    totals: list[Counter[str]] = [Counter(), Counter()]
    for total, counts in zip(totals, (old, new), strict=True):
        for (label, _), count in counts.items():
            total[label] += count
    shifts = [
        Shift(
            name=f"{label} = {value}",
            before=_percent(old[label, value], totals[0][label]),
            after=_percent(new[label, value], totals[1][label]),
        )
        for label, value in sorted({*old, *new})
    ]
    changed = [shift for shift in shifts if shift.before != shift.after]
    return sorted(changed, key=lambda shift: -abs((shift.after or 0) - (shift.before or 0)))


def _percent(count: int, total: int) -> float | None:
    return round(100 * count / total, 3) if total else None


def _length_shifts(before: DatasetVersion, after: DatasetVersion) -> Iterable[Shift]:
    for name in ("words", "turns"):
        was, now = (getattr(dataset.statistics, name) if dataset.statistics else None for dataset in (before, after))
        yield Shift(name=f"mean {name} a dialogue", before=was, after=now)
