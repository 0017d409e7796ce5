"""Whatever is handed over comes out as a release folder, or as one error that says what to do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.intake.bring import bring
from pe_training.datasets.release import read_head
from pe_training_tests.datasets.intake.shapes import RECORDS, quiet_datasets, write_lines
from pe_training_tests.datasets.intake.test_convert import chats, everything_below, export_of
from pe_training_tests.datasets.samples import NAME, VERSION, sample_release, sample_rows

DECLARATION = """
apiVersion: pe-training/source-v1
name: evening-notes
version: v2.0.0
format: chat
family: cptsd
files: [{path: notes.jsonl}]
"""


def test_a_release_folder_is_used_as_it_is_however_it_is_named(tmp_path: Path) -> None:
    folder = sample_release(tmp_path / "in")
    into = tmp_path / "home"
    for given in (str(folder), str(folder / "manifest.json"), folder.as_uri()):
        assert bring(given, into=into) == folder
    assert not into.exists()


def test_a_declaration_brings_the_files_beside_it(tmp_path: Path) -> None:
    write_lines(tmp_path / "in" / "notes.jsonl", chats(4))
    (tmp_path / "in" / "notes.yaml").write_text(DECLARATION)
    head = read_head(bring(str(tmp_path / "in" / "notes.yaml"), into=tmp_path / "home"))
    assert (head.name, head.version, head.manifest.total_conversations) == ("evening-notes", "v2.0.0", 4)
    assert set(head.manifest.source_families) == {"cptsd"}


def test_a_data_file_is_declared_by_flags(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "my_notes.jsonl", chats(4))
    flags = {"format": "chat", "family": "cptsd", "name": None}
    head = read_head(bring(str(path), into=tmp_path / "home", flags=flags))
    assert (head.name, head.version[0], set(head.manifest.source_families)) == ("my-notes", "x", {"cptsd"})


def test_a_saved_folder_is_declared_by_flags(tmp_path: Path) -> None:
    with quiet_datasets() as datasets:
        datasets.Dataset.from_list(chats(4)).save_to_disk(tmp_path / "saved")
    head = read_head(bring(str(tmp_path / "saved"), into=tmp_path / "home", flags={"format": "chat"}))
    assert (head.name, head.manifest.total_conversations) == ("saved", 4)


@pytest.mark.parametrize("format", RECORDS)
def test_every_shape_is_brought(tmp_path: Path, format: str) -> None:
    path = write_lines(tmp_path / "notes.jsonl", [RECORDS[format]])
    head = read_head(bring(str(path), into=tmp_path / "home", flags={"format": format}))
    assert head.manifest.conversion is not None
    assert (head.manifest.conversion.format, head.manifest.total_conversations) == (format, 1)


def test_a_file_url_with_a_host_is_not_taken_for_another_path(tmp_path: Path) -> None:
    folder = sample_release(tmp_path / "in")
    assert bring(f"file://localhost{folder}", into=tmp_path / "home") == folder
    for given in ("file://notes.jsonl", f"file://elsewhere{folder}"):
        with pytest.raises(PeError, match="names another machine") as caught:
            bring(given, into=tmp_path / "home")
        assert (caught.value.kind, caught.value.where) == (Kind.INPUT, given)


def test_a_version_beside_the_manifest_of_another_is_refused(tmp_path: Path) -> None:
    manifest = export_of(tmp_path / "night-talks", sample_rows()) / "manifest_v1.2.0.json"
    for version in ("1.2.0", "v1.2.0"):
        assert read_head(bring(str(manifest), into=tmp_path / "home", flags={"version": version})).version == "v1.2.0"
    with pytest.raises(PeError, match=r"is the manifest of v1\.2\.0: version v1\.3\.0 was given") as caught:
        bring(str(manifest), into=tmp_path / "home", flags={"version": "v1.3.0"})
    assert caught.value.kind is Kind.INPUT


def test_an_export_is_named_by_its_folder_its_manifest_or_a_flag(tmp_path: Path) -> None:
    folder = export_of(tmp_path / "night_talks", sample_rows())
    stating = export_of(tmp_path / "Export 7", sample_rows(), dataset_name="day-talks")
    into = tmp_path / "home"
    for given, flags, name in (
        (folder, {}, "night-talks"),
        (folder / "manifest_v1.2.0.json", {}, "night-talks"),
        (stating, {}, "day-talks"),
        (stating, {"name": "other", "version": "1.2.0"}, "other"),
    ):
        head = read_head(bring(str(given), into=into, flags=flags))
        assert (head.name, head.version) == (name, "v1.2.0")


def error_of(given: Path, flags: dict[str, Any] | None = None) -> PeError:
    with pytest.raises(PeError) as caught:
        bring(str(given), into=given.parent / "home", flags=flags)
    assert everything_below(given.parent / "home") == []
    return caught.value


def test_what_cannot_be_brought_says_why(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "notes.jsonl", chats(1))
    declared = tmp_path / "notes.yaml"
    declared.write_text(DECLARATION)
    release = sample_release(tmp_path / "in")
    export = export_of(tmp_path / "exported", sample_rows())
    unnamed = export_of(tmp_path / "A b", sample_rows())
    (tmp_path / "notes.csv").write_text("a,b\n")
    (tmp_path / "empty").mkdir()
    flags = {"format": "chat"}
    for given, said, kind, message in (
        (tmp_path / "none", None, Kind.NOT_FOUND, "no such file or folder"),
        (data, None, Kind.INPUT, "the shape of its records is not declared"),
        (declared, flags, Kind.INPUT, "is a declaration, which says everything: format was given as well"),
        (release, flags, Kind.INPUT, "is a release, whose manifest and rows say everything: format was given as well"),
        (export, flags, Kind.INPUT, "is a semver export, whose rows say the rest: format was given as well"),
        (unnamed, None, Kind.INPUT, "the export does not say the name of its dataset"),
        (tmp_path / "notes.csv", flags, Kind.INPUT, "no manifest.json here, and nothing else that is read"),
        (tmp_path / "empty", None, Kind.INPUT, "no manifest.json here, and nothing else that is read"),
        (data, {"format": "chta"}, Kind.INPUT, "input should be 'chat'"),
        (data, {"format": "chat", "split": {"val": 0.6, "test": 0.6}}, Kind.INPUT, "val and test together must be"),
    ):
        error = error_of(given, said)
        assert (error.kind, error.message.startswith(message)) == (kind, True), error
        assert error.where
        assert error.hint


def test_a_declaration_with_a_fault_points_at_it(tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text(DECLARATION.replace("family:", "familly:"))
    error = error_of(tmp_path / "notes.yaml")
    assert error.where == f"{tmp_path / 'notes.yaml'}:6:1"
    assert error.hint == "did you mean 'family'?"


def test_a_release_that_was_moved_is_still_itself(tmp_path: Path) -> None:
    folder = sample_release(tmp_path)
    moved = Path(shutil.move(folder, tmp_path / "elsewhere"))
    head = read_head(bring(str(moved), into=tmp_path / "home"))
    assert (head.name, head.version) == (NAME, VERSION)
