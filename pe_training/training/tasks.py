"""What differs between tasks, as Lightning modules of the same shape: a loss for a batch, and held-out loss by parts.

Both normalise by the targets of the whole optimiser step, not of the micro-batch: with gradient accumulation a mean of
means would weigh a token by how short its neighbours are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch.nn import functional

from pe_training.manifests.schema import Manifest
from pe_training.training.batches import Batch
from pe_training.training.logits import causal_loss
from pe_training.training.optimizer import adamw
from pe_training.training.schedule import Slowdown, learning_rate_factor
from pe_training.training.sharding import shard
from pe_training.training.tokens import IGNORED


class Task(lightning.LightningModule):
    """A model with its optimiser. Every rollback brings one of ``slowdowns``."""

    measures: tuple[str, ...] = ()  # what a task tells beside its loss

    def __init__(self, model: torch.nn.Module, *, spec: Manifest, accumulation: int, rank: int, slowdowns: Sequence[Slowdown] = ()) -> None:
        super().__init__()
        self.model = model
        self.strict_loading = False  # only what is trained is saved
        self._spec, self._h, self._accumulation, self._rank, self._slowdowns = (
            spec,
            spec.hyperparameters,
            accumulation,
            rank,
            tuple(slowdowns),
        )
        self._step_loss = 0.0
        self.forget_measures()
        self.gradient_norm = torch.tensor(torch.nan)  # of the step under way; the Keeper takes it

    def summed_loss(self, batch: Batch) -> tuple[torch.Tensor, float]:
        """Loss in nats summed over the targets of a batch, and their number (their weight, where targets are weighted)."""
        raise AssertionError("each task defines its loss")

    def minimised(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """What training makes smaller, in nats summed over a batch, and the loss that it tells: the same, but for what is learnt beside."""
        summed, _ = self.summed_loss(batch)
        return summed, summed

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Share of the step's mean loss that this micro-batch brings."""
        minimised, told = self.minimised(batch)
        self._step_loss += float(told.detach() / batch["step_targets"])
        return minimised / batch["step_targets"] * (self._accumulation * self._spec.compute.ranks)  # Lightning divides by both again

    def take_step_loss(self) -> float:
        """Mean loss in nats per target over the micro-batches since the last call, of all ranks together."""
        loss, self._step_loss = self._step_loss, 0.0
        return self.summed_over_ranks(loss)[0]

    def summed_over_ranks(self, *values: float) -> list[float]:
        """Each value summed over all ranks; the same answer on each."""
        if self.trainer.world_size == 1:
            return list(values)
        summed = self.trainer.strategy.reduce(torch.tensor(values, dtype=torch.float64, device=self.device), reduce_op="sum")
        assert isinstance(summed, torch.Tensor)
        return [float(value) for value in summed]

    def tally(self, count: int, **sums: torch.Tensor) -> None:
        """Note sums over ``count`` targets of what a task measures beside its loss."""
        self._counted += count
        for name, value in sums.items():
            self._tallied[name] = self._tallied[name].to(value.device) + value.double()

    def take_measures(self) -> dict[str, float]:
        """Means per target over all ranks of what was noted since the last call; empty for a task that measures its loss only."""
        if not self.measures:
            return {}
        count, *sums = self.summed_over_ranks(float(self._counted), *(float(self._tallied[name]) for name in self.measures))
        self.forget_measures()
        return {name: value / count for name, value in zip(self.measures, sums, strict=True)}

    def forget_measures(self) -> None:
        """Begin anew to note them."""
        self._tallied, self._counted = dict.fromkeys(self.measures, torch.zeros((), dtype=torch.float64)), 0

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Random numbers of a step (dropout) depend on the seed and the step only, so resuming needs no random state."""
        per_rank, ranks = self._accumulation, self._spec.compute.ranks
        number = (self.global_step * per_rank + batch_idx % per_rank) * ranks + self._rank
        torch.default_generator.manual_seed(
            (self._spec.seed << 32) + number
        )  # torch.manual_seed keeps a stack trace a call where no GPU is
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all((self._spec.seed << 32) + number)

    def configure_model(self) -> None:
        """Share the model out among the ranks, where the manifest says so."""
        if self._spec.compute.strategy == "fsdp":
            shard(self, method=self.summed_loss.__name__, mesh=self.device_mesh["data_parallel"])

    def configure_optimizers(self) -> Any:
        """AdamW over what is trained, learning rate by step."""
        optimizer = adamw(self.parameters(), self._h)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """The next step's rate: a saved state holds the one that its step would have had without the rollbacks since."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self._h.learning_rate * self._rate_factor(self.global_step)

    def _rate_factor(self, step: int) -> float:
        return learning_rate_factor(step, self._h, slowdowns=self._slowdowns)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """What :func:`torch.nn.utils.clip_grad_norm_` does, by the norm that is known already; fused optimisers included.

        Lightning's own refuses those under mixed precision, for the sake of a loss scaler that bfloat16 does not need.
        """
        assert gradient_clip_val is not None
        trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grads_with_norm_(trained, gradient_clip_val, self.gradient_norm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the frozen base out: it is pinned, and 500 MB a save would buy nothing."""
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        checkpoint["state_dict"] = {name: tensor for name, tensor in checkpoint["state_dict"].items() if name in trained}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Count the micro-batches of a state as ones of today's size: Lightning ends a step at every so-many-th that was ever made."""
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        missing = checkpoint["global_step"] * self._accumulation - progress["current"]["ready"]
        for counts in (progress["total"], progress["current"]):
            counts.update({name: count + missing for name, count in counts.items()})


class CausalLM(Task):
    """Next-token prediction on therapist tokens."""

    def summed_loss(self, batch: Batch) -> tuple[torch.Tensor, float]:
        """See :meth:`Task.summed_loss`."""
        return causal_loss(self.model, batch)


class TextClassification(Task):
    """One label of a text. ``auxiliary``: the numbers of classes of further labels, which are learnt beside it (Caruana 1997).

    Each has a linear head on what the model makes of a text. These heads are part of a run's states and not of its model.
    """

    def __init__(self, model: torch.nn.Module, *, auxiliary: Sequence[int] = (), **others: Any) -> None:
        super().__init__(model, **others)
        generator = torch.Generator().manual_seed(self._spec.seed)
        self.auxiliary = torch.nn.ModuleList(_fresh_head(model, classes, generator) for classes in auxiliary)

    def minimised(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss with that of each further label over the texts that have it, and the loss alone."""
        found = self._read(batch)
        own, _ = _label_loss(found.logits.float(), batch)
        summed = own
        for head, labels in zip(self.auxiliary, batch["auxiliary"].unbind(dim=1) if self.auxiliary else (), strict=True):
            logits = head(found.hidden_states[0]).float()
            summed = summed + functional.cross_entropy(logits, labels, reduction="sum", ignore_index=IGNORED)
        return summed, own

    def summed_loss(self, batch: Batch) -> tuple[torch.Tensor, float]:
        """See :meth:`Task.summed_loss`; one target a text, which weighs what its class does."""
        return _label_loss(self._read(batch).logits.float(), batch)

    def _read(self, batch: Batch) -> Any:
        return self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])


def _fresh_head(model: torch.nn.Module, classes: int, generator: torch.Generator) -> torch.nn.Linear:
    deep = model.deep
    assert isinstance(deep, torch.nn.Linear)  # of a wide head, which a manifest with further labels has
    head = torch.nn.Linear(deep.in_features, classes)
    torch.nn.init.normal_(head.weight, std=0.02, generator=generator)
    torch.nn.init.zeros_(head.bias)
    return head


def _label_loss(logits: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, float]:
    if "weights" not in batch:
        return functional.cross_entropy(logits, batch["labels"], reduction="sum"), len(batch["labels"])
    losses = functional.cross_entropy(logits, batch["labels"], reduction="none")
    return (losses * batch["weights"]).sum(), float(batch["weights"].sum())
