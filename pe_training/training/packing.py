"""A training state as bytes without pickle: tensors as safetensors, everything else as JSON in the same file's header.

A pickle in a checkpoint runs code on load. A state is copied at once (training goes on changing the tensors) and turned into bytes later,
piece by piece, so that another thread can hash and write it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load

from pe_training.core.errors import Kind, PeError

_TREE = "tree"
_DTYPES = {  # as safetensors writes them
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


@dataclass(frozen=True)
class Snapshot:
    """A nested structure of tensors and plain values as it was at one moment, on the CPU."""

    skeleton: Any
    tensors: list[torch.Tensor]

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Its bytes: a safetensors file."""
        header: dict[str, Any] = {"__metadata__": {_TREE: json.dumps(self.skeleton)}}
        end = 0
        for number, tensor in enumerate(self.tensors):
            start, end = end, end + tensor.nbytes
            header[f"t{number}"] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        yield len(text).to_bytes(8, "little") + text
        for tensor in self.tensors:
            if tensor.nbytes:
                yield tensor.reshape(-1).view(torch.uint8).numpy().data


class Camera:
    """Takes snapshots into the same memory each time: fresh memory costs more than the copy. One snapshot is valid at a time."""

    def __init__(self) -> None:
        self._kept: list[torch.Tensor] = []

    def take(self, tree: Any) -> Snapshot:
        """Copy every tensor of ``tree``. Raises infrastructure for what only a pickle could hold."""
        found: list[torch.Tensor] = []
        skeleton = _encode(tree, found)
        kept, self._kept = self._kept, []
        for number, tensor in enumerate(found):
            old = kept[number] if number < len(kept) else None
            fits = old is not None and old.shape == tensor.shape and old.dtype == tensor.dtype
            into = old if fits and old is not None else torch.empty(tensor.shape, dtype=tensor.dtype)
            self._kept.append(into.copy_(tensor))
        return Snapshot(skeleton, self._kept)


def pack(tree: Any) -> bytes:
    """A nested structure as bytes, at once."""
    return b"".join(Camera().take(tree).chunks())


def unpack(data: bytes) -> Any:
    """What :func:`pack` packed, on the CPU."""
    header_bytes = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_bytes])
    return _decode(json.loads(header["__metadata__"][_TREE]), load(data))


def _encode(node: Any, tensors: list[torch.Tensor]) -> Any:
    if isinstance(node, torch.Tensor):
        tensors.append(node.detach())
        return {"tensor": f"t{len(tensors) - 1}"}
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
