"""The model that a run ends with, as files that other tools read: PEFT's adapter folder, or a Hugging Face model folder."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file

from pe_training.core.records import Attachment
from pe_training.manifests.record import BaseModelPin
from pe_training.storage.artifacts import ArtifactStore
from pe_training.training.record import HISTORY_FILE, TRACE_FILE
from pe_training.training.sharding import whole

ADAPTER_WEIGHTS, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
MAX_SHARD_BYTES = 5_000_000_000  # of a whole model's weights; larger ones are several files with an index, as transformers reads them


def trained_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Name -> tensor of what training changed, as it will be saved: the adapter, or the whole model (tied weights once)."""
    if hasattr(model, "peft_config"):
        from peft import get_peft_model_state_dict

        tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
    else:
        tensors = dict(model.state_dict())
        once = {
            name for name, _ in model.named_parameters()
        }  # transformers' `_tied_weights_keys` is of the class, whether this one is tied or not
        for name, _ in model.named_parameters(remove_duplicate=False):
            if name not in once:
                del tensors[name]
    return {name: whole(tensor.detach()).cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}


def tensors_digest(tensors: dict[str, torch.Tensor]) -> str:
    """``sha256:`` digest over name, type, shape and bytes of every tensor, in order of names."""
    hasher = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        hasher.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        hasher.update(
            tensor.contiguous().view(torch.uint8).numpy().tobytes()
            if tensor.ndim
            else tensor.reshape(1).view(torch.uint8).numpy().tobytes()
        )
    return "sha256:" + hasher.hexdigest()


def export_model(
    model: Any,
    tensors: dict[str, torch.Tensor],
    *,
    tokenizer: Any,
    base: BaseModelPin,
    history: list[dict[str, Any]],
    trace: bytes,
    artifacts: ArtifactStore,
) -> tuple[Attachment, ...]:
    """Store ``tensors`` with everything that is needed to load them, and the run's history and trace."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if hasattr(model, "peft_config"):
            save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
            (folder / ADAPTER_CONFIG).write_text(_adapter_config(model, base))
        else:
            save_torch_state_dict(tensors, folder, max_shard_size=MAX_SHARD_BYTES, metadata={"format": "pt"})
            model.config.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        (folder / TRACE_FILE).write_bytes(trace)
        (folder / HISTORY_FILE).write_text("".join(json.dumps(line, sort_keys=True) + "\n" for line in history))
        return artifacts.attach({path.name: path for path in folder.iterdir()})


def _adapter_config(model: Any, base: BaseModelPin) -> str:
    """PEFT's configuration, sorted, and naming the base by reference instead of by a folder of this machine."""
    config = model.peft_config["default"].to_dict() | {"base_model_name_or_path": base.ref, "revision": None, "inference_mode": True}
    plain = {key: sorted(value) if isinstance(value, (set, frozenset)) else value for key, value in config.items()}
    return json.dumps(plain, indent=1, sort_keys=True, default=str) + "\n"
