"""A bucket as an inbox, on a real S3 server: new releases become runs, a tick costs names only, and a store that is away is one message."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pe_training.compute.dagster_home import open_instance
from pe_training.core.errors import Kind, PeError
from pe_training.datasets.catalog import find_release_folder
from pe_training.datasets.inbox import waiting_release
from pe_training.datasets.intake.bucket import NewReleases, new_in_bucket, new_releases_of, release_of_partition
from pe_training.datasets.intake.remote import Remote
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.release import release_digest
from pe_training.definitions import defs
from pe_training.defs.resources import Store
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training_tests.datasets.intake.test_fetch import upload
from pe_training_tests.datasets.samples import sample_release, sample_rows
from pe_training_tests.s3_server import BUCKET, S3Server

pytestmark = pytest.mark.slow


@pytest.fixture
def inbox(s3: S3Server, tmp_path: Path) -> str:
    """The URL of a folder in a bucket, which holds two folders that are no releases."""
    folder = f"{BUCKET}/{tmp_path.name}/releases"
    fs = s3.files()
    fs.pipe_file(f"{folder}/Not a name/v1/manifest.json", b"{}")
    fs.pipe_file(f"{folder}/half-copied/v1/train/part-00000.jsonl", b"{}")
    return f"s3://{folder}"


def put(s3: S3Server, inbox: str, folder: Path, *, name: str, version: str, rows: Any = None) -> Path:
    release = sample_release(folder, rows, name=name, version=version)
    upload(s3.files(), release, f"{inbox.removeprefix('s3://')}/{name}/{version}")
    return release


def test_releases_are_listed_by_name_and_version_and_known_ones_are_left_out(s3: S3Server, inbox: str, tmp_path: Path) -> None:
    for version in ("v1.10.0", "v1.9.0"):
        put(s3, inbox, tmp_path / version, name="day-talks", version=version)
    put(s3, inbox, tmp_path / "n", name="night-talks", version="v1.0.0")
    keys = ["day-talks@v1.9.0", "day-talks@v1.10.0", "night-talks@v1.0.0"]
    assert new_in_bucket(inbox, known=()) == keys
    assert new_in_bucket(inbox + "/", known={keys[0], keys[2]}) == [keys[1]]


def test_a_tick_asks_for_names_and_looks_into_nothing_that_is_known(
    s3: S3Server, inbox: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        put(s3, inbox, tmp_path / f"{number}", name="day-talks", version=f"v1.{number}.0")
    asked: Counter[str] = Counter()
    for verb in ("look", "read", "_names"):
        real = getattr(Remote, verb)

        def counted(remote: Remote, *arguments: Any, verb: str = verb, real: Any = real, **more: Any) -> Any:
            asked[verb] += 1
            return real(remote, *arguments, **more)

        monkeypatch.setattr(Remote, verb, counted)
    known = {f"day-talks@v1.{number}.0" for number in range(5)} | {"half-copied@v1"}
    assert new_in_bucket(inbox, known=known) == []
    assert asked == {"_names": 3}  # the datasets, then the versions of day-talks and of half-copied


def test_a_partition_of_the_bucket_is_fetched_into_the_inbox(s3: S3Server, inbox: str, tmp_path: Path) -> None:
    release = put(s3, inbox, tmp_path / "in", name="day-talks", version="v1.0.0")
    state = State(Settings(home=tmp_path / "home", releases_url=inbox))
    folder = release_of_partition(state.settings, "day-talks@v1.0.0")
    assert release_digest(folder) == release_digest(release)
    assert find_release_folder(state.settings, name="day-talks").path.resolve() == folder.resolve()
    waiting = waiting_release(state, name="day-talks", version="latest")  # `pe run` sees it too
    assert waiting is not None
    assert release_of_partition(state.settings, "day-talks@v1.0.0").resolve() == folder.resolve()
    with pytest.raises(PeError) as caught:
        release_of_partition(state.settings, "day-talks@v2.0.0")
    assert (caught.value.kind, caught.value.where) == (Kind.NOT_FOUND, f"{inbox}/day-talks/v2.0.0")


def test_a_release_that_calls_itself_otherwise_than_its_place_is_refused(s3: S3Server, inbox: str, tmp_path: Path) -> None:
    release = sample_release(tmp_path / "in", name="day-talks", version="v1.0.0")
    upload(s3.files(), release, f"{inbox.removeprefix('s3://')}/night-talks/v1.0.0")
    with pytest.raises(PeError, match=r"the release calls itself day-talks v1\.0\.0, and lies under night-talks/v1\.0\.0"):
        release_of_partition(Settings(home=tmp_path / "home", releases_url=inbox), "night-talks@v1.0.0")


def test_a_store_that_is_away_leaves_the_watched_folder_working(s3: S3Server, tmp_path: Path) -> None:
    sample_release(tmp_path / "inbox")
    here = ["sample-dialogues@v1.0.0"]
    for url, trouble in (
        (None, None),
        ("s3://no-such-bucket/releases", "s3://no-such-bucket/releases: nothing is there (check the URL: "),
        ("nope://x/releases", "nope://x/releases: no store is known for nope://"),
    ):
        found = new_releases_of(Settings(home=tmp_path / "home", releases=tmp_path / "inbox", releases_url=url), known=())
        assert found.keys == here
        assert (found.trouble or "").startswith(trouble or "")
        assert (found.trouble is None) == (trouble is None)
    assert new_releases_of(Settings(home=tmp_path / "home", releases=tmp_path / "inbox"), known=set(here)) == NewReleases(keys=[])


def tick(instance: dg.DagsterInstance) -> dg.SensorResult:
    """One evaluation of the sensor, with what it asks for done as the daemon would."""
    sensor = defs().get_repository_def().get_sensor_def("new_releases")
    with dg.build_sensor_context(instance=instance, resources={"store": Store()}) as context:
        result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    for request in result.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    return result


def test_the_sensor_accepts_what_is_put_into_the_bucket_once(
    s3: S3Server, inbox: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PE_RELEASES_URL", inbox)
    good = put(s3, inbox, tmp_path / "good", name="day-talks", version="v1.0.0")
    rows = sample_rows()
    rows[0]["metadata"]["license_tag"] = "custom"
    put(s3, inbox, tmp_path / "bad", name="night-talks", version="v1.0.0", rows=rows)
    state = State(Settings())
    with open_instance(state.settings) as instance:
        asked = [request.partition_key for request in tick(instance).run_requests or []]
        assert asked == ["day-talks@v1.0.0", "night-talks@v1.0.0"]
        assert tick(instance).run_requests == []
        job = defs().resolve_job_def("accept_dataset")
        ended = {key: job.execute_in_process(instance=instance, partition_key=key, raise_on_error=False).success for key in asked if key}
        assert ended == {"day-talks@v1.0.0": True, "night-talks@v1.0.0": False}
        monkeypatch.setenv("PE_RELEASES_URL", "s3://no-such-bucket/releases")
        away = tick(instance)
        assert away.run_requests == []
        assert "s3://no-such-bucket/releases: nothing is there" in str(away.skip_reason)
    (row,) = state.registry.rows("ds")
    dataset = state.registry.get(row.id, DatasetVersion)
    assert (dataset.name, dataset.rows) == ("day-talks", 26)
    assert json.loads((good / "manifest.json").read_text())["total_conversations"] == 26
