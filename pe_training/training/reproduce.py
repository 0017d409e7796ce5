"""Do a run again and compare: ``python -m pe_training.training.reproduce RUN MANIFEST [--steps N] [--anyway]``.

Training is a process of its own, started as every training is, in a scratch home (scratch.py). This process waits, passes its progress
on, reads what both runs left, and keeps the outcome as an event of the run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.costs.ledger import settling
from pe_training.costs.rates import load_rates
from pe_training.datasets.gate import require_trainable, require_untainted
from pe_training.datasets.record import DatasetVersion
from pe_training.manifests.record import ResolvedManifest
from pe_training.settings import environment_of_a_part
from pe_training.storage import tables as t
from pe_training.storage.locks import exclusive
from pe_training.storage.state import State
from pe_training.training.compare import Evidence, compare, read_trace
from pe_training.training.environment import changes, environment, recorded
from pe_training.training.events import events, rollbacks
from pe_training.training.feed import FEED_FILE, Feed, read_feed
from pe_training.training.memory import sizes
from pe_training.training.process import Work, run_process
from pe_training.training.ranks import LAUNCHER
from pe_training.training.record import HISTORY_FILE, TRACE_FILE, Checkpoint, TrainingRun, weight_files
from pe_training.training.reproduction import TOLERANCE, Reproduction, differences, keep, measured_class, require_same_class
from pe_training.training.scratch import open_scratch

POLL_S = 0.05
_OURS = {"alive", "error", "done"}  # of the training process; this one says its own


def reproduce(work: Work) -> None:
    """Do the run again and keep the outcome. Raises refused, the error of a training that failed, or stopped."""
    asked = _arguments(work.arguments)
    state, feed = work.state, work.feed
    with exclusive(_lock(state, asked.run), busy=f"the training run {asked.run} is under way"):
        run, manifest = state.registry.get(asked.run, TrainingRun), state.registry.get(asked.manifest, ResolvedManifest)
        require_reproducible(run, manifest, state=state)
        if not asked.anyway:
            require_same_class(state, run)
        rates = load_rates(state.settings.rates_file)
        with settling(state, subject=run.id, step="reproduction", instance=manifest.spec.compute.instance, rates=rates), _stopping():
            _clear_after_the_dead(state)
            folder = state.settings.run_folder(run.id) / "reproduction"
            scratch, its = open_scratch(folder, run, manifest, state=state)
            try:
                error = train_again(run, its, scratch=scratch, feed=feed, steps=asked.steps)
                feed.emit("phase", name="compare", total=1)
                outcome = outcome_of(run, manifest, scratch=scratch, state=state, steps=asked.steps, error=error)
                keep(state, run.id, outcome)
            finally:  # of one that failed, the log is wanted and the states are not
                scratch.registry.close()
                _clear(folder)
            shutil.rmtree(folder)
    feed.emit("done", identical=outcome.identical, determinism=outcome.determinism)


def _clear(folder: Path) -> None:
    """Remove what is large in a scratch home; the log stays."""
    for large in ("artifacts", "cache"):
        shutil.rmtree(folder / large, ignore_errors=True)


def _clear_after_the_dead(state: State) -> None:
    """A reproduction that was killed could not tidy up behind itself; whoever holds its run's lock is alive."""
    for left in state.settings.root.glob("runs/*/reproduction/artifacts"):
        folder = left.parent
        with suppress(PeError), exclusive(_lock(state, folder.parent.name), busy="it is alive", patience_s=0):
            _clear(folder)


def _lock(state: State, run_id: str) -> Path:
    return state.settings.root / "locks" / f"{run_id}.lock"


def require_reproducible(run: TrainingRun, manifest: ResolvedManifest, *, state: State) -> None:
    """Refuse data that is recalled or no longer accepted, and a run that has not ended. Raises refused."""
    require_untainted(run.id, state=state, route="reproduction")
    for version in sorted({run.dataset_id, manifest.spec.dataset.version}):
        require_trainable(state.registry.get(version, DatasetVersion), state=state, route="reproduction", subject=run.id)
    if state.registry.answer(run.id, Checkpoint) is None:
        raise PeError(
            Kind.REFUSED, f"{short(run.id)} has not ended, so there is nothing to compare with", where=run.id, hint="run it first"
        )


def train_again(run: TrainingRun, manifest: ResolvedManifest, *, scratch: State, feed: Feed, steps: int | None) -> PeError | None:
    """Train in the scratch home to the end, or until ``steps`` are done. Returns divergence, which is an outcome; raises other errors."""
    said = scratch.settings.run_folder(run.id) / FEED_FILE
    command = [sys.executable, "-m", "pe_training.training", run.id, manifest.id]
    with _child(command, environment_of_a_part() | scratch.settings.child_environment()) as child:
        error, enough = _listen(child, said, feed=feed, steps=steps)
    if child.returncode == 0 or (enough and error is not None and error.kind is Kind.STOPPED):
        return None
    if error is not None and error.kind is Kind.DIVERGENCE:
        return error
    hint = "nothing is recorded; run the same command again"
    raise error or PeError(Kind.INFRASTRUCTURE, f"the training ended with exit code {child.returncode}", where=str(said.parent), hint=hint)


def _listen(child: subprocess.Popen[bytes], said: Path, *, feed: Feed, steps: int | None) -> tuple[PeError | None, bool]:
    """Pass progress on until the child has ended; ask it to stop once ``steps`` are done. Its error, and whether it was asked."""
    error, enough, offset = None, False, 0
    ended = False
    while not ended:
        ended = child.poll() is not None
        for end, event in read_feed(said, offset=offset):
            offset = end
            if event["event"] == "error":
                error = PeError.from_json(event["error"])
            elif event["event"] not in _OURS:
                feed.emit(**event)
            if steps is not None and event["event"] == "train" and event["step"] >= steps and not enough:
                enough = True
                child.send_signal(signal.SIGTERM)
        time.sleep(0 if ended else POLL_S)
    return error, enough


def outcome_of(
    run: TrainingRun, manifest: ResolvedManifest, *, scratch: State, state: State, steps: int | None = None, error: PeError | None = None
) -> Reproduction:
    """What comes of comparing the run with what the scratch home holds of it."""
    again = evidence_of(scratch, run.id)
    comparison = compare(evidence_of(state, run.id), again, steps=steps)
    differs = differences(state, run)
    smaller = sizes(events(scratch, run.id))[len(sizes(events(state, run.id))) :]  # here memory was enough only for these
    whole = again.weights is not None and comparison.weights is not None
    before, today = recorded(state, run.id), environment(state.settings)
    return Reproduction(
        manifest_id=manifest.id,
        ended=_ended(error, again, smaller=smaller),
        comparison=comparison,
        tolerance=TOLERANCE,
        diverged=error is not None,
        determinism=measured_class(comparison, whole=whole, comparable=not differs and not smaller, diverged=error is not None),
        differs=differs,
        environment=changes(before, today) if before else (),
    )


def _ended(error: PeError | None, again: Evidence, *, smaller: Sequence[tuple[int, int]]) -> str:
    how = error.message if error else "finished" if again.weights else f"stopped after {len(again.loss)} steps, as was asked"
    memory = ", ".join(f"from step {begins} on {micro} at a time" for begins, micro in smaller)
    return f"{how}; here memory was not enough for the run's parts ({memory}), so sums differ in their last bits" if smaller else how


def evidence_of(state: State, run_id: str) -> Evidence:
    """What a run left: in its checkpoint if it ended, else in its newest saved state."""
    checkpoint = state.registry.answer(run_id, Checkpoint)
    taken_back = rollbacks(state, run_id)
    if checkpoint is None:
        return _saved_evidence(state, run_id, taken_back)
    files = {file.path: file.digest for file in checkpoint.content_files}
    names, loss, norms = read_trace(state.artifacts.get(files[TRACE_FILE]))
    history = [json.loads(line) for line in state.artifacts.get(files[HISTORY_FILE]).splitlines()]
    return Evidence(
        names=names, loss=loss, norms=norms, history=history, rollbacks=taken_back, weights=checkpoint.weights,
        weight_files=lambda: [state.artifacts.local_path(file.digest) for file in weight_files(checkpoint.content_files)],
    )  # fmt: skip


def _saved_evidence(state: State, run_id: str, taken_back: Sequence[dict[str, Any]]) -> Evidence:
    from pe_training.training.packing import unpack

    s = t.run_states.c
    with state.registry.reading() as connection:
        digest = connection.execute(sa.select(s.digest).where(s.run_id == run_id).order_by(s.step.desc()).limit(1)).scalar()
    if digest is None:
        raise PeError(Kind.INFRASTRUCTURE, f"{short(run_id)} left no state to compare", where=run_id, hint="run the same command again")
    kept = unpack(state.artifacts.get(digest))["callbacks"]["keeper"]
    rows = kept["trace"]["rows"].numpy()
    return Evidence(names=kept["trace"]["names"], loss=rows[:, 0], norms=rows[:, 1:], history=kept["history"], rollbacks=taken_back)


@contextmanager
def _child(command: Sequence[str], variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with this one, whatever ends it."""
    child = subprocess.Popen(command, env=variables | {LAUNCHER: str(os.getpid())}, stdin=subprocess.DEVNULL)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@contextmanager
def _stopping() -> Iterator[None]:
    """While inside, SIGTERM and SIGINT end the reproduction by name; a second one waits for the first."""

    def stop(number: int, _frame: FrameType | None) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        raise PeError(
            Kind.STOPPED,
            f"the reproduction was stopped by {signal.Signals(number).name}",
            hint="nothing is recorded; it can be asked for again",
        )

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pe_training.training.reproduce")
    parser.add_argument("run")
    parser.add_argument("manifest")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--anyway", action="store_true")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(run_process(sys.argv[1:], work=reproduce))
