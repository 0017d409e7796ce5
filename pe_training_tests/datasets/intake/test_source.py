"""A declaration of foreign files says how to read them, and guesses nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.intake.hf_folder import folder_digest
from pe_training.datasets.intake.source import Source, SourceFile, SplitField, SplitShares, load_source, source_for
from pe_training.datasets.rows import content_hash
from pe_training_tests.datasets.intake.shapes import RECORDS, quiet_datasets, write_lines

DECLARATION = """\
apiVersion: pe-training/source-v1
name: counsel-notes
version: v1.0.0
format: labelled_text
files:
  - path: train.jsonl
    rows: 3
  - path: saved
family: professional_therapeutic
license_tag: public_domain
pii_status: scrubbed
phase: stage1_foundation
language: en
purpose: empathy
processing_pipeline: notes_v2
processed_at: "2026-01-01T00:00:00Z"
dedup_status: duplicate_removed
split: {val: 0.1, test: 0.1}
label: empathy
ignore: [choices, labels.score]
"""


def declared(tmp_path: Path, text: str) -> Source:
    path = tmp_path / "source.yaml"
    path.write_text(text)
    return load_source(path)


def test_a_declaration_is_read_whole(tmp_path: Path) -> None:
    source = declared(tmp_path, DECLARATION)
    assert source.files == (SourceFile(path="train.jsonl", rows=3), SourceFile(path="saved"))
    assert source.split == SplitShares(val=0.1, test=0.1)
    assert (source.label, source.ignore, source.dedup_status) == ("empathy", ("choices", "labels.score"), "duplicate_removed")
    assert source.content()["processed_at"] == "2026-01-01T00:00:00Z"


def test_the_same_declaration_has_the_same_digest(tmp_path: Path) -> None:
    assert declared(tmp_path, DECLARATION).content_digest == declared(tmp_path, DECLARATION).content_digest


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("test", "test"),
        ("validation", "val"),
        ("dev", "val"),
        ("{field: part}", SplitField(field="part")),
        ("{val: 0.2}", SplitShares(val=0.2)),
        ("{test: 0.5}", SplitShares(test=0.5)),
    ],
)
def test_a_split_is_declared_in_three_ways(tmp_path: Path, text: str, split: object) -> None:
    assert declared(tmp_path, DECLARATION.replace("{val: 0.1, test: 0.1}", text)).split == split


WRONG = [
    (
        "format: labelled_text",
        "format: csv",
        ":4:9: format: input should be 'chat', 'sharegpt', 'alpaca', 'prompt_response', "
        "'question_answer', 'conversation', 'preference' or 'labelled_text' (got 'csv')",
    ),
    ("format: labelled_text", "format: chat", ":1:1: (top level): label is for the format labelled_text"),
    (
        "name: counsel-notes",
        "name: Counsel Notes",
        ":2:7: name: string should match pattern '^[a-z0-9][a-z0-9-]{0,62}$' (got 'Counsel Notes')",
    ),
    (
        "version: v1.0.0",
        "version: latest",
        ":1:1: (top level): version must be such as v1.2.0: letters, digits, dots, hyphens; not 'latest'",
    ),
    ("pii_status", "pii_staus", ":11:1: unknown key 'pii_staus' (did you mean 'pii_status'?)"),
    ("apiVersion: pe-training/source-v1\n", "", ":1:1: missing key 'apiVersion' (add it)"),
    (
        "  - path: train.jsonl\n    rows: 3\n  - path: saved",
        "  []",
        ":1:1: (top level): files must list at least one path, and every path once",
    ),
    ("  - path: train.jsonl", "  - path: 3", ":6:11: files.0.path: input should be a valid string (got 3)"),
    ("  - path: saved", "  - path: train.jsonl", ":1:1: (top level): files must list at least one path, and every path once"),
    ("{val: 0.1, test: 0.1}", "holdout", ":18:8: split: input should be 'train', 'val' or 'test' (got 'holdout')"),
    ("{val: 0.1, test: 0.1}", "{val: 1.5}", ":18:14: split.val: input should be less than 1 (got 1.5)"),
    ("{val: 0.1, test: 0.1}", "{feild: part}", ":18:9: unknown key 'split.feild' (did you mean 'field'?)"),
    ("{val: 0.1, test: 0.1}", "{val: 0.5, test: 0.5}", ":18:8: split: val and test together must be more than 0 and less than 1"),
    ('"2026-01-01T00:00:00Z"', "2026-01-01T00:00:00Z", ":16:15: processed_at: must be written in quotes, such as '2026-01-01T00:00:00Z'"),
    (
        '"2026-01-01T00:00:00Z"',
        "yesterday",
        ":16:15: processed_at: must be an RFC 3339 time such as 2026-01-01T00:00:00Z (got 'yesterday')",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG)
def test_a_wrong_declaration_is_refused_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(PeError) as caught:
        declared(tmp_path, DECLARATION.replace(old, new))
    assert caught.value.kind is Kind.INPUT
    assert message in str(caught.value)


@pytest.mark.parametrize(("file", "stem"), [("my_notes.jsonl", "my-notes"), ("notes.v2.jsonl.gz", None), ("n.parquet", "n")])
def test_a_file_is_declared_from_flags(tmp_path: Path, file: str, stem: str | None) -> None:
    path = tmp_path / file
    path.write_bytes(b"{}\n")
    sha256 = hashlib.sha256(b"{}\n").hexdigest()
    if stem is None:
        with pytest.raises(PeError, match="name: string should match pattern"):
            source_for(path, format="chat")
    source = source_for(path, format="chat", name=None if stem else "given", pii_status="scrubbed")
    assert (source.name, source.version) == (stem or "given", f"x{sha256[:12]}")
    assert source.files == (SourceFile(path=file, sha256=sha256),)
    assert source.pii_status == "scrubbed"
    assert source_for(path, format="chat", name="given", version="v3").version == "v3"


def test_a_saved_folder_is_named_by_what_is_read_of_it(tmp_path: Path) -> None:
    with quiet_datasets() as datasets:
        datasets.Dataset.from_list([RECORDS["chat"]]).save_to_disk(tmp_path / "saved_chats")
    source = source_for(tmp_path / "saved_chats", format="chat")
    assert (source.name, source.version) == ("saved-chats", f"x{source.files[0].sha256 or ''}"[:13])
    assert f"sha256:{source.files[0].sha256}" == folder_digest(tmp_path / "saved_chats")
    (tmp_path / "saved_chats" / "cache-1.arrow").write_bytes(b"a cache that the library leaves")
    assert source_for(tmp_path / "saved_chats", format="chat") == source


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"format": "csv"}, "notes.jsonl:format: input should be 'chat', "),
        ({"format": "chat", "license_tag": "mit"}, "notes.jsonl:license_tag: input should be 'therapeutic_license', "),
        ({"format": "chat", "licence_tag": "custom"}, "notes.jsonl:licence_tag: unknown key; did you mean 'license_tag'?"),
        ({"format": "chat", "version": "latest"}, "notes.jsonl: version must be such as v1.2.0"),
    ],
)
def test_a_wrong_flag_is_refused_by_name(tmp_path: Path, flags: dict[str, Any], message: str) -> None:
    path = write_lines(tmp_path / "notes.jsonl", [RECORDS["chat"]])
    with pytest.raises(PeError) as caught:
        source_for(path, **flags)
    assert message in str(caught.value)


def test_only_known_kinds_of_files_have_a_source(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("a,b\n")
    for path, message in [
        (
            tmp_path / "notes.csv",
            "is not a kind of file that is read (use .jsonl, .jsonl.gz, .parquet, or a folder that save_to_disk wrote)",
        ),
        (tmp_path, "is not a kind of file that is read (use .jsonl, .jsonl.gz, .parquet, or a folder that save_to_disk wrote)"),
        (tmp_path / "none", "no such file (give a file, or a folder that save_to_disk wrote)"),
    ]:
        with pytest.raises(PeError) as caught:
            source_for(path, format="chat")
        assert str(caught.value) == f"{path}: {message}"


@given(val=st.floats(0, 0.99), test=st.floats(0, 0.99))
def test_shares_leave_some_to_train(val: float, test: float) -> None:
    if 0 < val + test < 1:
        assert SplitShares(val=val, test=test).split_of("sha256:" + "f" * 64) in {"train", "val", "test"}
        assert SplitShares(val=val, test=test).split_of("sha256:" + "0" * 64) != "train"
    else:
        with pytest.raises(ValidationError):
            SplitShares(val=val, test=test)


def test_shares_are_kept_within_a_point_on_many_contents() -> None:
    shares = SplitShares(val=0.1, test=0.2)
    found = [shares.split_of(content_hash([str(number)])) for number in range(20_000)]
    assert found.count("test") / len(found) == pytest.approx(0.2, abs=0.01)
    assert found.count("val") / len(found) == pytest.approx(0.1, abs=0.01)
