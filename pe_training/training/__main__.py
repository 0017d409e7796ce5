"""The training process: ``python -m pe_training.training RUN MANIFEST``. The same on every compute target.

It needs two ids and the storage URLs; everything else it reads from the registry. It reports through its progress feed,
through Dagster Pipes when Dagster started it, and through its exit code: 0 only when the checkpoint is registered. From a shell it can be
handed a manifest's path instead (alone.py).
"""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from pe_training.core.errors import Kind, PeError
from pe_training.costs.ledger import settling
from pe_training.costs.rates import load_rates
from pe_training.datasets.gate import require_trainable, require_untainted
from pe_training.datasets.record import DatasetVersion
from pe_training.manifests.record import ResolvedManifest
from pe_training.storage.keys import signing_key
from pe_training.storage.locks import exclusive
from pe_training.storage.signatures import put_signed
from pe_training.storage.state import State
from pe_training.training.alone import train_alone
from pe_training.training.events import events, record_event
from pe_training.training.memory import OUT_OF_MEMORY, smaller_micro
from pe_training.training.process import Work, end_with_parent, run_process
from pe_training.training.ranks import launch, launcher, place
from pe_training.training.record import Checkpoint, TrainingRun

MODULE = "pe_training.training"  # what a compute target starts, and what the lock says is being done


def train(work: Work) -> None:
    """Train the run unless its checkpoint exists; hold the run's lock meanwhile. Raises refused for data that may not be used."""
    state, feed = work.state, work.feed
    run_id, manifest_id = work.arguments
    run = state.registry.get(run_id, TrainingRun)
    manifest = state.registry.get(manifest_id, ResolvedManifest)
    _require_trainable(run, manifest, state=state)
    signing_key(state.settings)  # one that cannot be used is refused before the work, not after it
    if state.registry.answer(run_id, Checkpoint):
        return  # also while a reproduction of it holds the lock
    lock = state.settings.root / "locks" / f"{run_id}.lock"
    with exclusive(lock, busy=f"the training run {run_id} is already under way", doing=MODULE):
        if state.registry.answer(run_id, Checkpoint):
            return
        try:
            _train_in_parts_that_fit(work, manifest)
        except PeError as error:
            stopped = error.kind in {Kind.STOPPED, Kind.BUDGET}
            record_event(state, run_id, "stopped" if stopped else "failed", {"kind": error.kind.value, "message": error.message})
            raise
        checkpoint = state.registry.the_answer(run_id, Checkpoint)
        record_event(state, run_id, "finished", {"checkpoint": checkpoint.id})
        feed.emit("done", checkpoint=checkpoint.id)


def _train_in_parts_that_fit(work: Work, manifest: ResolvedManifest) -> None:
    """Train; where the memory is not enough, again from the last saved state, in micro-batches of half the size."""
    run_id, spec = work.arguments[0], manifest.spec
    rates = load_rates(work.state.settings.rates_file)
    while True:
        try:
            # Settled each time, so that the next part knows what is left of the budget.
            with settling(work.state, subject=run_id, step="training", instance=spec.compute.instance, rates=rates):
                if spec.compute.ranks > 1:
                    launch(work.arguments, ranks=spec.compute.ranks, state=work.state, feed=work.feed)
                else:
                    train_here(work)
        except PeError as error:
            if error.kind is not Kind.OUT_OF_MEMORY:
                raise
            step = _step_to_go_on_from(work)
            smaller = smaller_micro(spec, events(work.state, run_id), step=step)
            if smaller is None:
                raise
            body = {"micro": smaller, "from_step": step, "reference": spec.task == "preference" and not _has_asked_the_reference(work)}
            record_event(work.state, run_id, OUT_OF_MEMORY, body)
            work.feed.emit("note", text=f"the memory was not enough: going on with {smaller} sequences a forward pass")
        else:
            return
        gc.collect()  # the frames of the error held the tensors


def _step_to_go_on_from(work: Work) -> int:
    from pe_training.training.states import StateStore

    return StateStore(work.arguments[0], keep_last=1, state=work.state).newest_intact() or 0


def _has_asked_the_reference(work: Work) -> bool:
    from pe_training.training.reference import kept_answers

    return kept_answers(work.arguments[0], state=work.state) is not None


def _require_trainable(run: TrainingRun, manifest: ResolvedManifest, *, state: State) -> None:
    for version in sorted({run.dataset_id, manifest.spec.dataset.version}):
        require_trainable(state.registry.get(version, DatasetVersion), state=state, route="training", subject=run.id)
    if manifest.spec.model.parent:
        require_untainted(manifest.spec.model.parent, state=state, route="training")


def train_here(work: Work) -> None:
    """Train in this process, which is the only one or one of several ranks, and store the checkpoint."""
    from pe_training.training.execute import execute

    run_id, manifest_id = work.arguments
    run = work.state.registry.get(run_id, TrainingRun)
    manifest = work.state.registry.get(manifest_id, ResolvedManifest)
    _require_trainable(run, manifest, state=work.state)  # again: a rank can be started by others than us
    checkpoint = execute(run, manifest, state=work.state, feed=work.feed)
    if place().leads:
        put_signed(checkpoint, state=work.state)


def main(words: Sequence[str]) -> int:
    """The exit code of what the command line asks for."""
    match words:
        case [path] if not path.startswith("-"):
            return train_alone(Path(path), work=train)
        case [run, manifest] if run.startswith(f"{TrainingRun.kind}_"):
            try:
                return run_process([run, manifest], work=train)
            except PeError as error:  # there is no folder to tell it in
                sys.stderr.write(f"{error}\n")
                return error.kind.exit_code
    sys.stderr.write("usage: python -m pe_training.training MANIFEST.yaml, or RUN MANIFEST by their ids\n")
    return Kind.INPUT.exit_code


if __name__ == "__main__":
    if (parent := launcher()) is not None:
        end_with_parent(signal.SIGKILL, parent=parent)
    sys.exit(main(sys.argv[1:]))
