"""What Dagster says that an asset was made from is what the registry says, also where a manifest pins a version that is not the newest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pe_training.compute.dagster_home import open_instance
from pe_training.datasets.record import DatasetVersion
from pe_training.definitions import defs
from pe_training.defs.provenance import used
from pe_training.defs.resources import Compute, Store
from pe_training.manifests.record import ResolvedManifest
from pe_training.promotion.chain import chain_of
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training_tests.e2e.chain import Ended
from pe_training_tests.homes import copy_home
from pe_training_tests.releases import build_release
from pe_training_tests.training.runs import RELEASE

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::dagster.PreviewWarning")]
NAME, OLD, NEW = "sample-dialogues", "v2026-11-23", "v2026-11-24"
CHAIN = ("training_plan", "checkpoint", "evaluation_report", "promotion_decision", "model_stages")


class Idle(Compute):
    """Starts nothing: every answer is there already."""

    def work(self, *arguments: Any, **options: Any) -> None:
        """Do nothing."""


@pytest.fixture(scope="module")
def told(finished: tuple[Path, Ended], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[State, str, dict[str, Any]]]:
    """The state, the manifest that pins the older version, and the newest materialisation of each asset of its chain."""
    base = tmp_path_factory.mktemp("provenance")
    releases = base / "releases"
    shutil.copytree(RELEASE, releases / NAME / OLD)
    rows = [json.loads(line) for part in sorted(RELEASE.glob("*/part-*.jsonl")) for line in part.read_text().splitlines()]
    build_release(releases / NAME / NEW, rows[1:], name=NAME, version=NEW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PE_HOME", str(copy_home(finished[0], base / "home")))
        patch.setenv("PE_RELEASES", str(releases))
        state = State(Settings())
        (row,) = state.registry.rows(ResolvedManifest.kind)
        with open_instance(Settings()) as instance:
            _materialise(instance, ["dataset_version"], f"{NAME}@{OLD}", "dataset_version")
            _materialise(instance, ["dataset_version"], f"{NAME}@{NEW}", "dataset_version")
            _materialise(instance, list(CHAIN), row.id, "training_run")
            yield state, row.id, {asset: _newest(instance, asset, row.id) for asset in CHAIN}


def _materialise(instance: dg.DagsterInstance, assets: list[str], partition: str, of: str) -> None:
    instance.add_dynamic_partitions(of, [partition])
    found = [asset for asset in defs().assets or () if isinstance(asset, dg.AssetsDefinition)]
    resources = {"store": Store(), "compute": Idle()}
    dg.materialize(found, selection=assets, instance=instance, partition_key=partition, resources=resources)


def _newest(instance: dg.DagsterInstance, asset: str, partition: str) -> dict[str, Any]:
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition])
    (record,) = instance.fetch_materializations(wanted, limit=1).records
    assert record.asset_materialization is not None
    return dict(record.asset_materialization.tags or {})


def test_each_asset_names_what_the_registry_says_it_was_made_from(told: tuple[State, str, dict[str, Any]]) -> None:
    state, manifest_id, tags = told
    manifest = state.registry.get(manifest_id, ResolvedManifest)
    chain = chain_of(manifest, state=state)
    assert chain.checkpoint
    assert chain.report
    assert chain.decision
    expected = {
        "training_plan": used(dataset_version=chain.run.dataset_id),
        "checkpoint": used(training_plan=chain.checkpoint.run_id),
        "evaluation_report": used(checkpoint=chain.report.checkpoint_id),
        "promotion_decision": used(evaluation_report=chain.decision.report_id),
        "model_stages": used(promotion_decision=chain.decision.id),
    }
    said = {asset: {name: value for name, value in found.items() if "input_data_version" in name} for asset, found in tags.items()}
    assert said == expected
    versions = {asset: tags[asset].get("dagster/data_version") for asset in CHAIN[:-1]}
    assert list(versions.values()) == [chain.run.id, chain.checkpoint.id, chain.report.id, chain.decision.id]


def test_the_older_version_is_named_although_a_newer_one_was_materialised_since(told: tuple[State, str, dict[str, Any]]) -> None:
    state, manifest_id, tags = told
    newest = state.registry.latest(DatasetVersion, label=NAME)
    pinned = state.registry.get(manifest_id, ResolvedManifest).spec.dataset.version
    assert newest is not None
    assert newest.id != pinned
    assert tags["training_plan"]["dagster/input_data_version/dataset_version"] == pinned
