"""Preference tuning: the model learns to find the preferred answer likelier than the other, measured against a reference.

Direct preference optimisation (Rafailov et al. 2023, equation 7): with ``h = beta * [(log p(w) - log p_ref(w)) - (log p(l) - log
p_ref(l))]`` for the preferred answer w and the other one l, the loss of a pair is ``-log sigmoid(h)``. With label smoothing e it is
``-(1 - e) log sigmoid(h) - e log sigmoid(-h)`` (conservative DPO, Mitchell 2023). A run that starts at its reference has h = 0 and a
loss of ln 2, whatever the pairs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from pe_training.manifests.hyperparameters import Dpo
from pe_training.training.batches import Batch
from pe_training.training.logits import target_logits
from pe_training.training.tasks import Task


class Preference(Task):
    """The preferred answer of a pair against the other. Tells reward accuracy and reward margin beside the loss."""

    measures = ("reward_accuracy", "reward_margin")

    def summed_loss(self, batch: Batch) -> tuple[torch.Tensor, float]:
        """See :meth:`Task.summed_loss`; one target a pair."""
        assert self._h.dpo is not None
        policy = answer_log_probabilities(self.model, batch)
        losses, rewards = dpo_losses(policy, batch["reference"], dpo=self._h.dpo)
        margin = (rewards[0] - rewards[1]).detach()
        self.tally(len(losses), reward_accuracy=(margin > 0).sum(), reward_margin=margin.sum())
        return losses.sum(), len(losses)


def answer_log_probabilities(model: Any, batch: Batch) -> torch.Tensor:
    """Log-probability in nats of every sequence's targets, summed over them: (sequences), at least float32."""
    logits, targets, rows = target_logits(model, batch)
    each = -functional.cross_entropy(logits, targets, reduction="none")
    return torch.zeros(len(batch["labels"]), dtype=each.dtype, device=each.device).index_add(0, rows, each)


def dpo_losses(policy: torch.Tensor, reference: torch.Tensor, *, dpo: Dpo) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of every pair (n), and rewards ``beta * (log p - log p_ref)`` (2, n), chosen first.

    ``policy`` and ``reference``: log-probabilities (2n), all chosen answers before all rejected ones.
    """
    rewards = dpo.beta * (policy - reference).reshape(2, -1)
    h = rewards[0] - rewards[1]
    e = dpo.label_smoothing
    return -(1 - e) * functional.logsigmoid(h) - e * functional.logsigmoid(-h), rewards
