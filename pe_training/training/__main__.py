"""The training process: ``python -m pe_training.training RUN MANIFEST``. The same on every compute target.

It needs two ids and the storage URLs; everything else it reads from the registry. It reports through its progress feed,
through Dagster Pipes when Dagster started it, and through its exit code: 0 only when the checkpoint is registered.
"""

from __future__ import annotations

import sys

from pe_training.datasets.gate import require_trainable, require_untainted
from pe_training.datasets.record import DatasetVersion
from pe_training.manifests.record import ResolvedManifest
from pe_training.storage.locks import exclusive
from pe_training.training.events import record_event
from pe_training.training.feed import Feed
from pe_training.training.process import Work, run_process
from pe_training.training.record import Checkpoint, TrainingRun


def train(work: Work) -> None:
    """Train the run unless its checkpoint exists; hold the run's lock meanwhile. Raises refused for data that may not be used."""
    state, feed = work.state, work.feed
    run_id, manifest_id = work.arguments
    lock = state.settings.root / "locks" / f"{run_id}.lock"
    with exclusive(lock, busy=f"the training run {run_id} is already under way"):
        run = state.registry.get(run_id, TrainingRun)
        manifest = state.registry.get(manifest_id, ResolvedManifest)
        for version in sorted({run.dataset_id, manifest.spec.dataset.version}):
            dataset = state.registry.get(version, DatasetVersion)
            require_trainable(dataset, state=state, route="training", subject=run_id)
        if manifest.spec.model.parent:
            require_untainted(manifest.spec.model.parent, state=state, route="training")
        if state.registry.answer(run_id, Checkpoint):
            return
        checkpoint = _execute(run, manifest, work=work, feed=feed)
        state.registry.put(checkpoint)
        record_event(state, run_id, "finished", {"checkpoint": checkpoint.id})
        feed.emit("done", checkpoint=checkpoint.id)


def _execute(run: TrainingRun, manifest: ResolvedManifest, *, work: Work, feed: Feed) -> Checkpoint:
    from pe_training.core.errors import Kind, PeError
    from pe_training.training.execute import execute

    try:
        return execute(run, manifest, state=work.state, feed=feed)
    except PeError as error:
        stopped = error.kind in {Kind.STOPPED, Kind.BUDGET}
        record_event(work.state, run.id, "stopped" if stopped else "failed", {"kind": error.kind.value, "message": error.message})
        raise


if __name__ == "__main__":
    sys.exit(run_process(sys.argv[1:], work=train))
