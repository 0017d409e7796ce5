"""Tensors of one step. Packed dialogues share a sequence but never see each other: positions restart, attention is blocked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from pe_training.training.order import Bin, DataOrder
from pe_training.training.tokens import IGNORED, Dialogue

Batch = dict[str, torch.Tensor]


def collate_dialogues(groups: Sequence[Sequence[Dialogue]], *, pad_id: int) -> Batch:
    """One batch from groups of dialogues, one group a sequence.

    Shapes: ``input_ids``, ``position_ids``, ``labels`` (batch, length), int64; ``attention_mask`` (batch, 1, length,
    length), bool: causal, and within one dialogue only.
    """
    length = max(sum(len(d.ids) for d in group) for group in groups)
    shape = (len(groups), length)
    ids = torch.full(shape, pad_id, dtype=torch.int64)
    labels = torch.full(shape, IGNORED, dtype=torch.int64)
    positions = torch.zeros(shape, dtype=torch.int64)
    owner = torch.arange(length).repeat(len(groups), 1) + length  # padding: every token alone
    for row, group in enumerate(groups):
        start = 0
        for number, dialogue in enumerate(group):
            stop = start + len(dialogue.ids)
            ids[row, start:stop] = torch.tensor(dialogue.ids)
            labels[row, start + 1 : stop] = torch.tensor(dialogue.labels[1:])  # nothing predicts a first token
            positions[row, start:stop] = torch.arange(stop - start)
            owner[row, start:stop] = number
            start = stop
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    mask = (owner[:, :, None] == owner[:, None, :]) & causal
    real = sum(len(dialogue.ids) for group in groups for dialogue in group)
    batch = {"input_ids": ids, "position_ids": positions, "labels": labels, "attention_mask": mask[:, None]}
    return batch | {"real_tokens": torch.tensor(real)}


def collate_texts(texts: Sequence[Sequence[int]], labels: Sequence[int], *, weights: Sequence[float] | None = None, pad_id: int) -> Batch:
    """One batch for a classifier: ``input_ids`` and ``attention_mask`` (batch, length), ``labels`` (batch).

    With ``weights`` also those, float32 (batch), and their sum as ``targets``.
    """
    length = max(len(text) for text in texts)
    ids = torch.full((len(texts), length), pad_id, dtype=torch.int64)
    mask = torch.zeros((len(texts), length), dtype=torch.int64)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
        mask[row, : len(text)] = 1
    batch = {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor(labels), "real_tokens": mask.sum()}
    if weights is None:
        return batch
    return batch | {"weights": torch.tensor(weights), "targets": torch.tensor(weights, dtype=torch.float64).sum().float()}


def step_facts(micro_batches: Sequence[Batch]) -> Batch:
    """What every micro-batch of an optimiser step is told of the whole step.

    ``step_targets``: what its mean loss is taken over: targets, or pairs, or the weight of the texts. ``step_padding``: the share
    of its tokens that are padding.
    """
    targets = sum(float(batch["targets"]) if "targets" in batch else int((batch["labels"] != IGNORED).sum()) for batch in micro_batches)
    tokens = sum(batch["input_ids"].numel() for batch in micro_batches)
    real = sum(int(batch["real_tokens"]) for batch in micro_batches)
    return {"step_targets": torch.tensor(targets), "step_padding": torch.tensor(1 - real / tokens)}


@dataclass(frozen=True)
class Skip:
    """From optimiser step ``from_step`` on, ``steps`` windows of data are passed over (after a rollback)."""

    from_step: int
    steps: int


class StepLoader:
    """Micro-batches from the current optimiser step on, for ever. Holds no position: it asks for the step when iterated."""

    def __init__(
        self,
        order: DataOrder,
        *,
        collate: Callable[[Sequence[Bin]], Batch],
        batch_size: int,
        micro_batch_size: int,
        current_step: Callable[[], int],
        skips: Sequence[Skip],
    ) -> None:
        self._order, self._collate = order, collate
        self._batch_size, self._micro = batch_size, micro_batch_size
        self._current_step, self._skips = current_step, skips

    def __iter__(self) -> Iterator[Batch]:
        step = self._current_step()
        while True:
            window = step + sum(skip.steps for skip in self._skips if step >= skip.from_step)
            bins = self._order.bins(window * self._batch_size, self._batch_size)
            micro_batches = [self._collate(bins[i : i + self._micro]) for i in range(0, self._batch_size, self._micro)]
            facts = step_facts(micro_batches)
            for batch in micro_batches:
                yield batch | facts
            step += 1
