"""`pe dataset add|check` as its user runs it: files in other shapes, declarations, a bucket, and what is told of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pe_training.settings import SAMPLES
from pe_training_tests.datasets.intake.shapes import WORDS, write_lines
from pe_training_tests.datasets.intake.test_convert import chats
from pe_training_tests.datasets.intake.test_fetch import upload
from pe_training_tests.datasets.samples import sample_release
from pe_training_tests.e2e.chain import pe
from pe_training_tests.s3_server import BUCKET, SECRET, S3Server

SOURCE = SAMPLES / "sources" / "evening-talks" / "source.yaml"
DECLARED = ["--format", "chat", "--family", "mental_health_datasets", "--license", "synthetic", "--pii-status", "none_detected"]
pytestmark = pytest.mark.slow


def talk(stderr: str) -> list[str]:
    """What was said, without the progress that a slow machine tells every few seconds."""
    return [line for line in stderr.splitlines() if "%" not in line]


def test_the_sample_declaration_is_checked_added_and_added_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    checked = pe("dataset", "check", SOURCE, home=home)
    assert checked.code == 0, checked.stderr
    assert talk(checked.stderr) == ["12 records read, 12 converted, 0 dropped"]
    assert not (home / "converted").exists()
    added = pe("dataset", "add", SOURCE, "--json", home=home)
    assert added.code == 0, added.stderr
    assert added.json["conversion"]["format"] == "sharegpt"
    assert added.json["conversion"]["counts"]["converted"] == added.json["rows"] == 12
    again = pe("dataset", "add", SOURCE, "--json", home=home)
    assert again.json == added.json
    assert pe("verify", home=home).code == 0
    assert [row["label"] for row in pe("dataset", "ls", "--json", home=home).json["datasets"]] == ["evening-talks"]


def test_a_file_is_added_by_flags_and_what_was_dropped_is_counted(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "notes.jsonl", [*chats(40), {"messages": [{"role": "user", "content": "Hello?"}]}])
    shares = ["--val", "0.2", "--test", "0.2", "--language", "en", "--phase", "stage1_foundation", "--version", "v1.0.0"]
    added = pe("dataset", "add", path, *DECLARED, *shares, "--json", home=tmp_path / "home")
    assert added.code == 0, added.stdout
    assert talk(added.stderr) == ["41 records read, 40 converted, 1 dropped (no assistant turn: 1)"]
    assert (added.json["name"], added.json["version"]) == ("notes", "v1.0.0")


def test_what_was_not_said_is_refused_by_name_and_can_be_said_afterwards(tmp_path: Path) -> None:
    home, path = tmp_path / "home", write_lines(tmp_path / "notes.jsonl", chats(40))
    shares = ["--val", "0.2", "--test", "0.2", "--version", "v1.0.0"]
    refused = pe("dataset", "add", path, "--format", "chat", *shares, "--json", home=home)
    assert refused.code == 1
    assert "licences (40 rows), pii_status (40 rows), known_families (40 rows)" in refused.json["error"]["message"]
    assert pe("dataset", "add", path, *DECLARED, *shares, "--json", home=home).code == 0


def test_records_that_do_not_fit_are_one_error_with_counts_places_and_no_text(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "notes.jsonl", [*chats(2), {"messages": [{"role": WORDS, "content": WORDS}]}])
    refused = pe("dataset", "add", path, *DECLARED, home=tmp_path / "home")
    assert refused.code == 1
    assert refused.stdout == ""
    assert refused.stderr == (
        "error: notes.jsonl:3: notes is not what was declared, and nothing of it was taken: 3 records read, 2 converted, 0 dropped, 1 "
        "refused (messages.*.role: is not a known role: 1)\n"
        "  hint: look at notes.jsonl:3 messages.0.role; known: user, human, client, patient, seeker, assistant, bot, gpt, therapist, "
        "counselor, counsellor, supporter, system\n"
    )
    assert pe("dataset", "check", path, *DECLARED, "--json", home=tmp_path / "home").json["error"]["kind"] == "refused"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], "error: {path}: the shape of its records is not declared\n  hint: say it with --format (chat, "),
        (["--format", "chatt"], "error: {path}:format: input should be 'chat', 'sharegpt'"),
        (["--format", "chat", "--license", "mit"], "error: {path}:license_tag: input should be 'therapeutic_license', "),
        (["--format", "chat", "--val", "1.5"], "error: {path}:split."),
    ],
)
def test_a_wrong_flag_is_one_line_with_a_hint(tmp_path: Path, words: list[str], error: str) -> None:
    path = write_lines(tmp_path / "notes.jsonl", chats(2))
    result = pe("dataset", "check", path, *words, home=tmp_path / "home")
    assert result.code == 2
    assert result.stderr.startswith(error.format(path=path))
    assert "\n  hint: " in result.stderr


def test_a_declaration_is_a_file_that_pe_checks_and_describes(tmp_path: Path) -> None:
    assert pe("check", SOURCE, home=tmp_path).stdout == f"{SOURCE}: a valid source\n"
    wrong = tmp_path / "source.yaml"
    wrong.write_text(SOURCE.read_text().replace("license_tag", "licence_tag"))
    result = pe("check", wrong, home=tmp_path)
    assert result.code == 2
    assert result.stderr == f"error: {wrong}:11:1: unknown key 'licence_tag'\n  hint: did you mean 'license_tag'?\n"
    schema = json.loads(pe("schema", "source", home=tmp_path).stdout)
    assert schema["$id"] == "pe-training/source-v1"
    assert schema["required"] == ["apiVersion", "name", "version", "format", "files"]
    assert "labelled_text" in schema["properties"]["format"]["enum"]


def test_a_release_in_a_bucket_is_added_by_its_url(s3: S3Server, tmp_path: Path) -> None:
    upload(s3.files(), sample_release(tmp_path / "in"), f"{BUCKET}/added/day-talks/v1")
    url = f"s3://{BUCKET}/added/day-talks/v1"
    added = pe("dataset", "add", url, "--json", home=tmp_path / "home")
    assert added.code == 0, added.stdout
    assert added.json["name"] == "sample-dialogues"
    other = pe("dataset", "check", f"{url}0", "--json", home=tmp_path / "home")
    assert (other.code, other.json["error"]["kind"], other.json["error"]["where"]) == (2, "not_found", f"{url}0")
    away = pe("dataset", "add", url, home=tmp_path / "home", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert away.code == 3
    assert away.stderr.splitlines()[0] == f"error: {url}/manifest.json: the store failed (EndpointConnectionError)"
    assert SECRET not in added.stdout + added.stderr + away.stderr


def test_a_recalled_version_says_so_wherever_it_is_shown(tmp_path: Path) -> None:
    added = pe("dataset", "add", SOURCE, "--json", home=tmp_path).json
    page = Path(pe("dataset", "show", added["dataset"], "--json", home=tmp_path).json["page"])
    assert "it may be trained on" in page.read_text(encoding="utf-8")
    recalled = pe("recall", added["dataset"], "--reason", "consent was <b>withdrawn</b>", home=tmp_path)
    assert (recalled.code, recalled.stderr) == (0, "")
    laid = page.read_text(encoding="utf-8")
    assert "Recalled: nothing may be trained on it any more." in laid
    assert "consent was &lt;b&gt;withdrawn&lt;/b&gt;" in laid
    assert "it may be trained on" not in laid
    for words in (["dataset", "ls"], ["ls", "ds"]):
        assert "tainted by recall 1" in pe(*words, home=tmp_path).stdout
        assert [row["recalls"] for rows in pe(*words, "--json", home=tmp_path).json.values() if rows for row in rows] == [[1]]
    assert "TAINTED by recall 1" in pe("dataset", "show", added["dataset"], home=tmp_path).stdout
    assert pe("recall", "--lift", 1, "--reason", "the wrong person was meant", home=tmp_path).code == 0
    assert "it may be trained on" in page.read_text(encoding="utf-8")
    assert "tainted" not in pe("dataset", "ls", home=tmp_path).stdout
