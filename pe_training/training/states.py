"""Resumable states of a run: written beside training, verified on read, kept by rule.

Lightning's own writer leaves a torn file after a kill, loses the last good one on a full disk, and stops training while it writes. Here
training stands still while a state is copied in memory; a thread hashes and writes it. A state is one artifact under its digest, and a
registry row points at it: bytes first, then facts, so whatever is killed, what the registry names is whole.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import sqlalchemy as sa
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO

from pe_training.core.errors import Kind, PeError
from pe_training.storage import tables as t
from pe_training.storage.state import State
from pe_training.training.packing import Camera, Snapshot, unpack


class StateStore(CheckpointIO):
    """Lightning's checkpoint seam over artifacts and registry. A path is a step: ``"40"``."""

    def __init__(self, run_id: str, *, keep_last: int, state: State, every_steps: int = 1) -> None:
        """``every_steps``: whose multiples every run of the recipe saves; others are saved for a stop or by the clock."""
        self._run_id, self._keep_last, self._every_steps, self._state = run_id, keep_last, every_steps, state
        self._camera = Camera()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="state-writer")
        self._writing: Future[int] | None = None
        self._landed: list[int] = []
        self.best: int | None = None  # the step whose state is kept whatever comes after

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Copy a state and have it written. Waits for the one before, and raises what went wrong with it."""
        self.settle()
        self._writing = self._writer.submit(self._write, self._camera.take(checkpoint), int(path), self.best)

    def settle(self) -> None:
        """Wait until everything that was saved is durable. Raises what went wrong with it."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self._landed.append(writing.result())

    def landed(self) -> list[int]:
        """The steps whose states have become durable since this was last asked."""
        if self._writing is not None and self._writing.done():
            self.settle()
        landed, self._landed = self._landed, []
        return landed

    def _write(self, snapshot: Snapshot, step: int, best: int | None) -> int:
        """Store a state, point at it, then forget those that no rule keeps."""
        digest = self._state.artifacts.put_stream(snapshot.chunks())
        s = t.run_states
        with self._state.registry.writing() as connection:
            connection.execute(sa.delete(s).where(s.c.run_id == self._run_id, s.c.step == step))
            connection.execute(sa.insert(s).values(run_id=self._run_id, step=step, digest=digest))
        saved = [found for found, _ in self.saved()]
        regular = next((found for found in saved if found % self._every_steps == 0), None)  # to go back to, see `rewind`
        self._forget([found for found in saved[self._keep_last :] if found not in {best, regular}])
        return step

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> dict[str, Any]:
        """The verified state of a step."""
        self.settle()
        digest = dict(self.saved())[int(path)]
        return dict(unpack(self._state.artifacts.get(digest)))

    def remove_checkpoint(self, path: Any) -> None:
        """Unused: the rules decide."""
        raise AssertionError(path)

    def saved(self) -> list[tuple[int, str]]:
        """``(step, digest)`` of every state kept, newest first."""
        s = t.run_states.c
        query = sa.select(s.step, s.digest).where(s.run_id == self._run_id).order_by(s.step.desc())
        with self._state.registry.reading() as connection:
            return [(int(row.step), str(row.digest)) for row in connection.execute(query)]

    def newest_intact(self, *, every_steps: int = 1) -> int | None:
        """Step of the newest state whose bytes are what they were, among multiples of ``every_steps``; damaged ones are passed over."""
        self.settle()
        for step, digest in self.saved():
            if step % every_steps:
                continue
            try:
                self._state.artifacts.verify(digest)
            except PeError as error:
                if error.kind is not Kind.CORRUPT:
                    raise
            else:
                return step
        return None

    def drop_damaged(self) -> list[int]:
        """Forget the states after the newest intact one, and return their steps.

        Each would count as the one to keep, and so drive out what is saved while training comes by its step again.
        """
        intact = self.newest_intact()
        damaged = [step for step, _ in self.saved() if intact is None or step > intact]
        self._forget(damaged)
        return damaged

    def rewind(self) -> int:
        """Drop what was saved after the newest intact state that every run of the recipe has, and return its step; 0 if there is none.

        A stop or a clock may have saved a later one. Going on from that would make the weights depend on when somebody stopped the run.
        """
        step = self.newest_intact(every_steps=self._every_steps)
        self.forget_from(0 if step is None else step + 1)
        return step or 0

    def forget_from(self, step: int) -> None:
        """Drop the state of ``step`` and all after it: what comes from a damaged one is trained again."""
        self.settle()
        self._forget([found for found, _ in self.saved() if found >= step])

    def _forget(self, steps: list[int]) -> None:
        """Pointers before bytes; bytes that a record or another state also holds stay."""
        s, a = t.run_states, t.attachments
        for step, digest in [(step, digest) for step, digest in self.saved() if step in steps]:
            with self._state.registry.writing() as connection:
                connection.execute(sa.delete(s).where(s.c.run_id == self._run_id, s.c.step == step))
                needed = connection.execute(
                    sa.select(sa.exists().where(s.c.digest == digest) | sa.exists().where(a.c.digest == digest))
                ).scalar()
            if not needed:
                self._state.artifacts.delete(digest)
