"""Curves for Weights & Biases, through Lightning's logger, behind a fence.

W&B has been seen to hold a finished run for over forty seconds and to crash on an empty answer. The registry is the truth
and W&B a mirror, so everything here happens on a daemon thread with a bounded queue: training only ever enqueues, a full
queue drops points, an exception ends the mirror, and the end waits for a few seconds at most.
"""

from __future__ import annotations

import queue
import threading
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger

from pe_training.core.ids import short
from pe_training.manifests.record import ResolvedManifest
from pe_training.training.record import TrainingRun

FINISH_TIMEOUT_S = 10.0
QUEUE_POINTS = 10_000


class FencedLogger(Logger):
    """A Lightning logger that hands every call to another one on a thread of its own."""

    def __init__(self, make: Callable[[], Logger], *, on_lost: Callable[[str], None]) -> None:
        """``on_lost`` is told once, with a reason, when the mirror stops working."""
        super().__init__()
        self._make, self._on_lost = make, on_lost
        self._queue: queue.Queue[tuple[str, dict[str, Any]] | None] = queue.Queue(maxsize=QUEUE_POINTS)
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """Lightning's name for the logger."""
        return "mirror"

    @property
    def version(self) -> str:
        """Lightning's version of the logger."""
        return "1"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Enqueue a point of every curve."""
        self._enqueue("log_metrics", {"metrics": metrics, "step": step})

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Enqueue the configuration."""
        self._enqueue("log_hyperparams", {"params": params})

    def finish(self, status: str) -> None:
        """Deliver what can be delivered within the time allowed; called once, after training."""
        self._enqueue("finalize", {"status": status})
        self._enqueue_end()
        self._thread.join(FINISH_TIMEOUT_S)
        if self._thread.is_alive():
            self._on_lost(f"did not finish within {FINISH_TIMEOUT_S:g} s; the offline files stay")

    def _enqueue(self, method: str, arguments: dict[str, Any]) -> None:
        try:
            self._queue.put_nowait((method, arguments))
        except queue.Full:
            return  # a slow mirror loses points, never time

    def _enqueue_end(self) -> None:
        try:
            self._queue.put(None, timeout=1.0)
        except queue.Full:
            return

    def _work(self) -> None:
        try:
            logger = self._make()
            while (item := self._queue.get()) is not None:
                method, arguments = item
                getattr(logger, method)(**arguments)
                if method == "finalize":
                    self._close(logger)
        except Exception as error:  # noqa: BLE001 (the fence: whatever a mirror raises must stay on this side)
            self._on_lost(f"{type(error).__name__}; curves are still in the run's history")

    @staticmethod
    def _close(logger: Logger) -> None:
        experiment = getattr(logger, "experiment", None)
        if experiment is not None and hasattr(experiment, "finish"):
            experiment.finish()


def wandb_mirror(run: TrainingRun, manifest: ResolvedManifest, *, folder: Path, on_lost: Callable[[str], None]) -> FencedLogger | None:
    """The mirror that the manifest asks for, or ``None``."""
    wanted = manifest.spec.tracking.wandb
    if wanted is None:
        return None

    def make() -> Logger:
        import wandb
        from lightning.pytorch.loggers import WandbLogger

        folder.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(
            console="off", silent=True, disable_git=True, init_timeout=10, x_disable_machine_info=True,
            x_graphql_retry_max=1, x_file_stream_retry_max=1, x_file_transfer_retry_max=1,
        )  # fmt: skip
        logger = WandbLogger(
            project=wanted.project, id=run.id, name=f"{run.line} {short(run.id)}", group=run.line, save_dir=folder,
            offline=wanted.mode == "offline", settings=settings, log_model=False,
        )  # fmt: skip
        logger.log_hyperparams({"manifest": manifest.id, "run": run.id, "dataset": run.dataset_id, "code": run.code, **run.recipe})
        return logger

    return FencedLogger(make, on_lost=on_lost)
