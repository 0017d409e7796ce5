"""The catalog of release folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.catalog import find_by_partition, find_release_folder, partition_key, releases, releases_in
from pe_training.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for place in ("cbt/v1.9.0", "cbt/v1.10.0", "cbt/v1.2.0", "dated/v2026-02-01", "dated/v2025-11-23"):
        folder = tmp_path / "inbox" / place
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
    (tmp_path / "inbox" / "half-copied" / "v1").mkdir(parents=True)
    return Settings(home=tmp_path, releases=tmp_path / "inbox")


def test_releases_are_listed_by_name_newest_version_last(settings: Settings) -> None:
    listed = [partition_key(release) for release in releases_in(settings.release_inbox)]
    assert listed == ["cbt@v1.2.0", "cbt@v1.9.0", "cbt@v1.10.0", "dated@v2025-11-23", "dated@v2026-02-01"]
    assert set(listed) <= {partition_key(release) for release in releases(settings)}


def test_a_folder_that_is_not_there_has_no_releases(tmp_path: Path) -> None:
    assert releases_in(tmp_path / "nowhere") == []


def test_a_release_is_found_by_name_version_and_partition(settings: Settings) -> None:
    inbox = settings.release_inbox
    assert find_release_folder(settings, name="cbt").path == inbox / "cbt" / "v1.10.0"
    assert find_release_folder(settings, name="cbt", version="v1.9.0").path == inbox / "cbt" / "v1.9.0"
    for release in releases_in(inbox):
        assert find_by_partition(settings, partition_key(release)) == release.path


def test_an_unknown_name_or_version_is_told_with_the_closest(settings: Settings) -> None:
    wrong = {("ctb", "latest"): "did you mean 'cbt'?", ("cbt", "v1.9"): "did you mean 'v1.9.0'?"}
    for (name, version), hint in wrong.items():
        with pytest.raises(PeError) as caught:
            find_release_folder(settings, name=name, version=version)
        assert (caught.value.kind, caught.value.hint) == (Kind.NOT_FOUND, hint)
