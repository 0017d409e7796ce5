"""Every way by which somebody could train on data that must not be used, or ship what was made of it: refused, and remembered.

One home holds a version that was recalled and one that nobody accepted, with all records that were made while they still were
in order. Each route is tried as its user tries it, and nothing may ever start to train.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from pe_training.cli.launch import run_chain
from pe_training.cli.main import main
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.datasets.gate import Attempt, attempts
from pe_training.definitions import defs
from pe_training.storage import tables as t
from pe_training.storage.state import State
from pe_training_tests.e2e.chain import SMOKE, environment, smoke_with
from pe_training_tests.e2e.forbidden import LINE, Case, Forbidden, Served, prepare, served, withdraw

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Dagster's Pipes, about Dagster
    pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"),
]
CASES = ["recalled", "unaccepted"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the routes begin. ``old``: a Dagster run of each case from before the recall."""

    world: Forbidden
    dagster: Served
    old: dict[str, dg.DagsterRun]

    @property
    def state(self) -> State:
        """The storage that everybody shares."""
        return self.world.state


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("forbidden")
    world = prepare(home / "home", home / "releases")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("PE_", "DAGSTER_"))]:
            patch.delenv(name)
        patch.setenv("PE_HOME", str(home / "home"))
        with served([case.manifest.id for case in world.cases.values()] + [world.waiting.id]) as dagster:
            old = {name: dagster.materialise("training_plan", case.manifest.id) for name, case in world.cases.items()}
            assert {name: run.is_success for name, run in old.items()} == {"recalled": True, "unaccepted": False}
            withdraw(world)
            yield Place(world=world, dagster=dagster, old=old)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, place: Place) -> Case:
    return place.world.cases[request.param]


class Watch:
    """What is remembered of attempts from here on; nothing may have been trained, judged or moved meanwhile."""

    def __init__(self, state: State) -> None:
        self.state, self.seen, self.before = state, len(attempts(state, limit=10_000)), facts(state)

    def new(self) -> list[Attempt]:
        """Attempts since, oldest first."""
        assert facts(self.state) == self.before
        found = attempts(self.state, limit=10_000)
        return list(reversed(found[: len(found) - self.seen]))

    def one(self, *, route: str, subject: str, message: str, dataset: str | None) -> None:
        """There is exactly one, and it names who wanted what by which door."""
        (attempt,) = self.new()
        assert (attempt.route, attempt.subject, attempt.message, attempt.dataset_id) == (route, subject, message, dataset)
        assert attempt.actor
        assert attempt.at


@pytest.fixture
def watch(place: Place) -> Watch:
    return Watch(place.state)


def facts(state: State) -> tuple[list[str], int, list[tuple[str, str]]]:
    """Records that training, evaluation and judgement make, what runs have reported, and who holds the stages."""
    with state.registry.reading() as connection:
        ids = connection.execute(sa.select(t.records.c.id).where(t.records.c.kind.in_(["ck", "ev", "pd"]))).scalars()
        events = connection.execute(sa.select(sa.func.count()).select_from(t.run_events)).scalar_one()
        held = connection.execute(sa.select(t.stages.c.stage, t.stages.c.checkpoint_id)).all()
        return sorted(map(str, ids)), events, sorted((row[0], row[1]) for row in held)


@pytest.fixture
def pe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, str]]:
    """``pe ... --json`` in this process; it must say no, and the answer is its error."""

    def run(*arguments: object) -> dict[str, str]:
        monkeypatch.setattr(sys, "argv", ["pe", *map(str, arguments), "--json"])
        with pytest.raises(SystemExit) as caught:
            main()
        error: dict[str, str] = json.loads(capsys.readouterr().out)["error"]
        assert (caught.value.code, error["kind"]) == (1, "refused")
        assert error["hint"]
        return error

    return run


def written_by_hand(folder: Path, case: Case) -> Path:
    """A manifest that names the version by its id."""
    return smoke_with(folder, ("{name: sample-dialogues, version: latest}", f"{{name: {case.dataset.name}, version: {case.dataset.id}}}"))


def why(place: Place, run: dg.DagsterRun) -> str:
    """The error with which a Dagster run ended."""
    assert run.status == dg.DagsterRunStatus.FAILURE
    events = [record.dagster_event for record in place.dagster.instance.all_logs(run.run_id)]
    (failed,) = [event for event in events if event and event.is_step_failure]
    error = failed.step_failure_data.error
    assert error is not None
    return (error.cause or error).message


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_pe_run_and_pe_plan_of_the_newest_version(place: Place, watch: Watch, pe: Callable[..., dict[str, str]], verb: str) -> None:
    case = place.world.cases["recalled"]
    assert pe(verb, SMOKE)["message"] == case.message
    watch.one(route="manifest", subject="smoke", message=case.message, dataset=case.dataset.id)


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_pe_run_and_pe_plan_of_a_manifest_written_by_hand_with_the_id(
    watch: Watch, case: Case, pe: Callable[..., dict[str, str]], tmp_path: Path, verb: str
) -> None:
    assert pe(verb, written_by_hand(tmp_path, case))["message"] == case.message
    watch.one(route="manifest", subject="smoke", message=case.message, dataset=case.dataset.id)


def test_the_sensor_of_new_manifests(place: Place, watch: Watch, case: Case) -> None:
    from pe_training.defs.manifests import new_manifests
    from pe_training.defs.resources import Store

    folder = place.state.settings.manifest_folder
    folder.mkdir(parents=True, exist_ok=True)
    path = written_by_hand(folder, case)
    try:
        with dg.build_sensor_context(instance=place.dagster.instance) as context:
            result = new_manifests(context, store=Store())
    finally:
        path.unlink()
    assert isinstance(result, dg.SensorResult)
    assert not result.run_requests
    watch.one(route="manifest", subject="smoke", message=case.message, dataset=case.dataset.id)


@pytest.mark.parametrize(("asset", "route"), [("training_plan", "plan"), ("checkpoint", "training")])
def test_materialising_an_asset_in_the_ui(place: Place, watch: Watch, case: Case, asset: str, route: str) -> None:
    run = place.dagster.materialise(asset, case.manifest.id)
    assert case.message in why(place, run)
    watch.one(route=route, subject=case.run, message=case.message, dataset=case.dataset.id)


def test_a_backfill_of_several_partitions(place: Place, watch: Watch) -> None:
    cases = place.world.cases.values()
    runs = place.dagster.backfill("checkpoint", [case.manifest.id for case in cases])
    assert len(runs) == 2
    assert all(run.status == dg.DagsterRunStatus.FAILURE for run in runs)
    found = {(attempt.route, attempt.subject, attempt.message) for attempt in watch.new()}
    assert found == {("training", case.run, case.message) for case in cases}
    assert len(watch.new()) == 2


@pytest.mark.parametrize(("name", "strategy"), [("recalled", "ALL_STEPS"), ("unaccepted", "FROM_FAILURE")])
def test_the_re_execution_of_an_old_run(place: Place, watch: Watch, name: str, strategy: str) -> None:
    case = place.world.cases[name]
    run = place.dagster.again(place.old[name], strategy)
    assert run.parent_run_id == place.old[name].run_id
    assert case.message in why(place, run)
    watch.one(route="plan", subject=case.run, message=case.message, dataset=case.dataset.id)


def test_a_manifest_that_was_resolved_and_stored_before(place: Place, watch: Watch, case: Case) -> None:
    with pytest.raises(PeError) as caught:
        run_chain(case.manifest, state=place.state)
    assert (caught.value.kind, caught.value.message) == (Kind.REFUSED, case.message)
    watch.one(route="plan", subject=case.run, message=case.message, dataset=case.dataset.id)


def test_a_direct_call_of_the_training_process(place: Place, watch: Watch, case: Case) -> None:
    assert process(place, "pe_training.training", case.run, case.manifest.id) == case.message
    watch.one(route="training", subject=case.run, message=case.message, dataset=case.dataset.id)


def test_a_direct_call_of_the_training_process_with_somebody_elses_manifest(place: Place, watch: Watch) -> None:
    """The run of the recalled version, with a manifest that names another."""
    case, other = place.world.cases["recalled"], place.world.cases["unaccepted"]
    assert process(place, "pe_training.training", case.run, other.manifest.id) in (case.message, other.message)
    (attempt,) = watch.new()
    assert (attempt.route, attempt.subject) == ("training", case.run)


def test_a_direct_call_of_the_evaluation_process(place: Place, watch: Watch) -> None:
    chain, message = place.world.models[1].chain, comes_from(place, place.world.models[1].chain.checkpoint.id)
    assert process(place, "pe_training.evaluation", chain.checkpoint.id, chain.manifest.id) == message
    watch.one(route="evaluation", subject=chain.checkpoint.id, message=message, dataset=None)


@pytest.mark.parametrize("stage", ["staging", "production"])
def test_pe_promote_of_a_tainted_checkpoint(place: Place, watch: Watch, pe: Callable[..., dict[str, str]], stage: str) -> None:
    checkpoint = place.world.models[1].chain.checkpoint.id
    message = comes_from(place, checkpoint)
    assert pe("promote", checkpoint, "--to", stage)["message"] == message
    watch.one(route="promotion", subject=checkpoint, message=message, dataset=None)


@pytest.mark.parametrize("chosen", [(), ("--to",)], ids=["the one before", "a chosen one"])
def test_pe_rollback_to_a_tainted_checkpoint(
    place: Place, watch: Watch, pe: Callable[..., dict[str, str]], chosen: tuple[str, ...]
) -> None:
    checkpoint = place.world.models[0].chain.checkpoint.id
    message = comes_from(place, checkpoint)
    assert pe("rollback", "staging", "--line", LINE, *(name for flag in chosen for name in (flag, checkpoint)))["message"] == message
    watch.one(route="rollback", subject=checkpoint, message=message, dataset=None)


def test_the_gate_sensor_and_the_job_it_asks_for(place: Place, watch: Watch) -> None:
    from pe_training.defs.promotion import gate
    from pe_training.defs.resources import Store

    waiting, checkpoint = place.world.waiting, place.world.waiting_checkpoint.id
    instance = place.dagster.instance
    instance.report_runless_asset_event(dg.AssetMaterialization("evaluation_report", partition=waiting.id))
    with dg.build_sensor_context(instance=instance) as context:
        result = gate(context, store=Store())
    assert isinstance(result, dg.SensorResult)
    (request,) = result.run_requests or []
    with pytest.raises(PeError) as caught:
        defs().resolve_job_def("decide").execute_in_process(instance=instance, partition_key=request.partition_key)
    message = comes_from(place, checkpoint)
    assert (caught.value.kind, caught.value.message) == (Kind.REFUSED, message)
    watch.one(route="judge", subject=checkpoint, message=message, dataset=None)


def comes_from(place: Place, checkpoint: str) -> str:
    """Why a tainted checkpoint is refused."""
    version = short(place.world.cases["recalled"].dataset.id)
    return f"{short(checkpoint)} comes from recalled data: recall 1 of version {version} (consent was withdrawn)"


def process(place: Place, module: str, *arguments: str) -> str:
    """A working process called by hand; the error it told."""
    root = place.state.settings.root
    feed = root / "runs" / arguments[0] / "progress.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], env=environment(root), capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == Kind.REFUSED.exit_code, done.stderr
    error = json.loads(feed.read_text().splitlines()[-1])["error"]
    assert error["kind"] == "refused"
    return str(error["message"])
