"""Training from a shell: ``python -m pe_training.training MANIFEST.yaml``, with the storage URLs in the environment and no Dagster.

What the graph would do before (resolve, check, register) happens here, then the very process that the graph starts. So the run has the
same id and ends with the same checkpoint, and the graph finds it finished. The dataset must have been accepted before (`pe dataset add`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from pe_training.core.errors import Kind, PeError
from pe_training.manifests.plan import admit, make_plan
from pe_training.manifests.resolve import read_manifest, resolve
from pe_training.settings import Settings, be_quiet
from pe_training.storage.durable import world_error
from pe_training.storage.state import State
from pe_training.training.environment import changes_since_last_run
from pe_training.training.feed import FEED_FILE, read_feed
from pe_training.training.identity import plan_run
from pe_training.training.needs import require_machine
from pe_training.training.process import LOG_FILE, Work, died, run_process
from pe_training.training.record import Checkpoint


def train_alone(path: Path, *, work: Callable[[Work], None]) -> int:
    """Register the run that the manifest asks for, do ``work`` on it, say on the terminal what came of it. Returns the exit code."""
    be_quiet()
    with _terminal(1) as out, _terminal(2) as err:
        try:
            checkpoint = _train(path, work=work, out=out)
            out.write(f"{checkpoint.id} (step {checkpoint.step:,}, held-out loss {checkpoint.val_loss:.4f})\n")
            out.flush()
        except PeError as error:
            return _fail(error, err)
        except OSError as error:
            return _fail(world_error(error, doing="the operating system refused"), err)
        except KeyboardInterrupt:
            return _fail(PeError(Kind.STOPPED, "interrupted before training began", hint="run the same command again"), err)
    return 0


def _fail(error: PeError, err: TextIO) -> int:
    """Tell an error on the terminal; its exit code."""
    err.write(f"error: {error.where + ': ' if error.where else ''}{error.message}\n" + (f"  hint: {error.hint}\n" if error.hint else ""))
    return error.kind.exit_code


def _train(path: Path, *, work: Callable[[Work], None], out: TextIO) -> Checkpoint:
    state = State(Settings())
    manifest = resolve(read_manifest(path), state=state)
    run = plan_run(manifest)
    require_machine(manifest.spec)
    make_plan(manifest, run_id=run.id, environment=changes_since_last_run(manifest, state=state), state=state)  # what it refuses is refused
    admit(manifest, run_id=run.id, state=state)
    for record in (manifest, run):
        state.registry.put(record)
    feed = state.settings.run_folder(run.id) / FEED_FILE
    before = feed.stat().st_size if feed.exists() else 0
    out.write(f"{run.id}, asked for by {manifest.id}; log and progress in {feed.parent}\n")
    out.flush()
    ended: list[PeError] = []  # how the work ended: the feed could not be told of it where the disk is full

    def listened(given: Work) -> None:
        try:
            work(given)
        except PeError as error:
            ended.append(error)
            raise

    if code := run_process([run.id, manifest.id], work=listened):
        said = [PeError.from_json(event["error"]) for _, event in read_feed(feed, offset=before) if event["event"] == "error"]
        raise [*said, *ended, *([] if said or ended else [died(code, what="training", log=str(feed.parent / LOG_FILE))])][-1]
    return state.registry.the_answer(run.id, Checkpoint)


def _terminal(descriptor: int) -> TextIO:
    """A stream that stays on the terminal when the working process sends its output into its log."""
    return os.fdopen(os.dup(descriptor), "w", encoding="utf-8", errors="replace")
