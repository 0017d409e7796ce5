"""What a causal model says of the next token, and how far that is from what was said: the same for training and for evaluation."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from pe_training.training.attention import BY_DOCUMENT
from pe_training.training.batches import Batch
from pe_training.training.tokens import IGNORED


def causal_loss(model: Any, batch: Batch) -> tuple[torch.Tensor, int]:
    """Cross-entropy in nats summed over a batch's targets, and their number, for any causal model (adapted or not)."""
    logits, targets, _ = target_logits(model, batch)
    return functional.cross_entropy(logits, targets, reduction="sum"), len(targets)


def target_logits(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits (targets, vocabulary) where a causal model predicts a target, at least float32; the targets; the sequence of each."""
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    keep = batch["labels"] != IGNORED
    before = torch.zeros_like(keep)
    before[:, :-1] = keep[:, 1:]  # the position before a target predicts it
    logits = logits_at(causal, batch, before)
    rows = torch.arange(len(keep), device=keep.device)[:, None].expand_as(keep)[keep]
    return logits if logits.dtype == torch.float64 else logits.float(), batch["labels"][keep], rows


def logits_at(causal: Any, batch: Batch, where: torch.Tensor) -> torch.Tensor:
    """What a causal model makes of :func:`collate_dialogues`' batch at the places ``where`` (batch, length): (places, vocabulary).

    It is the model's own forward, which may scale or bound its logits, with a head that is given these places only: the vocabulary is
    most of the work of a small model.
    """
    named = {"input_ids": batch["input_ids"], "position_ids": batch["position_ids"], "use_cache": False}
    if causal.config.get_text_config()._attn_implementation == BY_DOCUMENT:
        named["documents"] = [[length for length in row if length] for row in batch["documents"].tolist()]
    hook = causal.get_output_embeddings().register_forward_pre_hook(lambda _, states: (states[0][where], *states[1:]))
    try:
        logits: torch.Tensor = causal(**named).logits
    finally:
        hook.remove()
    return logits
