"""No route trains on a version that is unaccepted or recalled, and each attempt is remembered."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.datasets.accept import accept
from pe_training.datasets.gate import Attempt, attempts, require_trainable
from pe_training.datasets.recall import Selector
from pe_training.datasets.record import DatasetVersion
from pe_training.definitions import defs
from pe_training.lineage.recall import lift, recall
from pe_training.manifests.plan import make_plan
from pe_training.manifests.record import ResolvedManifest
from pe_training.manifests.resolve import read_manifest, resolve
from pe_training.settings import SAMPLES, Settings
from pe_training.storage.state import State
from pe_training.storage.tables import releases, run_events
from pe_training.training.identity import plan_run
from pe_training.training.record import Checkpoint, TrainingRun
from pe_training_tests.e2e.chain import SMOKE, environment, pe

WHO = {"actor": "ada", "reason": "consent was withdrawn"}
RELEASE = SAMPLES / "releases" / "sample-dialogues" / "v2026-11-23"
CASES = ["recalled", "unaccepted"]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the smoke manifest is accepted, resolved and planned, and nothing is trained yet."""
    state = State(Settings(home=tmp_path_factory.mktemp("planned")))
    accept(RELEASE, state=state).sealed()
    manifest = resolve(read_manifest(SMOKE), state=state)
    state.registry.put(manifest)
    state.registry.put(plan_run(manifest))
    state.registry.close()
    return state.settings.root


@pytest.fixture(params=CASES)
def forbidden(request: pytest.FixtureRequest, planned: Path, tmp_path: Path) -> tuple[State, str]:
    """A copy of it after a recall, or as somebody leaves it who writes a version into the registry without a release."""
    state = State(Settings(home=Path(shutil.copytree(planned, tmp_path / "home"))))
    dataset = state.registry.rows("ds")[0].id
    if request.param == "recalled":
        recall(state, Selector(kind="version", value=dataset), **WHO)
        return state, f"{short(dataset)} is recalled: recall 1 of version {short(dataset)} (consent was withdrawn)"
    with state.registry.writing() as connection:
        connection.execute(sa.delete(releases))
    return state, f"{short(dataset)} of sample-dialogues has no accepted release, so nothing may be trained on it"


def manifest_of(state: State) -> ResolvedManifest:
    return state.registry.get(state.registry.rows("mf")[0].id, ResolvedManifest)


def remembered(state: State, route: str, message: str) -> Attempt:
    """The newest attempt; nothing may have been trained."""
    attempt = attempts(state)[0]
    assert (attempt.route, attempt.message) == (route, message)
    assert attempt.dataset_id == state.registry.rows("ds")[0].id
    assert attempt.actor
    assert state.registry.rows(Checkpoint.kind) == []
    with state.registry.reading() as connection:
        assert connection.execute(sa.select(run_events)).all() == []
    return attempt


def test_resolving_by_name_and_by_id_is_refused(forbidden: tuple[State, str]) -> None:
    state, message = forbidden
    spec = read_manifest(SMOKE)
    for version in ("latest", state.registry.rows("ds")[0].id):
        asked = spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"version": version})})
        with pytest.raises(PeError) as caught:
            resolve(asked, state=state)
        assert (caught.value.kind, caught.value.message) == (Kind.REFUSED, message)
        assert caught.value.hint
        assert remembered(state, "manifest", message).subject == "smoke"
    assert len(attempts(state)) == 2


def test_a_manifest_that_was_resolved_before_is_not_planned(forbidden: tuple[State, str]) -> None:
    state, message = forbidden
    manifest = manifest_of(state)
    with pytest.raises(PeError) as caught:
        make_plan(manifest, run_id=plan_run(manifest).id, state=state)
    assert caught.value.message == message
    assert remembered(state, "plan", message).subject == plan_run(manifest).id


def test_the_training_process_refuses_when_it_is_called_directly(forbidden: tuple[State, str]) -> None:
    state, message = forbidden
    run = state.registry.rows(TrainingRun.kind)[0].id
    command = [sys.executable, "-m", "pe_training.training", run, manifest_of(state).id]
    done = subprocess.run(command, env=environment(state.settings.root), capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == Kind.REFUSED.exit_code
    assert message in (state.settings.run_folder(run) / "process.log").read_text()
    assert remembered(state, "training", message).subject == run


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.PreviewWarning")  # Dagster's Pipes, about Dagster
@pytest.mark.parametrize("asset", ["training_plan", "checkpoint"])
def test_the_graph_refuses_whichever_asset_is_materialised(
    forbidden: tuple[State, str], monkeypatch: pytest.MonkeyPatch, asset: str
) -> None:
    """The UI, a backfill and a re-execution all start the asset body for the manifest's partition."""
    state, message = forbidden
    manifest = manifest_of(state)
    for name in [name for name in os.environ if name.startswith("PE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PE_HOME", str(state.settings.root))
    job = defs().resolve_job_def("train_and_promote")
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("training_run", [manifest.id])
        with pytest.raises(PeError) as caught:
            job.execute_in_process(instance=instance, partition_key=manifest.id, asset_selection=[dg.AssetKey(asset)])
    assert (caught.value.kind, caught.value.message) == (Kind.REFUSED, message)
    remembered(state, {"training_plan": "plan", "checkpoint": "training"}[asset], message)


def test_the_sensor_of_manifests_starts_nothing(forbidden: tuple[State, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from pe_training.defs.manifests import new_manifests
    from pe_training.defs.resources import Store

    state, message = forbidden
    folder = state.settings.root / "manifests"
    folder.mkdir()
    (folder / "smoke.yaml").write_text(SMOKE.read_text())
    monkeypatch.setenv("PE_HOME", str(state.settings.root))
    with dg.instance_for_test() as instance, dg.build_sensor_context(instance=instance) as context:
        result = new_manifests(context, store=Store())
    requests = [request.job_name for request in result.run_requests or []]
    if "is recalled" in message:
        assert requests == []
        remembered(state, "manifest", message)
    else:
        assert requests == ["accept_dataset"]  # its release lies in a watched folder: first it must be accepted


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["run", "plan"])
def test_the_command_line_refuses(planned: Path, tmp_path: Path, verb: str) -> None:
    home = Path(shutil.copytree(planned, tmp_path / "home"))
    dataset = pe("ls", "ds", "--json", home=home).json["records"][0]["id"]
    assert pe("recall", dataset, "--reason", "a test", home=home).code == 0
    result = pe(verb, SMOKE, "--json", home=home)
    assert result.code == 1
    assert result.json["error"]["kind"] == "refused"
    assert "recall 1 of version" in result.json["error"]["message"]
    remembered(State(Settings(home=home)), "manifest", result.json["error"]["message"])


def test_an_accepted_version_passes_and_passes_again_when_the_recall_is_lifted(planned: Path, tmp_path: Path) -> None:
    state = State(Settings(home=Path(shutil.copytree(planned, tmp_path / "home"))))
    dataset = state.registry.get(state.registry.rows("ds")[0].id, DatasetVersion)
    require_trainable(dataset, state=state, route="test", subject="x")
    recall(state, Selector(kind="version", value=dataset.id), **WHO)
    with pytest.raises(PeError):
        require_trainable(dataset, state=state, route="test", subject="x")
    lift(state, 1, **WHO)
    require_trainable(dataset, state=state, route="test", subject="x")
    assert resolve(read_manifest(SMOKE), state=state) == manifest_of(state)
    assert len(attempts(state)) == 1
