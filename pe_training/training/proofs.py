"""What a causal model must prove before it learns: that it does not look ahead, and that it keeps packed dialogues apart.

Which architectures do is not written down anywhere, so each model is asked, in a few short forward passes.
"""

from __future__ import annotations

from typing import Any

import torch

from pe_training.core.errors import Kind, PeError
from pe_training.training.attention import BY_DOCUMENT
from pe_training.training.logits import logits_at

_PROBE = 4  # tokens of each of the documents that a model is asked about
_LEAK, _ROUNDING = 1e-5, 0.05  # of the largest logit: a leak is more than the first, another position more than the second


def attend_by_document(causal: Any, *, max_length: int) -> None:
    """Let a causal model attend in this way, where that is what it does anyway with sequences of at most ``max_length`` tokens."""
    config = causal.config.get_text_config()
    reaches = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    if config._attn_implementation == "sdpa" and all(reach is None or reach >= max_length for reach in reaches):
        causal.set_attn_implementation(BY_DOCUMENT)
        if not _keeps_documents_apart(causal):  # some architectures tell their attention nothing of documents, and mask by positions well
            causal.set_attn_implementation("sdpa")


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
