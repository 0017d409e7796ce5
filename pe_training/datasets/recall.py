"""What somebody may recall (a record, a source key, a family, a licence, a version), and which accepted versions hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import sqlalchemy as sa

from pe_training.core.config import suggest
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import is_digest, short
from pe_training.datasets.accept import resolve_version
from pe_training.datasets.recalled import held
from pe_training.datasets.record import DatasetVersion
from pe_training.storage import tables as t
from pe_training.storage.state import State

SelectorKind = Literal["record", "source_key", "family", "licence", "version"]
_PREFIXES = ("source_key", "family", "licence")
_FORMS = "ds_..., NAME@VERSION, sha256:..., source_key:..., family:... or licence:..."


@dataclass(frozen=True, kw_only=True)
class Selector:
    """What is recalled. ``value``: a row digest or content hash, a key, a family, a licence tag, or a whole ``ds_`` id."""

    kind: SelectorKind
    value: str

    def __str__(self) -> str:
        value = short(self.value) if self.kind in ("record", "version") else self.value
        return f"{self.kind.replace('_', ' ')} {value}"


def parse_selector(text: str, *, state: State) -> Selector:
    """What a person typed. Raises input, or not_found for a version that is not there."""
    prefix, colon, rest = text.partition(":")
    if colon and prefix in _PREFIXES and rest:
        kind = next(kind for kind in get_args(SelectorKind) if kind == prefix)
        return Selector(kind=kind, value=rest)
    if is_digest(text):
        return Selector(kind="record", value=text)
    if text.startswith("ds_"):
        return Selector(kind="version", value=state.registry.resolve(text))
    name, at, version = text.partition("@")
    if at and name and version and not colon:
        return Selector(kind="version", value=resolve_version(state, name=name, version=version).id)
    if prefix == "sha256":
        raise PeError(Kind.INPUT, "a digest has 64 hexadecimal digits", where=short(text), hint="give the whole row digest or content hash")
    raise PeError(Kind.INPUT, "this names nothing that can be recalled", where=text, hint=f"write {_FORMS}")


def holders(selector: Selector, *, state: State) -> tuple[str, ...]:
    """Ids of the accepted versions that hold it, sorted. Raises not_found where none does, corrupt for a damaged shard."""
    if selector.kind == "version":
        return (state.registry.get(selector.value, DatasetVersion).id,)
    versions = [state.registry.get(identifier, DatasetVersion) for identifier in _accepted(state)]
    found = sorted(version.id for version in versions if held(version, selector.kind, {selector.value}, store=state.artifacts))
    if not found:
        raise PeError(Kind.NOT_FOUND, f"no accepted version holds {selector}", hint=_hint(selector, versions))
    return tuple(found)


def _accepted(state: State) -> list[str]:
    r = t.releases.c
    with state.registry.reading() as connection:
        query = sa.select(r.dataset_id).where(r.outcome == "accepted", r.dataset_id.is_not(None)).distinct()
        return [str(found) for found in connection.execute(query).scalars()]


def _hint(selector: Selector, versions: Sequence[DatasetVersion]) -> str:
    known = {
        "family": {family for version in versions for family in version.families},
        "licence": {tag for version in versions for tag in version.licenses},
    }.get(selector.kind)
    if known:
        return suggest(selector.value, sorted(known))
    return "nothing was recalled; `pe dataset ls` lists the versions that were searched"
