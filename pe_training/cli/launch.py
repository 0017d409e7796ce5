"""Start jobs of the graph from the command line, in this process, and hear why they failed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pe_training.datasets.catalog import ReleaseFolder
    from pe_training.manifests.record import ResolvedManifest
    from pe_training.storage.state import State

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def accept_release(release: ReleaseFolder, *, state: State) -> None:
    """Materialise ``dataset_version`` for a release. Raises refused with what failed."""
    from pe_training.datasets.catalog import partition_key

    _launch("accept_dataset", partitions="dataset_version", key=partition_key(release), state=state)


def run_chain(manifest: ResolvedManifest, *, state: State) -> None:
    """Materialise everything from the plan to the stages for a manifest. Raises whatever ended it."""
    _launch("train_and_promote", partitions="training_run", key=manifest.id, state=state)


def run_reproduction(manifest: ResolvedManifest, *, run_id: str, steps: int | None, anyway: bool, state: State) -> None:
    """Materialise ``reproduction`` for a run that the manifest asked for. Raises refused, or whatever ended it."""
    asked = {"run": run_id, "anyway": anyway} | ({"steps": steps} if steps else {})
    _launch("reproduce_run", partitions="training_run", key=manifest.id, state=state, config={"ops": {"reproduction": {"config": asked}}})


def _launch(job: str, *, partitions: str, key: str, state: State, config: Mapping[str, Any] = MappingProxyType({})) -> None:
    import warnings

    from dagster import PreviewWarning

    from pe_training.compute.dagster_home import open_instance
    from pe_training.definitions import defs
    from pe_training.storage.database import database_errors

    warnings.filterwarnings("ignore", category=PreviewWarning)  # about Dagster's own Pipes, which it calls itself
    with open_instance(state.settings) as instance:
        instance.add_dynamic_partitions(partitions, [key])
        found = defs().resolve_job_def(job)
        with database_errors(f"Dagster's state in {state.settings.dagster}"):
            found.execute_in_process(instance=instance, partition_key=key, run_config={**_QUIET, **config}, raise_on_error=True)
