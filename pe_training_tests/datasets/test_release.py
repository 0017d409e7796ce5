"""Reading a release folder: names, formats, damage, and paths that must not leave it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.checks import judge
from pe_training.datasets.release import read_head, release_digest
from pe_training.datasets.shard_lines import shard_lines
from pe_training_tests.datasets.samples import CANARY, read, sample_release, sample_rows, shipped_policy
from pe_training_tests.releases import Format, write_manifest


def manifest_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "manifest.json").read_text()))


def with_path(folder: Path, text: str) -> Path:
    manifest = manifest_of(folder)
    manifest["splits"]["train"]["shards"][0]["s3_path"] = text
    write_manifest(folder, manifest)
    return folder


@pytest.mark.parametrize("format", ["jsonl", "jsonl.gz", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, format: Format) -> None:
    release = read(sample_release(tmp_path, format=format, rows_per_shard=5))
    plain = read(sample_release(tmp_path / "plain"))
    assert not release.problems
    assert sorted(row.digest for row in release.rows) == sorted(row.digest for row in plain.rows)
    assert release.rows[5].where == f"train/part-00001.{format}:1"


def test_name_and_version_come_from_the_folders_where_the_manifest_has_none(tmp_path: Path) -> None:
    folder = sample_release(tmp_path)
    manifest = manifest_of(folder)
    del manifest["dataset_name"], manifest["version"]
    write_manifest(folder, manifest)
    renamed = folder.parent.rename(tmp_path / "other-name") / folder.name
    head = read_head(renamed)
    assert (head.name, head.version) == ("other-name", "v1.0.0")


@pytest.mark.parametrize("version", ["latest", "ds_12", "a b", "-x"])
def test_a_version_that_could_be_taken_for_something_else_is_refused(tmp_path: Path, version: str) -> None:
    folder = sample_release(tmp_path)
    write_manifest(folder, manifest_of(folder) | {"version": version})
    with pytest.raises(PeError, match="cannot be the name of a dataset or of its version"):
        read_head(folder)


def test_the_digest_sees_the_manifest_and_every_shard(tmp_path: Path) -> None:
    folder = sample_release(tmp_path)
    digests = {release_digest(folder)}
    shard = folder / "val" / "part-00000.jsonl"
    shard.write_bytes(shard.read_bytes() + b"\n")
    digests.add(release_digest(folder))
    shard.unlink()
    digests.add(release_digest(folder))
    write_manifest(folder, manifest_of(folder) | {"generated_at": "2026-01-02T00:00:00Z"})
    digests.add(release_digest(folder))
    assert len(digests) == 4
    assert read_head(folder).digest == release_digest(folder)


def test_the_digest_does_not_know_where_the_folder_is(tmp_path: Path) -> None:
    assert release_digest(sample_release(tmp_path / "a")) == release_digest(sample_release(tmp_path / "b"))


@pytest.mark.parametrize(
    "url", ["s3://bucket/releases/v1/train/part-00000.jsonl", "s3://bucket/part-00000.jsonl", "s3://bucket/x/y/part-00000.jsonl"]
)
def test_an_s3_url_stands_for_the_file_it_ends_with(tmp_path: Path, url: str) -> None:
    folder = with_path(sample_release(tmp_path), url)
    if "train" not in url:
        (folder / "train" / "part-00000.jsonl").rename(folder / "part-00000.jsonl")
    assert len(read(folder).rows) == 26


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../outside.jsonl", "leaves the release's folder"),
        ("/etc/passwd.jsonl", "leaves the release's folder"),
        ("train/../../outside.jsonl", "leaves the release's folder"),
        ("train//part-00000.jsonl", "leaves the release's folder or is not written plainly"),
        ("s3://bucket/../outside.jsonl", "names no file"),
        ("file:///etc/passwd.jsonl", "is a URL that is not s3://"),
        ("train\\part.jsonl", "is not a plain path"),
        ("train/part\u0000.jsonl", "is not a plain path"),
        ("train/link.jsonl", "passes a symbolic link"),
        ("linked/outside.jsonl", "passes a symbolic link"),
        ("folder.jsonl", "is not a file"),
        ("train/part-00000.pickle", "is not a kind of file that is read"),
        ("val/part-00000.jsonl", "is listed twice"),
    ],
)
def test_a_shard_path_never_leaves_the_folder(tmp_path: Path, path: str, message: str) -> None:
    folder = sample_release(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "outside.jsonl").write_text(CANARY)
    (tmp_path / "sample-dialogues" / "outside.jsonl").write_text(CANARY)
    (folder / "train" / "link.jsonl").symlink_to(outside / "outside.jsonl")
    (folder / "linked").symlink_to(outside)
    (folder / "folder.jsonl").mkdir()
    with pytest.raises(PeError, match=message) as caught:
        read(with_path(folder, path))
    assert caught.value.kind == Kind.INPUT
    assert CANARY not in str(caught.value)


def test_a_manifest_that_is_a_link_is_refused(tmp_path: Path) -> None:
    folder = sample_release(tmp_path)
    (folder / "manifest.json").rename(tmp_path / "elsewhere.json")
    (folder / "manifest.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(PeError, match="must be a plain file"):
        read(folder)


def test_a_folder_without_a_manifest_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(PeError, match=r"no manifest\.json here") as caught:
        read(tmp_path)
    assert caught.value.kind == Kind.NOT_FOUND
    with pytest.raises(PeError, match="no such folder"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"holdout_family": {}}, "holdout_family: unknown key; did you mean 'holdout_families'?"),
        ({"total_conversations": -1}, "total_conversations: input should be greater than or equal to 0"),
        ({"manifest_version": "2.0"}, "manifest_version: string should match pattern '^1\\.0$'"),
    ],
)
def test_a_wrong_manifest_is_told_by_field(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    folder = sample_release(tmp_path)
    write_manifest(folder, manifest_of(folder) | change)
    with pytest.raises(PeError) as caught:
        read(folder)
    assert str(caught.value) == f"{folder / 'manifest.json'}:{text} (fix the release's manifest)"


def test_blank_lines_are_no_rows_but_count_as_lines(tmp_path: Path) -> None:
    folder = sample_release(tmp_path)
    shard = folder / "val" / "part-00000.jsonl"
    shard.write_bytes(b"\n\n" + shard.read_bytes() + b"\n")
    assert [row.where for row in read(folder).rows if row.split == "val"] == ["val/part-00000.jsonl:3", "val/part-00000.jsonl:4"]


def test_a_line_that_is_no_json_is_a_problem_with_its_place(tmp_path: Path) -> None:
    folder = sample_release(tmp_path)
    shard = folder / "val" / "part-00000.jsonl"
    shard.write_text(shard.read_text() + f'{{"messages": {CANARY}\n')
    release = read(folder)
    assert [(p.check, p.where, p.field) for p in release.problems] == [("schema", "val/part-00000.jsonl:3", "")]
    assert release.problems[0].message.startswith("invalid JSON")
    assert CANARY not in release.problems[0].message


@pytest.mark.parametrize("cut", [10, 200])
def test_a_damaged_gzip_is_a_problem_where_it_breaks(tmp_path: Path, cut: int) -> None:
    folder = sample_release(tmp_path, format="jsonl.gz")
    shard = folder / "train" / "part-00000.jsonl.gz"
    shard.write_bytes(shard.read_bytes()[:cut])
    problems = read(folder).problems
    assert [p.message for p in problems] == ["the compressed file is damaged here; the rest of it is not read"]
    assert problems[0].where.startswith("train/part-00000.jsonl.gz:")


def test_a_damaged_parquet_file_is_a_problem(tmp_path: Path) -> None:
    folder = sample_release(tmp_path, format="parquet")
    shard = folder / "train" / "part-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-20])
    assert [p.message for p in read(folder).problems] == ["the Parquet file cannot be read (ArrowInvalid)"]


def test_a_parquet_score_that_is_not_a_number_is_no_score_left_out(tmp_path: Path) -> None:
    rows = sample_rows()
    rows[0]["metadata"]["quality_score"] = float("nan")
    release = read(sample_release(tmp_path, rows, format="parquet"))
    assert [(p.where, p.field) for p in release.problems] == [("train/part-00000.parquet:1", "metadata.quality_score")]


def test_a_row_longer_than_any_dialogue_stops_the_file(tmp_path: Path) -> None:
    folder = sample_release(tmp_path, format="jsonl.gz")
    (folder / "val" / "part-00000.jsonl.gz").write_bytes(gzip.compress(b" " * (17 << 20)))
    problems = read(folder).problems
    assert [(p.where, p.message) for p in problems] == [
        ("val/part-00000.jsonl.gz:1", "the row is longer than 16 MiB; the rest of the file is not read")
    ]


def test_a_file_full_of_wrong_rows_is_counted_and_shown_in_part(tmp_path: Path) -> None:
    folder = sample_release(tmp_path)
    (folder / "val" / "part-00000.jsonl").write_text("{}\n" * 9_000)
    release = read(folder)
    assert (len(release.problems), release.wrong) == (1_000, 9_000)
    assert release.problems[-1].where == "val/part-00000.jsonl:1000"
    assert judge(release, shipped_policy()).checks[0].failing == 9_000


def test_a_release_that_is_still_being_copied_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sample_release(tmp_path)

    def growing(path: Path) -> Iterator[tuple[int, bytes]]:
        yield from shard_lines(path)
        path.write_bytes(path.read_bytes() + b"\n")

    monkeypatch.setattr("pe_training.datasets.read_blocks.shard_lines", growing)
    with pytest.raises(PeError, match="changed while it was read") as caught:
        read(folder)
    assert caught.value.kind == Kind.BUSY
