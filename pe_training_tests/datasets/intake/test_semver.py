"""The semver export: one manifest with digests and numbers of rows, and the files that it lists."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.intake.semver import digest_problems, read_semver_export, semver_versions
from pe_training.datasets.rows import Row
from pe_training.datasets.shard_lines import shard_lines
from pe_training_tests.releases import make_row


def write_export(folder: Path, *, version: str = "v1.2.0", spelling: str = "mapping", **changes: Any) -> Path:
    """An export of three rows as JSON Lines and as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    rows = [make_row([("user", f"Question {number}?"), ("assistant", "Tell me more.")], split="train") for number in range(3)]
    jsonl, parquet = folder / f"dataset_{version}.jsonl", folder / f"dataset_{version}.parquet"
    jsonl.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), parquet)
    entries = {path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "row_count": 3} for path in (jsonl, parquet)}
    files: Any = entries if spelling == "mapping" else [{spelling: name, **entry} for name, entry in entries.items()]
    body = {"version": version, "files": files, "created_at": "2026-01-01", "statistics": {"rows": 3}} | changes
    (folder / f"manifest_{version}.json").write_text(json.dumps({key: value for key, value in body.items() if value is not None}))
    return folder


def refusal(folder: Path, **chosen: Any) -> PeError:
    with pytest.raises(PeError) as caught:
        read_semver_export(folder, **chosen)
    return caught.value


@pytest.mark.parametrize("spelling", ["mapping", "path", "name", "file"])
def test_an_export_is_read_in_every_spelling(tmp_path: Path, spelling: str) -> None:
    export = read_semver_export(write_export(tmp_path, spelling=spelling))
    assert export.version == "v1.2.0"
    assert [(file.entry.name, file.entry.row_count, file.is_parquet) for file in export.files] == [
        ("dataset_v1.2.0.jsonl", 3, False),
        ("dataset_v1.2.0.parquet", 3, True),
    ]
    assert export.manifest.other == {"created_at": "2026-01-01", "statistics": {"rows": 3}}
    assert digest_problems(export) == ()


def test_its_rows_are_ordinary_rows_and_both_files_hold_the_same(tmp_path: Path) -> None:
    export = read_semver_export(write_export(tmp_path))
    jsonl, parquet = ([Row.model_validate_json(line) for _, line in shard_lines(file.path)] for file in export.files)
    assert jsonl == parquet
    assert len(jsonl) == 3


def test_a_manifest_that_lists_one_name_twice_is_refused(tmp_path: Path) -> None:
    path = write_export(tmp_path) / "manifest_v1.2.0.json"
    path.write_text(path.read_text().replace("dataset_v1.2.0.parquet", "dataset_v1.2.0.jsonl"))
    assert refusal(tmp_path).message == "the key 'dataset_v1.2.0.jsonl' stands twice in one object"


def test_a_file_that_changed_is_named(tmp_path: Path) -> None:
    export = read_semver_export(write_export(tmp_path))
    export.files[0].path.write_text("{}\n")
    assert [(p.check, p.where, p.field, p.message) for p in digest_problems(export)] == [
        ("shard_digests", "dataset_v1.2.0.jsonl", "sha256", "is not the manifest's digest")
    ]


def test_digests_may_say_what_they_are_and_the_version_may_lack_its_v(tmp_path: Path) -> None:
    write_export(tmp_path)
    sha256 = "sha256:" + hashlib.sha256((tmp_path / "dataset_v1.2.0.jsonl").read_bytes()).hexdigest()
    listed = [{"path": "s3://bucket/exports/dataset_v1.2.0.jsonl", "sha256": sha256, "row_count": 3, "size_bytes": 9, "format": "jsonl"}]
    export = read_semver_export(write_export(tmp_path, files=listed, version="v1.2.0"), version="1.2.0")
    assert [file.path.name for file in export.files] == ["dataset_v1.2.0.jsonl"]
    assert digest_problems(export) == ()
    body = json.loads(export.manifest_path.read_text()) | {"version": "1.2.0"}
    export.manifest_path.write_text(json.dumps(body))
    assert read_semver_export(tmp_path).version == "v1.2.0"


def test_of_several_exports_one_is_chosen(tmp_path: Path) -> None:
    for version in ("v1.2.0", "v1.3.0-rc.1"):
        write_export(tmp_path, version=version)
    assert semver_versions(tmp_path) == ["v1.2.0", "v1.3.0-rc.1"]
    assert read_semver_export(tmp_path, version="v1.3.0-rc.1").version == "v1.3.0-rc.1"
    assert str(refusal(tmp_path)) == f"{tmp_path}: holds 2 exports (choose a version: v1.2.0, v1.3.0-rc.1)"
    error = refusal(tmp_path, version="v1.2.1")
    assert (error.kind, error.message, error.hint) == (Kind.NOT_FOUND, "no export of that version here", "did you mean 'v1.2.0'?")


def test_a_folder_without_an_export_says_what_one_is(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        assert semver_versions(folder) == []
        error = refusal(folder)
        assert error.kind is Kind.NOT_FOUND
        assert str(error) == f"{folder}: no manifest_v*.json here (an export is manifest_v1.2.0.json and its files)"


ENTRY = {"sha256": "0" * 64, "row_count": 3}
NAMED = {"path": "dataset_v1.2.0.jsonl", **ENTRY}
WRONG = [
    ({"version": "v1.3.0"}, ":version: is not the version in the file's name"),
    ({"version": 1}, ":version: is not the version in the file's name"),
    ({"files": None}, ":files: must be a list of files, or a mapping of their names"),
    ({"files": []}, ":files: lists no file"),
    ({"files": ["dataset_v1.2.0.jsonl"]}, ":files.0: must be a mapping with sha256 and row_count"),
    ({"files": [ENTRY]}, ":files.0: must name one file, under one of path, name, file"),
    ({"files": [NAMED | {"name": "other.jsonl"}]}, ":files.0: must name one file, under one of path, name, file"),
    ({"files": [NAMED | {"name": 3}]}, ":files.0: must name one file, under one of path, name, file"),
    ({"files": [NAMED, NAMED]}, ":files: lists a file twice"),
    ({"files": {"dataset_v1.2.0.jsonl": {"sha256": "0" * 64}}}, ":files.0.row_count: is missing"),
    ({"files": [NAMED | {"row_count": "3"}]}, ":files.0.row_count: input should be a valid integer"),
    ({"files": [NAMED | {"sha256": "abc"}]}, ":files.0.sha256: string should match pattern '^[0-9a-f]{64}$'"),
    ({"files": [NAMED | {"rows": 3}]}, ":files.0.rows: unknown key; allowed here: format, name, row_count, sha256, size_bytes"),
    ({"files": [{"path": "../dataset_v1.2.0.jsonl", **ENTRY}]}, ":files.0: leaves the folder or is not written plainly"),
    ({"files": [{"path": "link.jsonl", **ENTRY}]}, ":files.0: passes a symbolic link"),
    ({"files": [{"path": "README.md", **ENTRY}]}, ":files.0: is not a kind of file that is read"),
    ({"files": [{"path": "gone.jsonl", **ENTRY}]}, ":files.0: no such file"),
    ({"files": [{"path": "folder.jsonl", **ENTRY}]}, ":files.0: is not a file"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_a_wrong_manifest_is_refused_by_field(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    write_export(tmp_path)
    body = json.loads((tmp_path / "manifest_v1.2.0.json").read_text()) | changes
    (tmp_path / "manifest_v1.2.0.json").write_text(json.dumps(body))
    error = refusal(tmp_path)
    assert f"{error.where}: {error.message}" == f"{tmp_path / 'manifest_v1.2.0.json'}{message}"


def test_a_manifest_that_is_no_json_object_is_refused(tmp_path: Path) -> None:
    for text in ("[]", "{", "null"):
        (tmp_path / "manifest_v1.2.0.json").write_text(text)
        assert refusal(tmp_path).message == "is not a JSON object"


def test_an_export_is_a_value(tmp_path: Path) -> None:
    manifest = read_semver_export(write_export(tmp_path)).manifest
    with pytest.raises(ValidationError):
        manifest.version = "v2.0.0"  # type: ignore[misc]
