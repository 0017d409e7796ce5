"""A home with data that must not be trained on, every record that somebody could start from, and Dagster served as its UI sees it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster_graphql.test.utils import execute_dagster_graphql

from pe_training.datasets.accept import accept
from pe_training.datasets.recall import Selector
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.seal import seal
from pe_training.evaluation.request import evaluation_request
from pe_training.evaluation.suites import suite_prompts
from pe_training.lineage.recall import recall
from pe_training.manifests.record import ResolvedManifest
from pe_training.manifests.resolve import read_manifest, resolve
from pe_training.settings import SAMPLES, Settings
from pe_training.storage.state import State
from pe_training.training.identity import plan_run
from pe_training.training.record import Checkpoint
from pe_training_tests.datasets.samples import read
from pe_training_tests.e2e.chain import SMOKE
from pe_training_tests.lineage import recalling
from pe_training_tests.promotion import factory as promotion
from pe_training_tests.releases import build_release

RELEASE = SAMPLES / "releases" / "sample-dialogues" / "v2026-11-23"
LINE = "talks"
LAUNCH = """mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
BACKFILL = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
AGAIN = """mutation($params: ReexecutionParams!) { launchPipelineReexecution(reexecutionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A version that must not be trained on, and what somebody has of it."""

    dataset: DatasetVersion
    manifest: ResolvedManifest
    message: str

    @property
    def run(self) -> str:
        """The run that the manifest asks for."""
        return plan_run(self.manifest).id


@dataclass(frozen=True, kw_only=True)
class Forbidden:
    """``models``: two on the recalled version, the second holds staging. ``waiting``: a manifest of it whose report is not judged."""

    state: State
    cases: dict[str, Case]
    models: list[recalling.Model]
    waiting: ResolvedManifest
    waiting_checkpoint: Checkpoint


def prepare(home: Path, releases: Path) -> Forbidden:
    """All of it, before the recall. Nothing is trained."""
    state = State(Settings(home=home))
    dataset = accept(RELEASE, suites=suite_prompts(state.settings.suite_folder), state=state).sealed()
    manifest = resolve(read_manifest(SMOKE), state=state)
    by_hand = read(build_release(releases / "talks" / "v1", recalling.rows_of("one"), name="talks", version="v1"))
    unaccepted = seal(by_hand.rows, name="talks", store=state.artifacts)
    state.registry.put(unaccepted)
    other = manifest.model_copy(
        update={"spec": manifest.spec.model_copy(update={"dataset": manifest.spec.dataset.model_copy(update=_ref(unaccepted))})}
    )
    for found in (manifest, other):
        state.registry.put(found)
        state.registry.put(plan_run(found))
    waiting, checkpoint = _unjudged(state, manifest)
    short = dataset.id[:13]
    messages = {
        "recalled": f"{short} is recalled: recall 1 of version {short} (consent was withdrawn)",
        "unaccepted": f"{unaccepted.id[:13]} of talks has no accepted release, so nothing may be trained on it",
    }
    return Forbidden(
        state=state,
        cases={
            "recalled": Case(dataset=dataset, manifest=manifest, message=messages["recalled"]),
            "unaccepted": Case(dataset=unaccepted, manifest=other, message=messages["unaccepted"]),
        },
        models=[recalling.model(state, dataset, seed, line=LINE) for seed in (1, 2)],
        waiting=waiting,
        waiting_checkpoint=checkpoint,
    )


def withdraw(world: Forbidden) -> None:
    """The recall."""
    version = Selector(kind="version", value=world.cases["recalled"].dataset.id)
    recall(world.state, version, reason="consent was withdrawn", actor="ada")


def _ref(dataset: DatasetVersion) -> dict[str, str]:
    return {"name": dataset.name, "version": dataset.id}


def _unjudged(state: State, manifest: ResolvedManifest) -> tuple[ResolvedManifest, Checkpoint]:
    """A manifest that was trained and evaluated, as records; its decision is missing."""
    asked = manifest.model_copy(update={"spec": manifest.spec.model_copy(update={"seed": 18})})
    run = plan_run(asked)
    weights = promotion.kept(state, "adapter_model.safetensors", b"weights that wait")
    checkpoint = Checkpoint(
        run_id=run.id, line=asked.spec.name, task="causal_lm", base=asked.base, format="full", step=2, weights=weights.digest,
        val_loss_before=3.0, val_loss=2.5, content_files=(weights, promotion.kept(state, "config.json", b"{}")),
    )  # fmt: skip
    question = evaluation_request(checkpoint, asked)
    report = promotion.make_report(state, checkpoint, asked).model_copy(update={"request": question})
    for record in (asked, run, checkpoint, report):
        state.registry.put(record)
    return asked, checkpoint


@dataclass(frozen=True, kw_only=True)
class Served:
    """A real Dagster instance with the code location loaded, asked through the GraphQL that the UI sends."""

    instance: dg.DagsterInstance
    context: Any

    def materialise(self, asset: str, partition: str) -> dg.DagsterRun:
        """Materialize on an asset's page; returns the ended run."""
        params = {
            "selector": _selector() | {"pipelineName": "__ASSET_JOB", "assetSelection": [{"path": [asset]}]},
            "mode": "default",
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
        }
        return self._ended(self._ask(LAUNCH, params)["launchPipelineExecution"])

    def again(self, run: dg.DagsterRun, strategy: str) -> dg.DagsterRun:
        """Re-execute on a run's page."""
        params = {"parentRunId": run.run_id, "strategy": strategy}
        return self._ended(self._ask(AGAIN, params)["launchPipelineReexecution"])

    def backfill(self, asset: str, partitions: list[str]) -> list[dg.DagsterRun]:
        """Materialize several partitions, and the daemon's work on that; returns the runs it made."""
        params = {"partitionNames": partitions, "assetSelection": [{"path": [asset]}]}
        made = self._ask(BACKFILL, params)["launchPartitionBackfill"]
        assert made["__typename"] == "LaunchBackfillSuccess", made
        for _ in range(3):
            list(execute_backfill_iteration(self.context, logging.getLogger("backfill")))
        queued = self.instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": made["backfillId"]}))
        return [self._launched(run.run_id) for run in queued]

    def _ask(self, query: str, params: dict[str, Any]) -> Any:
        answer = execute_dagster_graphql(self._request(), query, {"params": params})
        assert not answer.errors, answer.errors
        return answer.data

    def _request(self) -> Any:
        return self.context.create_request_context()

    def _ended(self, made: Any) -> dg.DagsterRun:
        assert made["__typename"] == "LaunchRunSuccess", made
        return self._launched(made["run"]["runId"])

    def _launched(self, run_id: str) -> dg.DagsterRun:
        """What the daemon does with a run that waits in its queue."""
        self.instance.launch_run(run_id, self._request())
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        assert run.is_finished, run.status
        return run


@contextmanager
def served(partitions: list[str]) -> Iterator[Served]:
    """Dagster over ``PE_HOME``; runs are executed in this process, one after another."""
    launcher = {"module": SyncInMemoryRunLauncher.__module__, "class": SyncInMemoryRunLauncher.__name__}
    with dg.instance_for_test(overrides={"run_launcher": launcher}) as instance:
        instance.add_dynamic_partitions("training_run", partitions)
        target = ModuleTarget("pe_training.definitions", None, None, "pe_training")
        with create_test_daemon_workspace_context(target, instance) as context:
            yield Served(instance=instance, context=context)


def _selector() -> dict[str, Any]:
    return {"repositoryLocationName": "pe_training", "repositoryName": "__repository__"}
