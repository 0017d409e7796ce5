"""What a consumer may serve: the answer of a stage or a role, and the same as one small file beside the artifacts.

Bytes, facts, pointers: the registry moves first, the file follows from the row and is written under the row's lock, so that no slower
writer puts an older answer over a newer one. A crash between the two leaves the older file until the next call or the watch heals it.
Nobody has to believe the file: it names version and digests, and ``pe resolve`` asks the registry.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from upath import UPath

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.core.records import Attachment
from pe_training.datasets.gate import require_untainted
from pe_training.promotion.earned import require_earned
from pe_training.promotion.pointers import Place, Pointer, known_place, pointer_in
from pe_training.storage.durable import write_durably
from pe_training.storage.registry import parse_record
from pe_training.storage.state import State
from pe_training.storage.stores import OPTIONS, store_errors
from pe_training.storage.tables import records
from pe_training.training.record import Checkpoint

FOLDER = "stages"


@dataclass(frozen=True, kw_only=True)
class Served:
    """What holds a place: the checkpoint whose files a consumer loads, by which decision, and how many moves there were before."""

    line: str
    place: Place
    version: int
    checkpoint: Checkpoint
    decision_id: str | None
    store: str

    def content(self) -> dict[str, Any]:
        """As JSON; ``url`` of each file is where its bytes lie in the artifact store."""
        checkpoint = self.checkpoint
        files = [file.content() | {"url": _object_url(self.store, file)} for file in checkpoint.files()]
        return {
            "line": self.line, "place": self.place, "version": self.version, "checkpoint": checkpoint.id, "decision": self.decision_id,
            "weights": checkpoint.weights, "task": checkpoint.task, "format": checkpoint.format, "base": checkpoint.base.content(),
            "files": files,
        }  # fmt: skip


def resolve_place(line: str, place: str, *, state: State) -> Served:
    """What may be served from a stage or a role now; the file beside the artifacts is healed where it says something else.

    Raises not_found where nothing holds it, refused where it was withdrawn or comes from recalled data, corrupt where it came by no move.
    """
    target = known_place(place)
    with state.registry.reading() as connection:
        held = pointer_in(connection, line, target)
    if held is None:
        raise PeError(Kind.NOT_FOUND, f"nothing holds {target} of {line}", where=line, hint="`pe stages` lists what holds which stage")
    if _published(state, line, target) != _body(held, state=state):
        publish_place(line, target, state=state)
    if held.withdrawn is not None:
        message = f"{target} of {line} was withdrawn: {held.withdrawn}"
        hint = f"nothing may be served from it until something else holds it; `pe stages --line {line}` shows its history"
        raise PeError(Kind.REFUSED, message, where=held.checkpoint_id, hint=hint)
    require_untainted(held.checkpoint_id, state=state, route="resolve")
    if target != "training":
        require_earned(held, state=state)
    return _served(held, state.registry.get(held.checkpoint_id, Checkpoint), state)


def publish_place(line: str, place: Place, *, state: State) -> str:
    """Write the file of a place from its row, which is locked meanwhile; returns its URL. Raises not_found where nothing ever held it."""
    path = place_file(state, line, place)
    with state.registry.writing() as connection:
        held = pointer_in(connection, line, place)
        if held is None:
            raise PeError(Kind.NOT_FOUND, f"nothing holds {place} of {line}", where=line, hint="`pe stages` lists what holds which stage")
        there = _published(state, line, place)
        if there is not None and there.get("version", 0) > held.version:
            message = f"the file of {place} of {line} is at version {there['version']}, the registry at {held.version}"
            hint = "the registry was restored from an older backup, or the file belongs to another one: remove the file once that is clear"
            raise PeError(Kind.CONFLICT, message, where=str(path), hint=hint)
        data = json.dumps(_body_in(connection, held, state=state), indent=1, sort_keys=True).encode() + b"\n"
        _write(path, data)
    return str(path)


def announced(pointer: Pointer, *, state: State) -> Pointer:
    """The pointer that was just moved, once its file says so. Raises infrastructure: moved all the same, and the file is late."""
    place = known_place(pointer.stage)
    if place == "training":
        return pointer  # a candidate is looked at, not served
    try:
        publish_place(pointer.line, place, state=state)
    except PeError as error:
        message = f"{place} of {pointer.line} moved, and the file that consumers read was not written: {error.message}"
        hint = f"`pe resolve {pointer.line} {place}` writes it; so does the watch"
        raise PeError(error.kind, message, where=error.where, hint=hint) from error
    return pointer


def place_file(state: State, line: str, place: Place) -> UPath:
    """Where the file of a place lies: ``stages/LINE/PLACE.json`` below the artifact store's URL."""
    url = state.settings.artifacts
    url = url.removeprefix("file://")  # so that it reads as a path
    root: UPath = UPath(url, **OPTIONS.get(url.partition("://")[0], {}))
    return root.joinpath(FOLDER, line, f"{place}.json")


def _published(state: State, line: str, place: Place) -> dict[str, Any] | None:
    """What the file says; ``None`` where there is none or it says nothing that can be read."""
    path = place_file(state, line, place)
    with store_errors(str(path), nothing="it was there a moment ago"):
        if not path.exists():
            return None
        data = path.read_bytes()
    try:
        found = json.loads(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _body(held: Pointer, *, state: State) -> dict[str, Any]:
    with state.registry.reading() as connection:
        return _body_in(connection, held, state=state)


def _body_in(connection: sa.Connection, held: Pointer, *, state: State) -> dict[str, Any]:
    if held.withdrawn is not None:
        return {"line": held.line, "place": held.stage, "version": held.version, "withdrawn": held.withdrawn}
    row = connection.execute(sa.select(records.c.body).where(records.c.id == held.checkpoint_id)).scalar()
    if row is None:
        message = f"{short(held.checkpoint_id)}, which holds {held.stage} of {held.line}, is not in the registry"
        raise PeError(Kind.CORRUPT, message, where=held.checkpoint_id, hint="restore the registry from a backup")
    return _served(held, parse_record(str(row), Checkpoint, where=held.checkpoint_id), state).content()


def _served(held: Pointer, checkpoint: Checkpoint, state: State) -> Served:
    return Served(
        line=held.line,
        place=known_place(held.stage),
        version=held.version,
        checkpoint=checkpoint,
        decision_id=held.decision_id,
        store=state.settings.artifacts,
    )


def _object_url(store: str, file: Attachment) -> str:
    name = file.digest.removeprefix("sha256:")
    return f"{store.rstrip('/')}/sha256/{name[:2]}/{name}"


def _write(path: UPath, data: bytes) -> None:
    if path.protocol in ("", "file", "local"):
        write_durably(Path(path.path), lambda file: file.write(data))
        return
    with store_errors(str(path), nothing="check PE_ARTIFACTS_URL"):
        path.write_bytes(data)  # object stores replace whole objects or nothing
