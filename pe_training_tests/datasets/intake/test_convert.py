"""Foreign files become a release folder: whole or not at all, once, the same bytes every time, and traceable to the file they were."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.core.progress import listening
from pe_training.datasets.intake import convert as converting
from pe_training.datasets.intake import release_writer
from pe_training.datasets.intake.convert import convert_export, convert_source
from pe_training.datasets.intake.formats import CUT, NO_ASSISTANT
from pe_training.datasets.intake.semver import read_semver_export
from pe_training.datasets.intake.source import source_for
from pe_training.datasets.release import read_head, release_digest
from pe_training_tests.datasets.intake.shapes import ANSWER, QUESTION, WORDS, source_of, write_lines
from pe_training_tests.datasets.intake.test_semver import write_export
from pe_training_tests.datasets.samples import read, report_on, sample_rows
from pe_training_tests.releases import encode_rows

GOOD = {"license_tag": "synthetic", "pii_status": "none_detected", "family": "mental_health_datasets"}


def chats(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"c{n}", "messages": [{"role": "client", "content": f"Question {n}, please?"}, {"role": "bot", "content": ANSWER}]}
        for n in range(count)
    ]


def notes(folder: Path, records: list[Any] | None = None) -> Path:
    return write_lines(folder / "notes.jsonl", chats(40) if records is None else records)


def everything_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_declared_file_becomes_a_release_that_is_accepted(tmp_path: Path) -> None:
    source = source_of("chat", split={"val": 0.3, "test": 0.3}, processed_at="2026-02-03T00:00:00Z", **GOOD)
    folder = convert_source(notes(tmp_path).parent, source, into=tmp_path / "home")
    report = report_on(folder)
    assert report.accepted, report.summary
    assert report.rows == 40
    head = read_head(folder)
    assert (head.name, head.version, head.manifest.generated_at) == ("notes", "v1", "2026-02-03T00:00:00Z")


def test_the_manifest_leads_back_to_the_file(tmp_path: Path) -> None:
    path = notes(tmp_path, [*chats(3), {"id": "u", "messages": [{"role": "user", "content": "Hello?"}]}])
    source = source_of("chat")
    origin = read_head(convert_source(tmp_path, source, into=tmp_path / "home")).manifest.conversion
    assert origin is not None
    assert (origin.format, origin.declaration) == ("chat", source.content_digest)
    assert [(file.path, file.sha256) for file in origin.files] == [("notes.jsonl", hashlib.sha256(path.read_bytes()).hexdigest())]
    assert origin.counts.content() == {"read": 4, "converted": 3, "cut": 0, "dropped": {NO_ASSISTANT: 1}, "refused": {}, "files": {}}
    assert origin.counts.summary == "4 records read, 3 converted, 1 dropped (no assistant turn: 1)"


def test_the_report_of_a_converted_release_keeps_the_counts(tmp_path: Path) -> None:
    folder = convert_source(notes(tmp_path).parent, source_of("chat", **GOOD), into=tmp_path / "home")
    report = report_on(folder)
    assert report.conversion == read_head(folder).manifest.conversion
    assert report.conversion is not None


def test_the_same_source_gives_the_same_bytes_and_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of("chat", split={"val": 0.2, "test": 0.2})
    notes(tmp_path)
    first, second = (convert_source(tmp_path, source, into=tmp_path / home) for home in ("a", "b"))
    assert release_digest(first) == release_digest(second)
    assert first.relative_to(tmp_path / "a") == second.relative_to(tmp_path / "b")
    monkeypatch.setattr(converting, "read_source_rows", None)  # nothing is read a second time
    assert convert_source(tmp_path, source, into=tmp_path / "a") == first


def test_another_declaration_or_file_is_another_conversion_beside_the_first(tmp_path: Path) -> None:
    notes(tmp_path)
    into = tmp_path / "home"
    found = [convert_source(tmp_path, source_of("chat", **declared), into=into) for declared in ({}, GOOD)]
    notes(tmp_path, chats(3))
    found.append(convert_source(tmp_path, source_of("chat", **GOOD), into=into))
    assert len(set(found)) == 3
    assert {folder.parent for folder in found} == {into / "converted" / "notes"}
    assert all(read_head(folder).version == "v1" for folder in found)


def test_a_record_that_does_not_fit_is_told_with_all_counts_and_nothing_is_written(tmp_path: Path) -> None:
    wrong: list[Any] = [{"messages": [{"role": WORDS, "content": WORDS}]}, '{"messages": "' + WORDS, {"weight": WORDS} | chats(1)[0]]
    notes(tmp_path, [*chats(30), *wrong, *wrong, *wrong])
    with pytest.raises(PeError) as caught:
        convert_source(tmp_path, source_of("chat", ignore=["other"]), into=tmp_path / "home")
    error = caught.value
    assert (error.kind, error.where) == (Kind.REFUSED, "notes.jsonl:31")
    assert error.message == (
        "notes is not what was declared, and nothing of it was taken: 39 records read, 30 converted, 0 dropped, 9 refused "
        "(is not valid JSON: 3, messages.*.role: is not a known role: 3, weight: is not a field of the format: 3)"
    )
    assert error.hint == (
        "look at notes.jsonl:31 messages.0.role, notes.jsonl:32, notes.jsonl:33 weight; known: user, human, client, patient, seeker, "
        "assistant, bot, gpt, therapist, counselor, counsellor, supporter, system; allowed here: group, id, labels, license, messages, "
        "source, split; list the field under 'ignore' of the source to leave it out"
    )
    assert WORDS not in str(error)
    assert everything_below(tmp_path / "home") == ["converted", "converted/notes"]


def test_a_file_that_changes_meanwhile_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = notes(tmp_path)
    real = converting.read_source_rows

    def read_and_write(*arguments: Any) -> Any:
        yield from real(*arguments)
        path.write_text(path.read_text() + "\n")

    monkeypatch.setattr(converting, "read_source_rows", read_and_write)
    with pytest.raises(PeError, match="a file changed while it was converted") as caught:
        convert_source(tmp_path, source_of("chat"), into=tmp_path / "home")
    assert caught.value.kind is Kind.BUSY
    assert everything_below(tmp_path / "home") == ["converted", "converted/notes"]


def test_facts_that_nobody_declared_are_refused_by_their_checks(tmp_path: Path) -> None:
    notes(tmp_path)
    report = report_on(convert_source(tmp_path, source_of("chat", split={"val": 0.2, "test": 0.2}), into=tmp_path / "home"))
    assert {check.name for check in report.failed} == {"licences", "pii_status", "known_families"}


def test_shards_are_cut_at_a_fixed_number_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_writer, "MAX_SHARD_ROWS", 15)
    notes(tmp_path)
    head = read_head(convert_source(tmp_path, source_of("chat", split="train", **GOOD), into=tmp_path / "home"))
    assert [(shard.name, shard.entry.conversation_count) for shard in head.shards] == [
        ("train/part-00000.jsonl", 15), ("train/part-00001.jsonl", 15), ("train/part-00002.jsonl", 10),
    ]  # fmt: skip
    checks = {check.name: check for check in report_on(head.path).checks}
    assert checks["manifest_counts"].passed
    assert checks["shard_digests"].passed


def test_client_turns_after_the_last_answer_are_cut_only_where_it_was_declared(tmp_path: Path) -> None:
    open_ended = {
        "messages": [*chats(1)[0]["messages"], {"role": "client", "content": "Thank you."}, {"role": "client", "content": "Bye."}]
    }
    unanswered = {"messages": [{"role": "client", "content": "Hello?"}]}
    notes(tmp_path, [*chats(5)[1:], open_ended, unanswered])
    as_it_is = read(convert_source(tmp_path, source_of("chat"), into=tmp_path / "home"))
    assert [profile.shape for profile, _ in as_it_is.rows.counted()] == ["UA", "UAUU"]
    cut = read(convert_source(tmp_path, source_of("chat", trailing_client_turns="drop"), into=tmp_path / "home"))
    assert [(profile.shape, count) for profile, count in cut.rows.counted()] == [("UA", 5)]
    steps = [json.loads(cut.rows.canonical(n))["metadata"]["provenance"]["processing_steps"] for n in range(5)]
    assert steps == [["convert: chat"]] * 4 + [["convert: chat", CUT]]
    origin = cut.manifest.conversion
    assert origin is not None
    assert origin.counts.summary == "6 records read, 5 converted (1 cut after the last answer), 1 dropped (no assistant turn: 1)"
    assert all(cut.rows.profiles[0].hash_matches for _ in cut.rows)


def test_pairs_become_rows_with_a_rejected_answer_and_their_purpose(tmp_path: Path) -> None:
    records = [{"prompt": f"{QUESTION} {n}", "chosen": f"{ANSWER} {n}", "rejected": f"Just sleep, {n}."} for n in range(40)]
    source = source_of("preference", split={"val": 0.2, "test": 0.2}, **GOOD | {"family": "dpo_preference"})
    notes(tmp_path, records)
    report = report_on(convert_source(tmp_path, source, into=tmp_path / "home"))
    assert report.accepted, report.summary


def test_progress_is_told_and_ends_at_the_end(tmp_path: Path) -> None:
    notes(tmp_path, chats(500))
    told: list[tuple[str, int, int]] = []
    with listening(lambda *said: told.append(said)):
        convert_source(tmp_path, source_of("chat"), into=tmp_path / "home")
    assert 50 < len(told) <= 100
    assert {(what, total) for what, _, total in told} == {("converting", (tmp_path / "notes.jsonl").stat().st_size)}
    assert [done for _, done, _ in told] == sorted({done for _, done, _ in told})
    assert told[-1][1] > 0.98 * told[-1][2]


# Semver exports


def export_of(folder: Path, rows: list[dict[str, Any]], *, tables: list[dict[str, Any]] | None = None, **changes: Any) -> Path:
    """An export of release rows, with a Parquet copy of ``tables`` where given."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for kind, of_kind in (("jsonl", rows), ("parquet", tables)):
        if of_kind is not None:
            data = encode_rows(of_kind, kind)  # type: ignore[arg-type]
            (folder / f"dataset_v1.2.0.{kind}").write_bytes(data)
            files[f"dataset_v1.2.0.{kind}"] = {"sha256": hashlib.sha256(data).hexdigest(), "row_count": len(of_kind)}
    (folder / "manifest_v1.2.0.json").write_text(json.dumps({"files": files} | changes))
    return folder


def convert(folder: Path, *, into: Path) -> Path:
    return convert_export(read_semver_export(folder), name="exported", into=into)


def test_an_export_with_both_copies_becomes_a_release_that_is_accepted(tmp_path: Path) -> None:
    rows = sample_rows()
    stated = {"generated_at": "2026-03-04T05:06:07Z", "holdout_families": {"sarcasm": {"test_split_only": True, "rationale": "tone"}}}
    rows[24]["metadata"] |= {"source_family": "sarcasm"}
    folder = convert(export_of(tmp_path / "export", rows, tables=rows[::-1], **stated), into=tmp_path / "home")
    report = report_on(folder)
    assert report.accepted, report.summary
    head = read_head(folder)
    assert (head.name, head.version, head.manifest.generated_at) == ("exported", "v1.2.0", "2026-03-04T05:06:07Z")
    assert head.manifest.holdout_families["sarcasm"].test_split_only
    assert head.manifest.conversion is not None
    assert [file.path for file in head.manifest.conversion.files] == ["dataset_v1.2.0.jsonl", "dataset_v1.2.0.parquet"]
    assert head.manifest.conversion.counts.read == 26


def test_an_export_of_parquet_alone_gives_the_rows_that_json_lines_give(tmp_path: Path) -> None:
    rows = sample_rows()
    both = export_of(tmp_path / "both", rows, tables=rows)
    (alone := tmp_path / "alone").mkdir()
    body = json.loads((both / "manifest_v1.2.0.json").read_text())
    del body["files"]["dataset_v1.2.0.jsonl"]
    (alone / "manifest_v1.2.0.json").write_text(json.dumps(body))
    (alone / "dataset_v1.2.0.parquet").write_bytes((both / "dataset_v1.2.0.parquet").read_bytes())
    found = [read_head(convert(folder, into=tmp_path / "home")).file_digests for folder in (both, alone)]
    assert {name: digest for name, digest in found[0].items() if "part" in name} == {
        name: digest for name, digest in found[1].items() if "part" in name
    }


def without(folder: Path, **changes: Any) -> None:
    body = json.loads((folder / "manifest_v1.2.0.json").read_text())
    body["files"]["dataset_v1.2.0.jsonl"] |= changes
    (folder / "manifest_v1.2.0.json").write_text(json.dumps(body))


@pytest.mark.parametrize(
    ("rows", "tables", "changes", "told"),
    [
        (sample_rows(), sample_rows()[1:], {}, ("parquet", "lacks 1 rows that the other copy of the export holds")),
        (sample_rows()[2:], sample_rows(), {}, ("jsonl", "lacks 2 rows that the other copy of the export holds")),
        (sample_rows(), [*sample_rows()[1:], sample_rows()[1]], {}, ("parquet", "lacks 1 rows")),
        (sample_rows(), sample_rows(), {"row_count": 25}, ("jsonl row_count", "row_count: the manifest says 25, the file has 26")),
        (sample_rows(), sample_rows(), {"sha256": "0" * 64}, ("jsonl sha256", "sha256: is not the manifest's digest")),
        (sample_rows(), sample_rows(), {"size_bytes": 7}, ("jsonl size_bytes", "size_bytes: the manifest says 7, the file has ")),
        ([{"messages": []}, *sample_rows()], None, {}, ("jsonl:1 messages", "messages: tuple should have at least 1 item")),
    ],
)
def test_an_export_that_is_not_as_it_says_is_refused_by_name(
    tmp_path: Path, rows: list[dict[str, Any]], tables: list[dict[str, Any]] | None, changes: dict[str, Any], told: tuple[str, str]
) -> None:
    place, message = told
    folder = export_of(tmp_path / "export", rows, tables=tables) if "metadata" in rows[0] else tmp_path / "export"
    if "metadata" not in rows[0]:
        export_of(folder, rows[1:])
        data = json.dumps(rows[0]).encode() + b"\n" + (folder / "dataset_v1.2.0.jsonl").read_bytes()
        (folder / "dataset_v1.2.0.jsonl").write_bytes(data)
        changes = {"sha256": hashlib.sha256(data).hexdigest(), "row_count": 27}
    without(folder, **changes)
    with pytest.raises(PeError) as caught:
        convert(folder, into=tmp_path / "home")
    assert caught.value.kind is Kind.REFUSED
    assert message in caught.value.message
    assert f"look at dataset_v1.2.0.{place}" in f"{caught.value.hint}".split("; ")[0].split(", ")
    assert everything_below(tmp_path / "home") == ["converted", "converted/exported"]


def test_a_row_of_an_export_with_a_key_twice_is_refused(tmp_path: Path) -> None:
    folder = export_of(tmp_path / "export", sample_rows())
    path = folder / "dataset_v1.2.0.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"split"', b'"split":"test","split"', 1))
    without(folder, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(PeError, match="the key 'split' stands twice in one object"):
        convert(folder, into=tmp_path / "home")


def test_an_export_of_wrong_rows_is_not_kept_in_memory(tmp_path: Path) -> None:
    folder = export_of(tmp_path / "export", [{"number": number, "text": WORDS * 5_000} for number in range(300)])
    with pytest.raises(PeError):
        convert(folder, into=tmp_path / "home")  # what is imported on the way is not counted
    tracemalloc.start()
    try:
        with pytest.raises(PeError, match="300 refused"):
            convert(folder, into=tmp_path / "home")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8_000_000  # of 33 MB


def test_holdouts_that_cannot_be_read_are_not_left_behind(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "export", holdout_families=["sarcasm"])
    with pytest.raises(PeError, match="is not a mapping of families to holdouts"):
        convert(folder, into=tmp_path / "home")


def test_a_time_that_is_none_is_not_taken_over(tmp_path: Path) -> None:
    folder = convert(write_export(tmp_path / "export"), into=tmp_path / "home")  # says created_at: 2026-01-01
    assert read_head(folder).manifest.generated_at == "1970-01-01T00:00:00Z"


def test_flags_and_a_declaration_give_the_same_rows(tmp_path: Path) -> None:
    path = notes(tmp_path)
    flagged = convert_source(path, source_for(path, format="chat", version="v1", **GOOD), into=tmp_path / "home")
    declared = convert_source(tmp_path, source_of("chat", **GOOD), into=tmp_path / "home")
    assert (flagged / "train" / "part-00000.jsonl").read_bytes() == (declared / "train" / "part-00000.jsonl").read_bytes()
