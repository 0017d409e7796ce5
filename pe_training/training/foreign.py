"""Weights that were trained elsewhere, taken in as what a run may start from: PEFT's adapter folder, or a Hugging Face model folder.

Both are what their own libraries and the Hugging Face Trainer write (a ``checkpoint-N`` folder of it, for one). Only safetensors are
read: optimiser states, random states and arguments there are pickles, which run code when they are loaded, so they stay behind, and
training begins anew from the weights. What the weights were trained on is not known here, so they are no checkpoint: no gate judges them,
and what is trained from them names them among its ancestors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from pe_training.core.errors import Kind, PeError
from pe_training.manifests.base_models import locate
from pe_training.manifests.schema import ModelRef
from pe_training.storage.state import State
from pe_training.training.record import ImportedModel
from pe_training.training.weights import ADAPTER_CONFIG, ADAPTER_WEIGHTS, tensors_digest

CONFIG, INDEX = "config.json", "model.safetensors.index.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_UNSUPPORTED: dict[str, Any] = {  # of PEFT's configuration: what would be lost without a word, and the value at which nothing is
    "use_dora": False, "use_rslora": False, "modules_to_save": None, "bias": "none", "rank_pattern": {}, "alpha_pattern": {},
    "layers_to_transform": None, "layer_replication": None, "fan_in_fan_out": False,
}  # fmt: skip


def read_foreign(
    folder: Path, *, line: str, base: ModelRef, task: Literal["causal_lm", "text_classification"], actor: str, reason: str, state: State
) -> ImportedModel:
    """Read, check and keep a folder's weights; the record is still to be registered. Raises input or not_found, with the file."""
    pin = locate(base).pin
    if not folder.is_dir():
        raise PeError(Kind.NOT_FOUND, "there is no such folder", where=str(folder), hint="name the folder that holds the safetensors")
    adapted = (folder / ADAPTER_CONFIG).is_file()
    names = [ADAPTER_WEIGHTS] if adapted else _parts(folder)
    kept = [*names, ADAPTER_CONFIG] if adapted else [*names, CONFIG, *([INDEX] if (folder / INDEX).is_file() else [])]
    for name in kept:
        _require_own_file(folder, name)
    config = _json(folder / (ADAPTER_CONFIG if adapted else CONFIG))
    tensors = _tensors(folder, names)
    return ImportedModel(
        line=line,
        task=task,
        base=pin,
        format="peft-adapter" if adapted else "full",
        adapter=_adapter(config, where=folder / ADAPTER_CONFIG) if adapted else None,
        declared=_declared(folder, config),
        imported_by=actor,
        reason=reason,
        weights=tensors_digest(tensors),
        content_files=state.artifacts.attach({name: folder / name for name in kept}),
    )


def _parts(folder: Path) -> list[str]:
    """The weight files of a whole model."""
    if (folder / INDEX).is_file():
        listed = _json(folder / INDEX).get("weight_map")
        if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()):
            raise PeError(Kind.INPUT, "weight_map does not map tensors to files", where=str(folder / INDEX), hint="copy it again")
        found = sorted(set(listed.values()))
    else:
        found = sorted(path.name for path in folder.glob("model*.safetensors"))
    if found:
        return found
    hint = "name a folder with adapter_config.json and adapter_model.safetensors, or with config.json and model.safetensors"
    if nested := sorted(folder.glob("checkpoint-*/"), key=lambda path: path.stat().st_mtime):
        hint = f"a Trainer's output folder holds several: name one of them, the newest is {nested[-1].name}"
    elif pickled := [path.name for path in sorted(folder.iterdir()) if path.suffix in _PICKLES]:
        hint = f"{pickled[0]} is a pickle, which runs code when it is loaded: save the model again with safe_serialization=True"
    raise PeError(Kind.INPUT, "no weights as safetensors in this folder", where=str(folder), hint=hint)


def _require_own_file(folder: Path, name: str) -> None:
    """Refuse what is no plain file in this folder: nothing else of this machine is read, or kept, because a folder names it."""
    path = folder / name
    if "\0" in name or not path.is_file():
        raise PeError(Kind.INPUT, f"{name!r} is missing", where=str(folder), hint="copy the whole folder")
    if not path.resolve().is_relative_to(folder.resolve()):
        hint = "copy the folder with what its links point to (`cp -rL`), and look at where they pointed"
        raise PeError(Kind.INPUT, f"{name!r} lies outside of this folder", where=str(folder), hint=hint)


def _tensors(folder: Path, names: list[str]) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for name in names:
        path = folder / name
        try:
            tensors |= load_file(path)
        except SafetensorError as error:
            raise PeError(Kind.INPUT, f"this is no whole safetensors file: {error}", where=str(path), hint="copy it again") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            hint = "the training that made it had diverged; take an earlier one"
            raise PeError(Kind.INPUT, f"{name} holds NaN or infinity", where=str(folder), hint=hint)
    return tensors


def _adapter(config: dict[str, Any], *, where: Path) -> dict[str, int]:
    """Rank and alpha of a LoRA. Raises input for any other adapter, and for options that training here does not have."""
    if config.get("peft_type") != "LORA":
        hint = "merge it into its base (`merge_and_unload`) and import the whole model"
        raise PeError(Kind.INPUT, f"an adapter of the type {config.get('peft_type')}, not LORA", where=str(where), hint=hint)
    for key, nothing in _UNSUPPORTED.items():
        if config.get(key, nothing) not in (nothing, None):
            hint = "merge it into its base (`merge_and_unload`) and import the whole model"
            raise PeError(Kind.INPUT, f"{key} is {config[key]!r}, which training here does not have", where=str(where), hint=hint)
    found: dict[str, Any] = {"r": config.get("r"), "alpha": config.get("lora_alpha")}
    if not all(type(value) in (int, float) and value >= 1 and float(value).is_integer() for value in found.values()):
        hint = "merge it into its base (`merge_and_unload`) and import the whole model"
        raise PeError(Kind.INPUT, "r and lora_alpha are not both whole numbers from 1 on", where=str(where), hint=hint)
    return {key: int(value) for key, value in found.items()}


def _declared(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """What the folder says of itself; nobody has checked it."""
    said = {key: config[key] for key in ("base_model_name_or_path", "_name_or_path", "revision", "transformers_version") if config.get(key)}
    if (folder / "trainer_state.json").is_file():
        said["trainer_steps"] = _json(folder / "trainer_state.json").get("global_step")
    return {key: str(value)[:200] for key, value in said.items() if value is not None}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PeError(Kind.INPUT, f"{path.name} is missing", where=str(path.parent), hint="copy the whole folder") from error
    except (ValueError, RecursionError) as error:
        raise PeError(Kind.INPUT, f"this is no JSON: {error}", where=str(path), hint="copy it again") from error
    if not isinstance(found, dict):
        raise PeError(Kind.INPUT, "this is no JSON object", where=str(path), hint="copy it again")
    return found
