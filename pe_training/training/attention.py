"""Attention within each document of a packed sequence, without the work that a mask would throw away.

A sequence that holds documents of lengths l1, l2, ... needs attention over l1**2 + l2**2 + ... pairs of tokens. Behind a mask, torch
computes all of (l1 + l2 + ...)**2 and hides most of it. Here each document is a causal call of its own, which skips the upper half as well.
Models that attend in some other way (windows, chunks, an implementation of their own) keep it: transformers masks documents by positions
that begin anew. Not every architecture obeys those, so packing asks each model for proof.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from pe_training.core.errors import Kind, PeError
from pe_training.training.batches import Batch

BY_DOCUMENT = "by_document"
_PROBE = 4  # tokens of each of the documents that a model is asked about
_LEAK, _ROUNDING = 1e-5, 0.05  # of the largest logit: a leak is more than the first, another position more than the second


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    documents: list[list[int]] | None = None,
    **named: Any,
) -> tuple[torch.Tensor, None]:
    """Transformers' attention by :func:`torch.nn.functional.scaled_dot_product_attention`, document by document.

    ``query``, ``key``, ``value``: (batch, heads, length, size). ``documents``: lengths of each sequence's documents, from its first token
    on; what lies behind them is padding, whose values mean nothing. Without them it is attention as ever. Returns (batch, length,
    heads, size).
    """
    if documents is None:
        return sdpa_attention_forward(module, query, key, value, mask, **named)
    named |= {"is_causal": True}
    if all(len(lengths) == 1 for lengths in documents):  # causal: nobody looks at the padding behind
        return sdpa_attention_forward(module, query, key, value, None, **named)
    sequences = []
    for row, lengths in enumerate(documents):
        parts, start = [], 0
        for length in lengths:
            q, k, v = (tensor[row : row + 1, :, start : start + length] for tensor in (query, key, value))
            parts.append(sdpa_attention_forward(module, q, k, v, None, **named)[0])
            start += length
        parts.append(value.new_zeros(1, query.shape[2] - start, query.shape[1], value.shape[3]))
        sequences.append(torch.cat(parts, dim=1))
    return torch.cat(sequences), None


def _mask(*places: Any, **named: Any) -> torch.Tensor | None:
    """A mask only where the caller brings one: documents need none, and whole rows are causal without."""
    return None if named.get("attention_mask") is None else sdpa_mask(*places, **named)


AttentionInterface.register(BY_DOCUMENT, attend)
AttentionMaskInterface.register(BY_DOCUMENT, _mask)


def attend_by_document(causal: Any, *, max_length: int) -> None:
    """Let a causal model attend in this way, where that is what it does anyway with sequences of at most ``max_length`` tokens."""
    config = causal.config.get_text_config()
    reaches = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    if config._attn_implementation == "sdpa" and all(reach is None or reach >= max_length for reach in reaches):
        causal.set_attn_implementation(BY_DOCUMENT)
        if not _keeps_documents_apart(causal):  # some architectures tell their attention nothing of documents, and mask by positions well
            causal.set_attn_implementation("sdpa")


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


def require_causal(causal: Any) -> None:
    """Raise input for a model that lets a token see what follows it, such as an encoder: it would learn to copy the answers."""
    first = torch.arange(4, 4 + 2 * _PROBE)
    other = torch.cat([first[:_PROBE], first[_PROBE:] + _PROBE])
    told, changed = (_of_document(causal, [document], slice(0, _PROBE)) for document in (first, other))
    if float((told - changed).abs().max()) > _LEAK * float(told.abs().max()):
        message = f"{type(causal).__name__} lets a token see the tokens behind it: it would learn to copy, not to write"
        raise PeError(Kind.INPUT, message, where="model.base", hint="name a decoder, or set is_decoder: true in the model's config.json")


def require_documents_apart(causal: Any) -> None:
    """Raise input for a model that makes something else of a document because another stands before it in a packed sequence."""
    if not _keeps_documents_apart(causal):
        message = f"{type(causal).__name__} does not keep the dialogues of a packed sequence apart"
        raise PeError(Kind.INPUT, message, where="hyperparameters.packing", hint="set it to false; bucketing: true saves padding, too")


def _keeps_documents_apart(causal: Any) -> bool:
    """Asked about two short documents: other words in the first change nothing in the second, which is what it is alone."""
    first, other, second = (torch.arange(start, start + _PROBE) for start in (4, 4 + _PROBE, 4 + 2 * _PROBE))
    last = slice(-_PROBE, None)
    packed, changed, alone = (_of_document(causal, documents, last) for documents in ([first, second], [other, second], [second]))
    size = float(alone.abs().max())
    return float((packed - changed).abs().max()) <= _LEAK * size and float((packed - alone).abs().max()) <= _ROUNDING * size


def _of_document(causal: Any, documents: list[torch.Tensor], places: slice) -> torch.Tensor:
    """Logits at some places of documents that are packed into one sequence, in float32, from a model that does not train just now."""
    device, was_training = causal.get_input_embeddings().weight.device, causal.training
    lengths = torch.tensor([[len(document) for document in documents]])
    positions = torch.cat([torch.arange(len(document)) for document in documents]).to(device)
    ids = torch.cat(documents).to(device)
    where = torch.zeros(1, len(ids), dtype=torch.bool, device=device)
    where[:, places] = True
    causal.eval()
    with torch.no_grad():
        logits = logits_at(causal, {"input_ids": ids[None], "position_ids": positions[None], "documents": lengths}, where)
    causal.train(was_training)
    return logits.float()
