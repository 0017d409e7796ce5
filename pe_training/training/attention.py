"""Attention within each document of a packed sequence, without the work that a mask would throw away.

A sequence that holds documents of lengths l1, l2, ... needs attention over l1**2 + l2**2 + ... pairs of tokens. Behind a mask, torch
computes all of (l1 + l2 + ...)**2 and hides most of it. Here each document is a causal call of its own, which skips the upper half as well.
Models that attend in some other way (windows, chunks, an implementation of their own) keep it: transformers masks documents by positions
that begin anew. Not every architecture obeys those: see ``proofs.py``.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

BY_DOCUMENT = "by_document"


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
