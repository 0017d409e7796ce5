"""One training run, from its records to its checkpoint: load, train, recover, export."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import lightning
import torch
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy

from pe_training.core.errors import Kind, PeError
from pe_training.costs.ledger import spent
from pe_training.costs.rates import load_rates
from pe_training.datasets.record import DatasetVersion
from pe_training.manifests.record import ResolvedManifest
from pe_training.manifests.schema import Manifest
from pe_training.storage.state import State
from pe_training.training.base import load_tokenizer
from pe_training.training.data import Prepared, label_names, prepare
from pe_training.training.environment import environment
from pe_training.training.events import events, record_event, rollbacks
from pe_training.training.feed import Feed
from pe_training.training.identity import hardware_class, thread_count
from pe_training.training.keeper import Keeper, Spike
from pe_training.training.loader import Skip, StepLoader, Windows
from pe_training.training.memory import is_out_of_memory, micro_of, reference_micro, same_until
from pe_training.training.mirror import FencedLogger, wandb_mirror
from pe_training.training.precision import imitation, number_format
from pe_training.training.preference import Preference
from pe_training.training.ranks import Place, from_leader, place
from pe_training.training.record import Checkpoint, TrainingRun
from pe_training.training.reference import refer
from pe_training.training.schedule import Slowdown
from pe_training.training.sharding import Sharded, take_whole
from pe_training.training.start import start_model
from pe_training.training.states import StateStore
from pe_training.training.stops import Stops
from pe_training.training.tasks import CausalLM, Task, TextClassification
from pe_training.training.weights import export_model, tensors_digest, trained_tensors


@dataclass
class _Job:
    """Everything that the attempts of one process share."""

    run: TrainingRun
    manifest: ResolvedManifest
    state: State
    feed: Feed
    tokenizer: Any
    labels: list[str] | None
    data: Prepared
    states: StateStore
    stops: Stops
    logger: FencedLogger | None
    place: Place
    micro: int  # sequences a forward pass, in this attempt
    skips: list[Skip] = field(default_factory=list)
    slowdowns: list[Slowdown] = field(default_factory=list)

    @property
    def spec(self) -> Manifest:
        return self.manifest.spec

    @property
    def accumulation(self) -> int:
        """Forward passes of this rank per optimiser step."""
        return self.spec.hyperparameters.batch_size // (self.micro * self.place.ranks)


def execute(run: TrainingRun, manifest: ResolvedManifest, *, state: State, feed: Feed) -> Checkpoint:
    """Train from the newest intact state to the end and return the stored checkpoint.

    Raises stopped or budget (state saved), divergence, out_of_memory, data or input.
    """
    here = place()
    torch.set_num_threads(max(1, thread_count() // here.ranks))
    torch.use_deterministic_algorithms(True)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    try:
        return _execute(run, manifest, state=state, feed=feed, here=here)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        micro = micro_of(manifest.spec, events(state, run.id), step=manifest.spec.hyperparameters.max_steps)
        message = f"memory is not enough for {micro} of {manifest.spec.hyperparameters.max_length} tokens at a time"
        hint = "lower hyperparameters.max_length, or take a larger instance"
        raise PeError(Kind.OUT_OF_MEMORY, message, where=manifest.spec.compute.instance, hint=hint) from error


def _execute(run: TrainingRun, manifest: ResolvedManifest, *, state: State, feed: Feed, here: Place) -> Checkpoint:
    job = _prepare(run, manifest, state=state, feed=feed, here=here)
    if here.leads:
        for step in job.states.drop_damaged():
            feed.emit("note", text=f"the saved state of step {step} is damaged or gone: training goes on from one before it")
        noted = {"manifest": manifest.id, "environment": environment(state.settings).content()}
        record_event(state, run.id, "started" if job.states.newest_intact() is None else "resumed", noted)
    status = "failed"
    try:
        checkpoint = _train(job)
        status = "success"
    except (MemoryError, RuntimeError):
        job.states.settle()  # the next attempt, if this was a lack of memory, has another writer
        raise
    finally:
        if job.logger:
            job.logger.finish(status)
    return checkpoint


def _prepare(run: TrainingRun, manifest: ResolvedManifest, *, state: State, feed: Feed, here: Place) -> _Job:
    spec = manifest.spec
    stops = Stops(spec, spent_usd=spent(state, subject=run.id, step="training"), rates=load_rates(state.settings.rates_file))
    stops.listen()
    feed.emit("phase", name="load", total=spec.hyperparameters.max_steps)
    dataset = state.registry.get(run.dataset_id, DatasetVersion)
    tokenizer = load_tokenizer(spec.model, manifest.base, settings=state.settings)
    labels = label_names(dataset, spec.hyperparameters.label, state=state) if spec.hyperparameters.label else None
    states = StateStore(run.id, keep_last=spec.checkpoints.keep_last, every_steps=spec.checkpoints.every_steps, state=state)
    happened = events(state, run.id)
    ask = partial(
        refer, manifest=manifest, run_id=run.id, micro=reference_micro(spec, happened), pad_id=tokenizer.pad_token_id, here=here,
        stops=stops, state=state, feed=feed,
    )  # fmt: skip
    data = prepare(
        spec, dataset, tokenizer=tokenizer, labels=labels, state=state, refer=ask if spec.task == "preference" else None
    )  # fmt: skip
    feed.emit("data", used=data.used, left_out=data.left_out)
    if (slow := imitation(spec.compute.precision, hardware=run.hardware, here=hardware_class())) is not None:
        feed.emit("note", text=slow)
    return _Job(
        run=run, manifest=manifest, state=state, feed=feed, tokenizer=tokenizer, labels=labels, data=data, stops=stops, place=here,
        micro=micro_of(spec, happened, step=states.newest_intact() or 0), states=states,
        logger=wandb_mirror(
            run, manifest, folder=state.settings.root / "wandb", on_lost=lambda why: feed.emit("note", text=f"W&B mirror lost: {why}")
        ) if here.leads else None,
    )  # fmt: skip


def _train(job: _Job) -> Checkpoint:
    """Attempts, each from a saved state, until one reaches the end or recovery is exhausted."""
    for past in rollbacks(job.state, job.run.id):
        _apply_rollback(job, past)
    while True:
        try:
            if checkpoint := _attempt(job):
                return checkpoint
        except Spike as spike:
            _recover(job, spike)


def _attempt(job: _Job) -> Checkpoint | None:
    """Train from the newest state to the end; ``None`` if only to where the run went on in smaller parts."""
    spec, h = job.spec, job.spec.hyperparameters
    step, happened = job.states.newest_intact(), events(job.state, job.run.id)
    job.micro, until = micro_of(spec, happened, step=step or 0), same_until(spec, happened, step=step or 0)
    task = _build_task(job)
    keeper = Keeper(spec, held_out=job.data.held_out(job.micro), stops=job.stops, feed=job.feed, states=job.states, until=until)
    trainer = lightning.Trainer(
        max_steps=until, max_epochs=-1, accelerator="auto", precision=number_format(spec.compute.precision, hardware=job.run.hardware),
        accumulate_grad_batches=job.accumulation, gradient_clip_val=h.max_grad_norm, callbacks=[keeper],
        logger=job.logger or False, enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
        num_sanity_val_steps=0, limit_val_batches=0, deterministic=True, use_distributed_sampler=False,
        default_root_dir=job.state.settings.run_folder(job.run.id), **_strategy(job),
    )  # fmt: skip
    # Lightning's own SIGTERM handler would end with exit code 0, and calls the other ranks from wherever it interrupts.
    setattr(trainer._signal_connector, "register_signal_handlers", lambda: None)  # noqa: B010
    windows = Windows(
        order=job.data.order, collate=job.data.collate, targets=job.data.targets, tokens=job.data.tokens, lengths=job.data.lengths,
        sides=job.data.sides, batch_size=h.batch_size, micro=job.micro, rank=job.place.rank, ranks=job.place.ranks, skips=tuple(job.skips),
    )  # fmt: skip
    loader = StepLoader(windows, current_step=lambda: trainer.global_step, workers=spec.compute.workers, settle=job.states.settle)
    job.feed.emit("phase", name="train", total=h.max_steps, step=step or 0)
    trainer.fit(task, train_dataloaders=loader, ckpt_path=None if step is None else str(step))
    keeper.finish()
    if keeper.stopped:
        raise keeper.stopped
    if keeper.gave_up and job.place.leads:
        best = keeper.best.step if keeper.best else trainer.global_step
        record_event(job.state, job.run.id, "early_stopping", {"step": trainer.global_step, "of": h.max_steps, "kept_step": best})
    if trainer.global_step == until < h.max_steps and not keeper.gave_up:
        return None
    if trainer.global_step != h.max_steps and not keeper.gave_up:
        hint = f"see {job.state.settings.run_folder(job.run.id) / 'process.log'}"
        raise PeError(Kind.INFRASTRUCTURE, f"training ended at step {trainer.global_step} of {h.max_steps}", hint=hint)
    return _export(job, task, keeper)


def _strategy(job: _Job) -> dict[str, Any]:
    """How Lightning runs this process: alone, or as one of several that average their gradients, and share the model out or not."""
    if job.place.ranks == 1:
        return {"devices": 1, "plugins": [job.states]}
    ranks, plugins = job.place.ranks, [job.states, TorchElasticEnvironment()]
    strategy = Sharded(ranks=ranks) if job.spec.compute.strategy == "fsdp" else DDPStrategy()
    return {"devices": ranks // job.spec.compute.nodes, "num_nodes": job.spec.compute.nodes, "strategy": strategy, "plugins": plugins}


def _build_task(job: _Job) -> Task:
    spec = job.spec
    model = start_model(job.manifest, labels=job.labels, state=job.state)
    kind = {"causal_lm": CausalLM, "text_classification": TextClassification, "preference": Preference}[spec.task]
    learnt = {"auxiliary": job.data.auxiliary} if spec.hyperparameters.auxiliary else {}
    return kind(model, spec=spec, accumulation=job.accumulation, rank=job.place.rank, slowdowns=job.slowdowns, **learnt)


def _export(job: _Job, task: Task, keeper: Keeper) -> Checkpoint:
    job.feed.emit("phase", name="export", total=1)
    step, val_loss, tensors = _final(job, task, keeper)
    files = export_model(
        task.model, tensors, tokenizer=job.tokenizer, base=job.manifest.base, history=keeper.history,
        trace=keeper.trace.to_bytes(rolled_back=rollbacks(job.state, job.run.id)), artifacts=job.state.artifacts,
    )  # fmt: skip
    return Checkpoint(
        run_id=job.run.id, line=job.run.line, task=job.spec.model_task, base=job.manifest.base,
        format="peft-adapter" if job.spec.model.adapter else "full", step=step, weights=tensors_digest(tensors),
        val_loss_before=keeper.history[0]["val_loss"], val_loss=val_loss, content_files=files,
    )  # fmt: skip


def _final(job: _Job, task: Task, keeper: Keeper) -> tuple[int, float, dict[str, torch.Tensor]]:
    """Step, held-out loss and weights that become the model: the last, or the best, whose state was kept."""
    last = keeper.history[-1]
    if keeper.best is None or keeper.best.step == last["step"]:
        return last["step"], last["val_loss"], trained_tensors(task.model)
    best = keeper.best
    try:
        take_whole(task, job.states.load_checkpoint(best.step)["state_dict"])
    except PeError as error:
        if error.kind is not Kind.CORRUPT:
            raise
        job.states.forget_from(best.step)
        message = f"the state of step {best.step}, whose weights are the best, was damaged after it was stored"
        hint = "it was set aside; run the same command again: it is trained again from the state before it"
        raise PeError(Kind.INFRASTRUCTURE, message, where=error.where, hint=hint) from error
    return best.step, best.val_loss, trained_tensors(task.model)


def _recover(job: _Job, spike: Spike) -> None:
    """Roll back to the last good state, pass over the bad window and slow down; or give up, by name."""
    recovery = job.spec.recovery
    done = from_leader(job.place, lambda: len(rollbacks(job.state, job.run.id)))
    if recovery.on_spike == "stop" or done >= recovery.max_rollbacks:
        tried = f" after {done} rollbacks" if done else ""
        hint = "lower hyperparameters.learning_rate, or set recovery.on_spike to rollback"
        raise PeError(Kind.DIVERGENCE, f"{spike}{tried}", where=f"step {spike.step}", hint=hint) from spike
    good = from_leader(job.place, job.states.rewind)  # before it is noted: who is killed in between meets the same spike again
    event = {"spike_step": spike.step, "to_step": good, "loss": repr(spike.loss), "lr_factor": recovery.lr_factor}
    if job.place.leads:
        record_event(job.state, job.run.id, "rollback", event)
    job.feed.emit("note", text=f"{spike}: rolled back to step {good}, learning rate times {recovery.lr_factor:g}")
    _apply_rollback(job, event)


def _apply_rollback(job: _Job, event: dict[str, Any]) -> None:
    job.skips.append(Skip(from_step=event["to_step"], steps=event["spike_step"] - event["to_step"]))
    job.slowdowns.append(Slowdown(from_step=event["to_step"], factor=event["lr_factor"]))
