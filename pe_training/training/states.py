"""Resumable state, saved without pickle: tensors as safetensors, everything else as JSON in the same file's header.

Lightning's own writer leaves a torn file after a kill, loses the last good one on a full disk, and a pickle in a checkpoint
runs code on load. Here a state is one artifact under its digest, and a registry row points at it: bytes first, then facts.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from safetensors.torch import load, save

from pe_training.core.errors import Kind, PeError
from pe_training.storage import tables as t
from pe_training.storage.state import State

_TREE = "tree"


def pack(tree: Any) -> bytes:
    """A nested structure of tensors and plain values as safetensors bytes."""
    tensors: dict[str, torch.Tensor] = {}
    skeleton = _encode(tree, tensors)
    return save(tensors, metadata={_TREE: json.dumps(skeleton)})


def unpack(data: bytes) -> Any:
    """What :func:`pack` packed, on the CPU."""
    header_bytes = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_bytes])
    return _decode(json.loads(header["__metadata__"][_TREE]), load(data))


def _encode(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(node, torch.Tensor):
        name = f"t{len(tensors)}"
        tensors[name] = node.detach().cpu().clone().contiguous()
        return {"tensor": name}
    if isinstance(node, dict):
        return {"items": [[_encode(key, tensors), _encode(value, tensors)] for key, value in node.items()]}
    if isinstance(node, (list, tuple)):
        return {type(node).__name__ if type(node) in (list, tuple) else "list": [_encode(value, tensors) for value in node]}
    if node is None or isinstance(node, (bool, int, float, str)):
        return {"value": node}
    raise PeError(Kind.INFRASTRUCTURE, f"training state holds a {type(node).__name__}, which cannot be saved safely", hint="report this")


def _decode(node: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Any:
    ((kind, body),) = node.items()
    if kind == "tensor":
        return tensors[body]
    if kind == "items":
        return {_decode(key, tensors): _decode(value, tensors) for key, value in body}
    if kind == "value":
        return body
    values = [_decode(value, tensors) for value in body]
    return tuple(values) if kind == "tuple" else values


class StateStore(CheckpointIO):
    """Lightning's checkpoint seam over artifacts and registry. A path is a step: ``"40"``."""

    def __init__(self, run_id: str, *, keep_last: int, state: State) -> None:
        self._run_id, self._keep_last, self._state = run_id, keep_last, state

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Store a state, point at it, then forget states beyond the newest ``keep_last``."""
        digest = self._state.artifacts.put_bytes(pack(checkpoint))
        s = t.run_states
        with self._state.registry.writing() as connection:
            connection.execute(sa.delete(s).where(s.c.run_id == self._run_id, s.c.step == int(path)))
            connection.execute(sa.insert(s).values(run_id=self._run_id, step=int(path), digest=digest))
        self.forget(keep=self._keep_last)

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> dict[str, Any]:
        """The verified state of a step."""
        digest = dict(self.saved())[int(path)]
        return dict(unpack(self._state.artifacts.get(digest)))

    def remove_checkpoint(self, path: Any) -> None:
        """Unused: :meth:`forget` decides."""
        raise AssertionError(path)

    def saved(self) -> list[tuple[int, str]]:
        """``(step, digest)`` of every state kept, newest first."""
        s = t.run_states.c
        query = sa.select(s.step, s.digest).where(s.run_id == self._run_id).order_by(s.step.desc())
        with self._state.registry.reading() as connection:
            return [(int(row.step), str(row.digest)) for row in connection.execute(query)]

    def newest_intact(self) -> int | None:
        """Step of the newest state whose bytes are what they were; damaged ones are passed over."""
        for step, digest in self.saved():
            try:
                self._state.artifacts.verify(digest)
            except PeError as error:
                if error.kind is not Kind.CORRUPT:
                    raise
            else:
                return step
        return None

    def forget(self, *, keep: int) -> None:
        """Drop all but the newest ``keep`` states, pointers before bytes; bytes that a record also holds stay."""
        s, a = t.run_states, t.attachments
        for step, digest in self.saved()[keep:]:
            with self._state.registry.writing() as connection:
                connection.execute(sa.delete(s).where(s.c.run_id == self._run_id, s.c.step == step))
                needed = connection.execute(
                    sa.select(sa.exists().where(s.c.digest == digest) | sa.exists().where(a.c.digest == digest))
                ).scalar()
            if not needed:
                self._state.artifacts.delete(digest)
