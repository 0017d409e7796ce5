"""What happens after every optimiser step: look at the loss, write it down, measure held-out loss, save, perhaps stop."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import lightning
import torch

from pe_training.core.errors import Kind, PeError
from pe_training.manifests.schema import Manifest
from pe_training.training.batches import Batch
from pe_training.training.feed import Feed, Pace
from pe_training.training.patience import gives_up
from pe_training.training.states import StateStore
from pe_training.training.stops import AGAIN, Stops
from pe_training.training.tasks import Task
from pe_training.training.trace import Gradients, Trace, trained_names

SPIKE_WINDOW_STEPS = 20
SPIKE_MIN_STEPS = 5
SPIKE_FLOOR_NATS = math.log(2)  # where the usual loss is nearly nothing, a multiple of it is nearly nothing too
TEXTS_SPIKE_STEPS = (
    5  # steps of a classifier that are looked at together: one rare text among sixteen doubles a step's loss, and nothing is wrong
)


class Spike(Exception):  # noqa: N818 (an event, not an error: recovery decides)
    """The loss, or what comes of its gradient, became NaN or infinite, or the loss jumped."""

    def __init__(self, *, step: int, loss: float, usual: float | None = None, what: str = "loss") -> None:
        super().__init__(f"{what} {loss:g} at step {step}" + (f", usually {usual:g}" if usual is not None else ""))
        self.step, self.loss, self.usual = step, loss, usual


def now_and_before(losses: Sequence[float], task: str) -> tuple[float, Sequence[float]]:
    """The loss that is looked at, and those that it is compared with: of a classifier the mean of its last few steps."""
    steps = TEXTS_SPIKE_STEPS if task == "text_classification" else 1
    return statistics.fmean(losses[-steps:]), losses[:-steps]


def is_spike(loss: float, *, recent: Sequence[float], factor: float) -> bool:
    """Whether ``loss`` (nats) is no number, or jumped: above ``factor`` times the usual, and by more than a halved probability."""
    if not math.isfinite(loss):
        return True
    if len(recent) < SPIKE_MIN_STEPS:
        return False
    usual = statistics.median(recent)
    return loss > factor * usual and loss - usual > SPIKE_FLOOR_NATS


@dataclass(frozen=True)
class Best:
    """The step whose weights have the lowest held-out loss so far."""

    step: int
    val_loss: float


class Keeper(lightning.Callback):
    """Holds the run's history, its trace and which step was the best; all travel with every saved state."""

    def __init__(
        self, spec: Manifest, *, held_out: list[Batch], stops: Stops, feed: Feed, states: StateStore, until: int | None = None
    ) -> None:
        """``until``: the step that this attempt ends with, if that is not the run's last."""
        self._until = until
        self._spec, self._held_out, self._stops, self._feed, self._states = spec, held_out, stops, feed, states
        self.history: list[dict[str, Any]] = []
        self.trace: Trace
        self.best: Best | None = None
        self.stopped: PeError | None = None
        self.gave_up = False
        self._step = 0
        self._loss = 0.0
        self._targets = 0
        self._saved_at = time.monotonic()

    @property
    def state_key(self) -> str:
        """The name under which Lightning keeps :meth:`state_dict`."""
        return "keeper"

    def state_dict(self) -> dict[str, Any]:
        """History, best step and trace."""
        return {"history": self.history, "best": self.best and asdict(self.best), "trace": self.trace.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them back."""
        self.history, self.best = list(state_dict["history"]), state_dict["best"] and Best(**state_dict["best"])
        self.trace.load_state_dict(state_dict["trace"])

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Learn which tensors are trained, before a saved state is taken back."""
        self.trace = Trace(trained_names(pl_module), most_steps=self._spec.hyperparameters.max_steps)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Measure the untrained start, once in a run's life."""
        self._gradients = Gradients(pl_module)  # now that a strategy may have shared them out
        self._step, self._saved_at = trainer.global_step, time.monotonic()
        self._pace = Pace(total=self._spec.hyperparameters.max_steps, done=self._step)
        self._states.best = self.best.step if self.best else None
        if not self.history:
            self.history.append({"step": 0} | self._measure(trainer, pl_module))
            self._save(trainer)
        self.gave_up = self._gives_up()
        trainer.should_stop = self.gave_up

    def on_before_optimizer_step(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Note the gradients' norms before clipping, which uses them."""
        assert isinstance(pl_module, Task)
        norms = self._gradients.norms()
        pl_module.gradient_norm, self._norms = norms.total, norms.row

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """After the last micro-batch of a step, keep everything that must outlive a kill."""
        assert isinstance(pl_module, Task)
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        loss = pl_module.take_step_loss()
        self._refuse_spike(loss)
        self._refuse_no_number(float(self._norms[0]), what="gradient norm")  # the loss would show it a step later, when it may be saved
        self._targets += int(batch["step_targets"])
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        line: dict[str, Any] = {"step": self._step, "loss": loss, "grad_norm": float(self._norms[0]), "next_lr": rate}
        line |= pl_module.take_measures() | {"padded_share": round(float(batch["step_padding"]), 4)}
        last = self._step == self._spec.hyperparameters.max_steps
        measured = last or self._step % self._spec.checkpoints.every_steps == 0
        if measured:
            line |= self._measure(trainer, pl_module)
            self._refuse_no_number(line["val_loss"], what="held-out loss")
            self._keep_best(line["val_loss"])
        self.history.append(line)
        self.gave_up = measured and self._gives_up()
        self.trace.append(step=self._step, loss=loss, norms=self._norms[1:])
        self._tell(trainer, line)
        self._tell_landed()
        self.stopped = None if last or self.gave_up else self._stops.reason()
        overdue = time.monotonic() - self._saved_at >= self._spec.checkpoints.every_minutes * 60
        stopped, overdue = self._agreed(pl_module, bool(self.stopped), overdue)
        if stopped and not self.stopped:
            self.stopped = PeError(Kind.STOPPED, "training was stopped on another rank", hint=AGAIN)
        if measured or overdue or stopped or self._step == self._until:
            self._save(trainer)
        if stopped or self.gave_up:
            trainer.should_stop = True

    def finish(self) -> None:
        """Wait until the last saved state is durable, and say so."""
        self._states.settle()
        self._tell_landed()

    def _agreed(self, task: Task, *wishes: bool) -> list[bool]:
        """Each wish, if any rank has it: they save and stop at the same step or not at all."""
        return [bool(count) for count in task.summed_over_ranks(*map(float, wishes))]

    def _refuse_spike(self, loss: float) -> None:
        now, recent = now_and_before(
            [*(line["loss"] for line in self.history[-SPIKE_WINDOW_STEPS:] if "loss" in line), loss], self._spec.task
        )
        if is_spike(now, recent=recent, factor=self._spec.recovery.spike_factor):
            raise Spike(step=self._step, loss=now, usual=statistics.median(recent) if len(recent) >= SPIKE_MIN_STEPS else None)

    def _refuse_no_number(self, value: float, *, what: str) -> None:
        if not math.isfinite(value):
            raise Spike(step=self._step, loss=value, what=what)

    def _gives_up(self) -> bool:
        h = self._spec.hyperparameters
        return self._step < h.max_steps and gives_up(self.history, h.early_stopping)

    def _keep_best(self, val_loss: float) -> None:
        if self._spec.checkpoints.keep_best and (self.best is None or val_loss < self.best.val_loss):
            self.best = Best(self._step, val_loss)
            self._states.best = self._step  # which is saved now

    def _measure(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> dict[str, float]:
        """Held-out loss in nats per target over the whole validation split, and what else the task measures; each rank does its share."""
        assert isinstance(module, Task)
        module.eval()
        total, targets = 0.0, 0.0
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            mine = self._held_out[trainer.global_rank :: trainer.world_size]
            if len(mine) < len(self._held_out[:: trainer.world_size]):
                self._keep_company(module)
            for number, batch in enumerate(mine, start=1):
                summed, count = module.summed_loss({name: tensor.to(module.device) for name, tensor in batch.items()})
                total, targets = total + float(summed), targets + count
                self._feed.emit("validate", step=number, total=len(mine))
        module.train()
        total, targets = module.summed_over_ranks(total, targets)
        return {"val_loss": total / targets} | {f"val_{name}": value for name, value in module.take_measures().items()}

    def _keep_company(self, task: Task) -> None:
        """Where the model is shared out, the others cannot use their part of it without this rank, which has one batch less."""
        if self._spec.compute.strategy == "fsdp":
            task.summed_loss({name: tensor.to(task.device) for name, tensor in self._held_out[0].items()})
            task.forget_measures()

    def _tell(self, trainer: lightning.Trainer, line: dict[str, Any]) -> None:
        rate = self._pace.rate(self._targets)
        total = self._spec.hyperparameters.max_steps
        self._feed.emit("train", total=total, targets_per_s=round(rate, 1), eta_s=round(self._pace.eta_s(self._step), 1), **line)
        if trainer.logger:
            numbers = {name: value for name, value in line.items() if name != "step"}
            trainer.logger.log_metrics(numbers | {"targets_per_s": rate}, step=self._step)

    def _save(self, trainer: lightning.Trainer) -> None:
        trainer.save_checkpoint(str(trainer.global_step))
        self._saved_at = time.monotonic()

    def _tell_landed(self) -> None:
        for step in self._states.landed():
            self._feed.emit("saved", step=step)
