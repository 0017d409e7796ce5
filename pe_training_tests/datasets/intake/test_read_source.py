"""Files of a source come as a stream of rows, reasons and problems, and the counts add up."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.accept import accept
from pe_training.datasets.conversion import Conversion
from pe_training.datasets.intake.formats import NO_ASSISTANT, Dropped
from pe_training.datasets.intake.read_source import read_source_rows
from pe_training.datasets.intake.source import source_for
from pe_training.datasets.intake.tally import MAX_REASONS, OTHER_REASONS, Converted, Tally
from pe_training.datasets.report import Problem
from pe_training.datasets.rows import Row
from pe_training_tests.datasets.intake.shapes import WORDS, counted, quiet_datasets, source_of, write_lines
from pe_training_tests.datasets.samples import SUITES, fresh_state
from pe_training_tests.releases import build_release
from pe_training_tests.shared_data import SHARED_DATA, needs_shared_data

CHATS: list[dict[str, Any]] = [
    {"id": f"c{number}", "messages": [{"role": "human", "content": f"Question {number}?"}, {"role": "bot", "content": "Tell me more."}]}
    for number in range(7)
]


def problems(items: list[Converted]) -> list[str]:
    found = [item.outcome for item in items if isinstance(item.outcome, Problem)]
    return [f"{p.check} {p.where} {p.field}: {p.message}" for p in found]


def rows(items: list[Converted]) -> list[Row]:
    return [item.outcome for item in items if isinstance(item.outcome, Row)]


def test_json_lines_gzip_parquet_and_a_saved_folder_give_the_same_rows(tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "a.jsonl", CHATS)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.read_bytes()))
    pq.write_table(pa.Table.from_pylist(CHATS), tmp_path / "c.parquet")
    with quiet_datasets() as datasets:
        datasets.Dataset.from_list(CHATS).save_to_disk(tmp_path / "d", num_shards=3)
    files = ["a.jsonl", "b.jsonl.gz", "c.parquet", "d"]
    source = source_of("chat", files=[{"path": file, "rows": 7} for file in files])
    items = list(read_source_rows(tmp_path, source))
    assert problems(items) == []
    found = [[m.content for m in row.messages] for row in rows(items)]
    assert found == [[f"Question {n}?", "Tell me more."] for n in range(7)] * 4
    assert [item.where for item in items[::7]] == ["a.jsonl:1", "b.jsonl.gz:1", "c.parquet:1", "d/data-00000-of-00003.arrow:1"]
    assert rows(items)[-1].metadata.source_key == "notes/d/data-00002-of-00003.arrow#c6"
    assert counted(read_source_rows(tmp_path, source)) == Conversion(read=28, converted=28, dropped={}, refused={}, files={})


def test_a_dict_of_splits_keeps_them(tmp_path: Path) -> None:
    with quiet_datasets() as datasets:
        made = {split: datasets.Dataset.from_list(CHATS[:number]) for split, number in [("train", 3), ("validation", 2), ("test", 1)]}
        datasets.DatasetDict(made).save_to_disk(tmp_path / "saved")
    source = source_for(tmp_path / "saved", format="chat")
    items = list(read_source_rows(tmp_path / "saved", source))
    assert [row.metadata.split for row in rows(items)] == ["train"] * 3 + ["val"] * 2 + ["test"]
    assert items[3].where == "saved/validation/data-00000-of-00001.arrow:1"
    assert [item.where for item in read_source_rows(tmp_path, source)] == [item.where for item in items]


def test_splits_of_unknown_names_must_be_declared(tmp_path: Path) -> None:
    with quiet_datasets() as datasets:
        datasets.DatasetDict({"train_sft": datasets.Dataset.from_list(CHATS[:1])}).save_to_disk(tmp_path / "saved")
    path = tmp_path / "saved"
    assert counted(read_source_rows(path, source_for(path, format="chat"))).refused == {"the name of the split's folder is not a split": 1}
    assert counted(read_source_rows(path, source_for(path, format="chat", split="train"))).converted == 1


def test_nested_columns_of_a_saved_folder_are_read(tmp_path: Path) -> None:
    records = [{"text": "a", "label": 1, "group": {"age": "30"}}, {"text": "b", "label": None, "group": None}]
    with quiet_datasets() as datasets:
        datasets.Dataset.from_list(records).save_to_disk(tmp_path / "saved")
    items = list(read_source_rows(tmp_path / "saved", source_for(tmp_path / "saved", format="labelled_text", label="mood")))
    assert [(row.metadata.labels, row.metadata.group) for row in rows(items)] == [({"mood": 1}, {"age": "30"})]
    assert problems(items) == ["schema saved/data-00000-of-00001.arrow:2 label: is missing"]


def test_reading_does_not_import_the_library_that_wrote_it(tmp_path: Path) -> None:
    with quiet_datasets() as datasets:
        datasets.Dataset.from_list(CHATS).save_to_disk(tmp_path / "saved")
    code = (
        "import sys; from pathlib import Path; from pe_training.datasets.intake.source import source_for;"
        "from pe_training.datasets.intake.read_source import read_source_rows;"
        "p = Path(sys.argv[1]);"
        "assert 'pyarrow' not in sys.modules; n = len(list(read_source_rows(p, source_for(p, format='chat'))));"
        "sys.exit(0 if n == 7 and 'datasets' not in sys.modules and 'pyarrow' in sys.modules else 1)"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "saved")], cwd=root, check=False).returncode == 0


def test_what_is_wrong_has_its_place_and_never_the_text(tmp_path: Path) -> None:
    records: list[dict[str, Any] | str] = [
        CHATS[0], "", '{"messages": "' + WORDS, f'["{WORDS}"]', {"messages": [{"role": WORDS, "content": WORDS}]},
        {"messages": [{"role": "user", "content": WORDS}]}, '{"messages": NaN}', CHATS[0] | {"weight": WORDS},
    ]  # fmt: skip
    write_lines(tmp_path / "notes.jsonl", records)
    items = list(read_source_rows(tmp_path, source_of("chat")))
    assert problems(items) == [
        "schema notes.jsonl:3 : is not valid JSON",
        "schema notes.jsonl:4 : must be a JSON object",
        "schema notes.jsonl:5 messages.0.role: is not a known role; known: user, human, client, patient, seeker, assistant, bot, gpt, "
        "therapist, counselor, counsellor, supporter, system",
        "schema notes.jsonl:7 : is not valid JSON",
        "schema notes.jsonl:8 weight: is not a field of the format; allowed here: group, id, labels, license, messages, source, split; "
        "list the field under 'ignore' of the source to leave it out",
    ]
    assert items[4] == Converted(where="notes.jsonl:6", outcome=Dropped(NO_ASSISTANT))
    conversion = counted(items)
    assert conversion.summary == (
        "7 records read, 1 converted, 1 dropped (no assistant turn: 1), 5 refused (is not valid JSON: 2, messages.*.role: is not a known "
        "role: 1, must be a JSON object: 1, weight: is not a field of the format: 1)"
    )
    assert WORDS not in str(problems(items)) + conversion.summary


@pytest.mark.parametrize("key", ['"messages"', '"mess\\u0061ges"'])
def test_a_key_that_stands_twice_is_refused_and_not_read_once(tmp_path: Path, key: str) -> None:
    text = json.dumps(CHATS[0])
    write_lines(tmp_path / "notes.jsonl", [text, f"{text[:-1]}, {key}: []}}", text.replace('"content"', '"content": "x", "content"', 1)])
    assert problems(list(read_source_rows(tmp_path, source_of("chat")))) == [
        "schema notes.jsonl:2 : the key 'messages' stands twice in one object",
        "schema notes.jsonl:3 : the key 'content' stands twice in one object",
    ]


def test_a_file_that_is_not_what_was_declared_is_a_problem_of_the_file(tmp_path: Path) -> None:
    write_lines(tmp_path / "notes.jsonl", CHATS)
    source = source_of("chat", files=[{"path": "notes.jsonl", "sha256": "0" * 64, "rows": 8}])
    items = list(read_source_rows(tmp_path, source))
    assert problems(items) == [
        "shard_digests notes.jsonl sha256: is not the declared digest",
        "manifest_counts notes.jsonl rows: declares 8 rows and has 7",
    ]
    assert [item.about for item in items] == ["file", *["row"] * 7, "file"]
    assert counted(items).summary == (
        "7 records read, 7 converted, 0 dropped, 2 wrong files (rows: declares 8 rows and has 7: 1, sha256: is not the declared digest: 1)"
    )


@pytest.mark.parametrize("kind", ["gz", "parquet", "arrow"])
def test_a_damaged_file_is_read_as_far_as_it_goes(tmp_path: Path, kind: str) -> None:
    lines = write_lines(tmp_path / "a.jsonl", CHATS * 500).read_bytes()
    if kind == "gz":
        path, message = tmp_path / "b.jsonl.gz", "the compressed file is damaged here; the rest of it is not read"
        path.write_bytes(gzip.compress(lines)[:-200])
    elif kind == "parquet":
        path, message = tmp_path / "b.parquet", "the Parquet file cannot be read (ArrowInvalid)"
        path.write_bytes(b"PAR1 and nothing more")
    else:
        path, message = tmp_path / "saved", "the Arrow file cannot be read ("
        with quiet_datasets() as datasets:
            datasets.Dataset.from_list(CHATS * 500).save_to_disk(path)
        arrow = path / "data-00000-of-00001.arrow"
        arrow.write_bytes(arrow.read_bytes()[:-20_000])
    items = list(read_source_rows(path, source_for(path, format="chat", name="b")))
    assert len(problems(items)) == 1
    assert message in problems(items)[0]
    assert items[-1].about == "file"
    assert len(rows(items)) == len(items) - 1 < 3500


@pytest.mark.parametrize("rows_left", [1_000, 2_000, 3_500], ids=["one batch", "two batches", "all but the end mark"])
def test_an_arrow_file_that_was_cut_between_two_batches_is_not_taken_for_whole(tmp_path: Path, rows_left: int) -> None:
    with quiet_datasets() as datasets:
        datasets.Dataset.from_list(CHATS * 500).save_to_disk(tmp_path / "saved")
    arrow = tmp_path / "saved" / "data-00000-of-00001.arrow"
    with pa.OSFile(str(arrow)) as file, pa.ipc.open_stream(file) as reader:
        rows_read = 0
        while rows_read < rows_left:
            rows_read += reader.read_next_batch().num_rows
        end = file.tell()
    arrow.write_bytes(arrow.read_bytes()[:end])
    items = list(read_source_rows(tmp_path / "saved", source_for(tmp_path / "saved", format="chat")))
    message = "the Arrow file has no end mark: it was cut, or is older than 2019"
    assert problems(items) == [f"schema saved/data-00000-of-00001.arrow:{rows_left + 1} : {message}"]


def test_an_arrow_file_with_a_column_twice_is_not_read(tmp_path: Path) -> None:
    with quiet_datasets() as datasets:
        datasets.Dataset.from_list([{"text": "x", "label": 1}]).save_to_disk(tmp_path / "saved")
    table = pa.table([pa.array(["x"]), pa.array(["y"]), pa.array([1])], names=["text", "text", "label"])
    with pa.OSFile(str(tmp_path / "saved" / "data-00000-of-00001.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    items = list(read_source_rows(tmp_path / "saved", source_for(tmp_path / "saved", format="labelled_text")))
    assert problems(items) == ["schema saved/data-00000-of-00001.arrow:1 : a column of the Arrow file stands twice"]


@pytest.mark.parametrize("kind", ["jsonl", "arrow"])
def test_a_long_file_is_never_in_memory_at_once(tmp_path: Path, kind: str) -> None:
    records = [{"prompt": f"{number} " + "word " * 400, "response": "Tell me more."} for number in range(8_000)]
    path = write_lines(tmp_path / "notes.jsonl", records)
    if kind == "arrow":
        path = tmp_path / "saved"
        with quiet_datasets() as datasets:
            datasets.Dataset.from_list(records).save_to_disk(path)
    del records
    source = source_for(path, format="prompt_response")
    next(iter(read_source_rows(path, source)))  # what is imported on the way is not counted
    tracemalloc.start()
    try:
        conversion = counted(read_source_rows(path, source))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert conversion.converted == 8_000
    assert peak_bytes < 8_000_000  # of 16 MB; a batch of a thousand is 2 MB


PLACES = [
    ("../notes.jsonl", Kind.INPUT, "leaves the folder or is not written plainly"),
    ("/etc/notes.jsonl", Kind.INPUT, "leaves the folder or is not written plainly"),
    ("a/./notes.jsonl", Kind.INPUT, "leaves the folder or is not written plainly"),
    ("s3://bucket/notes.jsonl", Kind.INPUT, "is not a plain path"),
    ("a\\notes.jsonl", Kind.INPUT, "is not a plain path"),
    ("link.jsonl", Kind.INPUT, "passes a symbolic link"),
    ("none.jsonl", Kind.NOT_FOUND, "no such file"),
    ("notes.csv", Kind.INPUT, "is not a kind of file that is read"),
    ("empty", Kind.INPUT, "is not a kind of file that is read"),
]


@pytest.mark.parametrize(("path", "kind", "message"), PLACES)
def test_a_path_outside_the_folder_is_refused_before_anything_is_read(tmp_path: Path, path: str, kind: Kind, message: str) -> None:
    folder = tmp_path / "source"
    write_lines(tmp_path / "notes.jsonl", CHATS)
    write_lines(folder / "notes.csv", CHATS)
    (folder / "empty").mkdir()
    (folder / "link.jsonl").symlink_to(tmp_path / "notes.jsonl")
    with pytest.raises(PeError) as caught:
        read_source_rows(folder, source_of("chat", files=[{"path": path}]))
    assert (caught.value.kind, caught.value.where, caught.value.message) == (kind, "notes:files.0.path", message)


def test_a_single_file_must_be_the_one_that_is_declared(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "other.jsonl", CHATS)
    with pytest.raises(PeError) as caught:
        read_source_rows(path, source_of("chat"))
    assert str(caught.value) == f"{path}: is not the one file of the source (give the folder that the source's files lie in)"
    with pytest.raises(PeError) as caught:
        read_source_rows(tmp_path / "none", source_of("chat"))
    assert caught.value.kind is Kind.NOT_FOUND


STATES = [
    ("not JSON", "is not a JSON object"),
    ("{}", "lists no _data_files with a filename"),
    ('{"_data_files": [{"name": "x"}]}', "lists no _data_files with a filename"),
    ('{"_data_files": [{"filename": "../a.arrow"}]}', "leaves the folder or is not written plainly"),
    ('{"_data_files": [{"filename": "state.json"}]}', "is not an .arrow file"),
    (
        '{"_data_files": [], "_indices_files": [{"filename": "i.arrow"}]}',
        "the rows are reordered by an indices file, as old versions wrote",
    ),
]


@pytest.mark.parametrize(("state", "message"), STATES)
def test_a_saved_folder_that_is_damaged_is_refused(tmp_path: Path, state: str, message: str) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "state.json").write_text(state)
    with pytest.raises(PeError) as caught:
        read_source_rows(tmp_path, source_of("chat", files=[{"path": "saved"}]))
    assert (caught.value.kind, caught.value.message) == (Kind.INPUT, message)


def test_a_tally_keeps_a_hundred_reasons_and_tells_five() -> None:
    tally = Tally()
    for number in range(MAX_REASONS + 50):
        problem = Problem(check="schema", where=f"f:{number}", field=f"labels.k{number}", message="is not a label")
        assert tally.add(Converted(where=problem.where, outcome=problem)).outcome is problem
    refused = tally.conversion().refused
    assert (len(refused), refused[OTHER_REASONS], sum(refused.values())) == (MAX_REASONS + 1, 50, MAX_REASONS + 50)
    error = tally.refusal(name="notes")
    assert error.message == (
        "notes is not what was declared, and nothing of it was taken: 150 records read, 0 converted, 0 dropped, 150 refused "
        "(other reasons: 50, labels.k0: is not a label: 1, labels.k10: is not a label: 1, labels.k11: is not a label: 1, "
        "labels.k12: is not a label: 1, "
        "96 more reasons: 96)"
    )
    assert error.hint == "look at f:0 labels.k0, f:1 labels.k1, f:2 labels.k2, f:3 labels.k3, f:4 labels.k4"


def accepted_or_why(tmp_path: Path, **declared: Any) -> set[str]:
    source = source_of("chat", split={"val": 0.3, "test": 0.3}, **declared)
    write_lines(tmp_path / "notes.jsonl", CHATS)
    found = [row.content() for row in rows(list(read_source_rows(tmp_path, source)))]
    folder = build_release(tmp_path / "notes" / "v1", found, name="notes", version="v1")
    return {check.name for check in accept(folder, suites=SUITES, state=fresh_state(tmp_path / "home")).report.failed}


def test_what_was_not_declared_fails_its_check_and_what_was_declared_passes(tmp_path: Path) -> None:
    assert accepted_or_why(tmp_path / "a") == {"licences", "pii_status", "known_families"}
    declared = {"license_tag": "synthetic", "pii_status": "none_detected", "family": "professional_therapeutic"}
    assert accepted_or_why(tmp_path / "b", **declared) == set()


REAL: dict[str, tuple[str, int, dict[str, int], dict[str, int]]] = {  # file -> format, converted, dropped, refused
    "aipsy_scenarios": ("chat", 0, {NO_ASSISTANT: 20}, {}),
    "bbq": ("labelled_text", 0, {}, {"choices: is not a field of the format": 3000}),
    "bolt_client_behaviour": ("labelled_text", 88, {}, {}),
    "bolt_therapist_behaviour": ("labelled_text", 422, {}, {}),
    "cbt_bench": ("labelled_text", 370, {}, {}),  # several labels a text
    "counsel_chat": ("chat", 2129, {}, {}),
    "crows_pairs": ("labelled_text", 0, {}, {"text_b: is not a field of the format": 1508}),
    "davidson_toxicity": ("labelled_text", 10093, {}, {}),
    "epitome_er": ("labelled_text", 2620, {}, {}),
    "epitome_ex": ("labelled_text", 2620, {}, {}),
    "epitome_ip": ("labelled_text", 2620, {}, {}),
    "eq_bench_v2": ("labelled_text", 171, {}, {}),  # emotions and their scores
    "esconv_strategies": ("labelled_text", 7655, {}, {}),
    "failed_esconv": ("chat", 196, {}, {}),
    "goemotions_ekman": ("labelled_text", 20968, {}, {}),
    "simple_safety_tests": ("labelled_text", 80, {}, {}),
    "vera_crisis_first3": ("labelled_text", 105, {}, {}),
    "vera_mh_conversations": ("chat", 105, {}, {}),
    "wiki_toxicity": ("labelled_text", 1492, {}, {}),
}


@needs_shared_data
def test_every_real_file_has_its_format() -> None:
    assert {path.stem for path in SHARED_DATA.glob("*.jsonl")} == set(REAL)


@needs_shared_data
@pytest.mark.parametrize("name", REAL)
def test_real_files_are_read_and_the_counts_add_up(name: str) -> None:
    declared, converted, dropped, refused = REAL[name]
    path = SHARED_DATA / f"{name}.jsonl"
    lines = len(path.read_bytes().splitlines())
    conversion = counted(read_source_rows(path, source_for(path, format=declared)))
    assert conversion == Conversion(read=lines, converted=converted, dropped=dropped, refused=refused, files={})
    assert converted + sum(dropped.values()) + sum(refused.values()) == lines


@needs_shared_data
@pytest.mark.parametrize(("name", "ignore"), [("bbq", ["choices", "answer_info", "stereotyped_groups"]), ("crows_pairs", ["text_b"])])
def test_real_files_with_more_columns_are_read_without_the_ones_that_are_ignored(name: str, ignore: list[str]) -> None:
    path = SHARED_DATA / f"{name}.jsonl"
    conversion = counted(read_source_rows(path, source_for(path, format="labelled_text", ignore=ignore)))
    assert conversion.converted == conversion.read == {"bbq": 3000, "crows_pairs": 1508}[name]


@needs_shared_data
def test_real_rows_keep_their_splits_labels_and_stated_licence() -> None:
    path = SHARED_DATA / "failed_esconv.jsonl"
    given = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = rows(list(read_source_rows(path, source_for(path, format="chat"))))
    for record, row in zip(given, found, strict=True):
        labels = row.metadata.labels or {}
        assert len(row.messages) == len(record["messages"])
        for who, answers in record["labels"]["survey"].items():
            for what, answer in answers.items():
                assert labels[f"survey.{who}.{what}"] == answer
        assert row.metadata.provenance.processing_steps == (
            "convert: chat", f"stated source: {record['source']}", "stated license: CC-BY-NC-4.0",
        )  # fmt: skip
