"""Preference pairs as tensors: the same prompt with the answer that was preferred, and with the one that was not.

Only the last answer is compared. Earlier therapist turns are part of both sides and would cancel out; what does not cancel out is
a prompt that was cut differently for the two sides, so both lose the same oldest turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pe_training.training.batches import Batch, collate_dialogues
from pe_training.training.tokens import Dialogue, encode_turns


@dataclass(frozen=True)
class Pair:
    """Both sides, each with labels on its last answer only; ``reference`` holds their log-probabilities under the reference model."""

    chosen: Dialogue
    rejected: Dialogue
    reference: tuple[float, float] | None = None

    @property
    def length(self) -> int:
        """Tokens of the longer side."""
        return max(self.chosen.length, self.rejected.length)

    @property
    def tokens(self) -> int:
        """Tokens of both sides."""
        return self.chosen.length + self.rejected.length

    @property
    def targets(self) -> int:
        """A pair counts for one."""
        return 1


def encode_pair(tokenizer: Any, messages: Sequence[dict[str, str]], rejected: Sequence[dict[str, str]], *, max_length: int) -> Pair | None:
    """A pair of at most ``max_length`` tokens a side: the oldest turns go first. ``None`` if an answer does not fit behind its question."""
    context, chosen = list(messages[:-1]), messages[-1:]
    while True:
        whole, other = (encode_turns(tokenizer, [*context, *answer], taught={len(context)}) for answer in (chosen, rejected))
        pair = Pair(whole, other)
        oldest = 1 if context and context[0]["role"] == "system" else 0
        if pair.length <= max_length:
            return pair if pair.chosen.targets and pair.rejected.targets else None
        if len(context) - oldest <= 2:
            return None
        del context[oldest : oldest + 2]


def collate_pairs(pairs: Sequence[Pair], *, pad_id: int) -> Batch:
    """One batch of ``n`` pairs: ``2n`` sequences, the chosen sides first.

    As :func:`collate_dialogues`, with ``reference`` (2n), float32, where every pair has one.
    """
    sides = [(pair.chosen,) for pair in pairs] + [(pair.rejected,) for pair in pairs]
    batch = collate_dialogues(sides, pad_id=pad_id)
    known = [pair.reference for pair in pairs if pair.reference is not None]
    if len(known) < len(pairs):
        return batch
    return batch | {"reference": torch.tensor([chosen for chosen, _ in known] + [rejected for _, rejected in known])}
