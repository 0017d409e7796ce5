"""Two records of one kind side by side, field by field, from their stored content alone.

Elements of lists are compared by what they are about (a rule by its id, a measure by suite, name and slice, a file by its path) and not by
their place, so that one more rule is one difference. An estimate is one value: its interval belongs to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import KINDS, kind_of, short
from pe_training.core.records import Frozen, Record
from pe_training.lineage.verify import MODELS
from pe_training.storage.state import State

LISTS = ("outcomes", "metrics")  # whose elements have titles or units
NAMED_BY = (("rule",), ("suite", "name", "slice"), ("path",), ("judge", "label"), ("label",), ("name",), ("id",))  # first that fits
NOTHING: tuple[Any, ...] = (None, [], {})  # beside something that has parts: each of them was added or removed
ESTIMATE = {"value", "low", "high", "method"}  # what every estimate and comparison has


class Difference(Frozen):
    """A field that differs. ``None``: the record has no such field."""

    field: tuple[str, ...]  # the way to it, outermost first
    before: Any = None
    after: Any = None


class RecordDiff(Frozen):
    """What lies between two records."""

    kind: str
    before: str
    after: str
    same: bool
    differences: tuple[Difference, ...]
    titles: dict[str, str]  # of rules, for people
    units: dict[str, str]  # of rules and measures


def compare_records(state: State, before: str, after: str) -> RecordDiff:
    """Compare two records by their whole ids. Raises input where they are of different kinds, not_found, corrupt."""
    if kind_of(before) != kind_of(after):
        one, other = (f"{short(found)} is a {KINDS[kind_of(found)]}" for found in (before, after))
        raise PeError(Kind.INPUT, f"{one}, {other}: they have no fields in common", hint="give two records of one kind")
    model: type[Record] = MODELS[kind_of(before)]
    left, right = (state.registry.get(found, model).content() for found in (before, after))
    differences = tuple(_differences(left, right))
    rules, measures = ({name: one for side in (left, right) for name, one in _named(side.get(of, ())).items()} for of in LISTS)
    return RecordDiff(
        kind=model.kind, before=before, after=after, same=not differences, differences=differences,
        titles={name: str(one["title"]) for name, one in rules.items() if "title" in one},
        units={name: str(one["unit"]) for name, one in (rules | measures).items() if "unit" in one},
    )  # fmt: skip


def _differences(before: Any, after: Any, way: tuple[str, ...] = ()) -> Iterator[Difference]:
    left, right = _parts(before), _parts(after)
    left, right = ({} if one in NOTHING and other else found for one, other, found in ((before, right, left), (after, left, right)))
    if left is None or right is None:
        if before != after:
            yield Difference(field=way, before=before, after=after)
        return
    for name in dict.fromkeys([*left, *right]):
        yield from _differences(left.get(name), right.get(name), (*way, name))


def _parts(value: Any) -> dict[str, Any] | None:
    """What a value is made of, by name; ``None`` for what is compared as a whole."""
    if isinstance(value, Mapping):
        return None if value.keys() >= ESTIMATE else dict(value)
    if isinstance(value, list | tuple) and value and all(isinstance(one, Mapping) for one in value):
        return _named(value)
    return None


def _named(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    for keys in NAMED_BY:
        names = [" ".join(str(value[key]) for key in keys) if all(key in value for key in keys) else None for value in values]
        if None not in names and len(set(names)) == len(names):
            return dict(zip(map(str, names), values, strict=True))
    return {str(number): value for number, value in enumerate(values, start=1)}
