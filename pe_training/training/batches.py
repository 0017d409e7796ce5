"""Tensors of one step. Packed dialogues share a sequence but never see each other: positions restart, attention is blocked."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pe_training.training.tokens import IGNORED, Dialogue

Batch = dict[str, torch.Tensor]


def collate_dialogues(groups: Sequence[Sequence[Dialogue]], *, pad_id: int) -> Batch:
    """One batch from groups of dialogues, one group a sequence.

    Shapes: ``input_ids``, ``position_ids``, ``labels`` (batch, length), ``documents`` (batch, most dialogues of a
    sequence), int64. Positions begin anew with each dialogue and at each token of padding; ``documents`` holds the
    dialogues' lengths in order, then zeros.
    """
    length = max(sum(len(d.ids) for d in group) for group in groups)
    shape = (len(groups), length)
    ids = torch.full(shape, pad_id, dtype=torch.int64)
    labels = torch.full(shape, IGNORED, dtype=torch.int64)
    positions = torch.zeros(shape, dtype=torch.int64)
    documents = torch.zeros((len(groups), max(map(len, groups))), dtype=torch.int64)
    for row, group in enumerate(groups):
        start = 0
        for number, dialogue in enumerate(group):
            stop = start + len(dialogue.ids)
            ids[row, start:stop] = torch.tensor(dialogue.ids)
            labels[row, start + 1 : stop] = torch.tensor(dialogue.labels[1:])  # nothing predicts a first token
            positions[row, start:stop] = torch.arange(stop - start)
            documents[row, number] = len(dialogue.ids)
            start = stop
    return {"input_ids": ids, "position_ids": positions, "labels": labels, "documents": documents}


def collate_texts(
    texts: Sequence[Sequence[int]],
    labels: Sequence[int],
    *,
    weights: Sequence[float] | None = None,
    auxiliary: Sequence[Sequence[int]] = (),
    pad_id: int,
) -> Batch:
    """One batch for a classifier: ``input_ids`` and ``attention_mask`` (batch, length), ``labels`` (batch).

    With ``weights`` also those, float32 (batch); with ``auxiliary`` the further labels of each text, int64 (batch, labels).
    """
    length = max(len(text) for text in texts)
    ids = torch.full((len(texts), length), pad_id, dtype=torch.int64)
    mask = torch.zeros((len(texts), length), dtype=torch.int64)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
        mask[row, : len(text)] = 1
    batch = {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor(labels)}
    batch |= {} if weights is None else {"weights": torch.tensor(weights)}
    return batch | ({"auxiliary": torch.tensor(auxiliary)} if auxiliary else {})
