"""What lies at a URL is copied whole, listed files only, once a state of the store; errors name the place and no credential."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.core.progress import listening
from pe_training.datasets.intake.bring import bring
from pe_training.datasets.intake.fetch import fetch
from pe_training.datasets.intake.remote import Remote
from pe_training.datasets.release import read_head, release_digest
from pe_training_tests.datasets.intake.shapes import quiet_datasets, write_lines
from pe_training_tests.datasets.intake.test_bring import DECLARATION
from pe_training_tests.datasets.intake.test_convert import chats, everything_below, export_of
from pe_training_tests.datasets.samples import NAME, VERSION, report_on, sample_release, sample_rows
from pe_training_tests.s3_server import BUCKET, SECRET, S3Server


@pytest.fixture
def memory() -> Iterator[Any]:
    """A store in memory, empty before and after."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()


def upload(fs: Any, folder: Path, to: str) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            fs.pipe_file(f"{to}/{path.relative_to(folder)}", path.read_bytes())


def error_of(url: str, into: Path) -> PeError:
    with pytest.raises(PeError) as caught:
        bring(url, into=into)
    return caught.value


def test_a_release_is_fetched_once_and_is_the_one_that_was_uploaded(memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sample_release(tmp_path / "in")
    upload(memory, folder, "/releases/x/v1")
    memory.pipe_file("/releases/x/v1/notes-of-somebody.txt", b"not listed")
    found = bring("memory://releases/x/v1", into=tmp_path / "home")
    assert release_digest(found) == release_digest(folder)
    assert not (found / "notes-of-somebody.txt").exists()
    assert report_on(found).accepted
    monkeypatch.setattr(Remote, "copy", None)  # nothing is copied a second time
    for url in ("memory://releases/x/v1", "memory://releases/x/v1/", "memory://releases/x/v1/manifest.json"):
        assert bring(url, into=tmp_path / "home") == found


def test_a_shard_that_was_uploaded_again_is_fetched_again(memory: Any, tmp_path: Path) -> None:
    folder = sample_release(tmp_path / "in")
    upload(memory, folder, "/releases/x/v1")
    shard = "/releases/x/v1/val/part-00000.jsonl"
    good = memory.cat_file(shard)
    memory.pipe_file(shard, good.replace(b"heavy", b"haevy"))
    broken = bring("memory://releases/x/v1", into=tmp_path / "home")
    assert "shard_digests" in {check.name for check in report_on(broken).failed}  # fetched as it is, and judged
    memory.pipe_file(shard, good)
    mended = bring("memory://releases/x/v1", into=tmp_path / "home")
    assert mended != broken
    assert report_on(mended).accepted


def test_a_release_without_names_takes_them_from_the_url(memory: Any, tmp_path: Path) -> None:
    folder = sample_release(tmp_path / "in")
    body = json.loads((folder / "manifest.json").read_text())
    del body["dataset_name"], body["version"]
    (folder / "manifest.json").write_text(json.dumps(body))
    upload(memory, folder, "/store/day-talks/v3.0.0")
    head = read_head(bring("memory://store/day-talks/v3.0.0", into=tmp_path / "home"))
    assert (head.name, head.version) == ("day-talks", "v3.0.0")


def test_paths_in_the_manifest_may_be_urls_of_the_store_and_lead_nowhere_else(memory: Any, tmp_path: Path) -> None:
    folder = sample_release(tmp_path / "in")
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"s3_path": "', '"s3_path": "s3://bucket/exports/v1/'))
    upload(memory, folder, "/releases/x/v1")
    assert sorted(shard.name for shard in read_head(bring("memory://releases/x/v1", into=tmp_path / "home")).shards) == [
        "test/part-00000.jsonl", "train/part-00000.jsonl", "val/part-00000.jsonl",
    ]  # fmt: skip
    for path, message in (
        ("../../secrets.jsonl", "leaves the release's folder"),
        ("/etc/x.jsonl", "leaves the release's folder"),
        ("https://elsewhere/x.jsonl", "is a URL that is not s3://"),
    ):
        memory.pipe_file("/releases/x/v1/manifest.json", text.replace("val/part-00000.jsonl", path).encode())
        error = error_of("memory://releases/x/v1", tmp_path / "other")
        assert error.message.startswith(message)
        assert error.where == "memory://releases/x/v1/manifest.json:splits.val.shards.0.s3_path"
    assert not (tmp_path / "other").exists()


def test_a_shard_that_is_missing_is_left_to_the_checks(memory: Any, tmp_path: Path) -> None:
    upload(memory, sample_release(tmp_path / "in"), "/releases/x/v1")
    memory.rm_file("/releases/x/v1/val/part-00000.jsonl")
    failed = {check.name for check in report_on(bring("memory://releases/x/v1", into=tmp_path / "home")).failed}
    assert {"shard_digests", "manifest_counts"} <= failed


def test_a_shard_that_is_larger_than_listed_is_not_fetched_at_all(memory: Any, tmp_path: Path) -> None:
    upload(memory, sample_release(tmp_path / "in"), "/releases/x/v1")
    memory.pipe_file("/releases/x/v1/val/part-00000.jsonl", b" " * 100_000)
    error = error_of("memory://releases/x/v1", tmp_path / "home")
    assert error.kind is Kind.REFUSED
    assert error.message.startswith("val/part-00000.jsonl has 100,000 bytes and the manifest says ")
    assert not (tmp_path / "home").exists()


def test_a_file_that_changes_while_it_is_fetched_leaves_nothing_behind(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(memory, sample_release(tmp_path / "in"), "/releases/x/v1")
    real = type(memory).get_file

    def get_file(fs: Any, place: str, to: str, **more: Any) -> None:
        fs.pipe_file(place, fs.cat_file(place) + b"\n")
        real(fs, place, to, **more)

    monkeypatch.setattr(type(memory), "get_file", get_file)
    error = error_of("memory://releases/x/v1", tmp_path / "home")
    assert (error.kind, error.message) == (Kind.BUSY, "the file changed while it was fetched")
    assert everything_below(tmp_path / "home") == ["fetched"]


def test_declarations_files_saved_folders_and_exports_are_fetched_with_all_that_they_list(memory: Any, tmp_path: Path) -> None:
    write_lines(tmp_path / "in" / "notes.jsonl", chats(4))
    (tmp_path / "in" / "notes.yaml").write_text(DECLARATION.replace("[{path: notes.jsonl}]", "[{path: notes.jsonl}, {path: parts/saved}]"))
    with quiet_datasets() as datasets:
        made = {split: datasets.Dataset.from_list(chats(number)) for split, number in [("train", 3), ("test", 1)]}
        datasets.DatasetDict(made).save_to_disk(tmp_path / "in" / "parts" / "saved")
    export_of(tmp_path / "in" / "night-talks", sample_rows(), tables=sample_rows())
    upload(memory, tmp_path / "in", "/store")
    flags = {"format": "chat"}
    for url, said, name, rows in (
        ("memory://store/notes.yaml", None, "evening-notes", 8),
        ("memory://store/notes.jsonl", flags, "notes", 4),
        ("memory://store/parts/saved", flags, "saved", 4),
        ("memory://store/night-talks", None, "night-talks", 26),
        ("memory://store/night-talks/manifest_v1.2.0.json", None, "night-talks", 26),
    ):
        there = bring(url, into=tmp_path / "there", flags=said)
        here = bring(url.replace("memory://store", str(tmp_path / "in")), into=tmp_path / "here", flags=said)
        assert release_digest(there) == release_digest(here), url
        assert (read_head(there).name, read_head(there).manifest.total_conversations) == (name, rows)


def test_a_name_in_a_list_of_the_store_cannot_leave_its_folder(memory: Any, tmp_path: Path) -> None:
    memory.pipe_file("/store/saved/state.json", b'{"_data_files": [{"filename": "../x.arrow"}]}')
    memory.pipe_file("/store/dict/dataset_dict.json", b'{"splits": ["../saved"]}')
    memory.pipe_file("/store/notes.yaml", DECLARATION.replace("notes.jsonl", "../x.jsonl").encode())
    entry = {"name": "../x.jsonl", "sha256": "0" * 64, "row_count": 1}
    memory.pipe_file("/store/export/manifest_v1.0.0.json", json.dumps({"files": [entry]}).encode())
    memory.pipe_file("/x.jsonl", b"{}")
    for url in ("saved", "dict", "notes.yaml", "export"):
        assert error_of(f"memory://store/{url}", tmp_path / "home").message == "leaves the folder or is not written plainly"
    assert not (tmp_path / "home").exists()


WRONG = [
    ("memory://store/nothing", Kind.NOT_FOUND, "memory://store/nothing"),
    ("memory://store/nothing.jsonl", Kind.NOT_FOUND, "memory://store/nothing.jsonl"),
    ("memory://store/nothing.yaml", Kind.NOT_FOUND, "memory://store/nothing.yaml"),
    ("nope://store/x", Kind.INPUT, "nope://store/x"),
    ("gs://store/x", Kind.INPUT, "gs://store/x"),
    ("s3://", Kind.INPUT, "s3://"),
    ("memory://store/..", Kind.INPUT, "memory://store/.."),
    ("memory://store/../..", Kind.INPUT, "memory://store/../.."),
    ("memory://store/../x", Kind.INPUT, "memory://store/../x"),
    ("simplecache::s3://store/x", Kind.INPUT, None),
    ("s3://key:secret-7f3a@store/x", Kind.INPUT, "s3://store/x"),
    ("https://secret-7f3a@store/x?sig=secret-7f3a", Kind.INPUT, "https://store/x"),
]


@pytest.mark.parametrize(("url", "kind", "where"), WRONG)
def test_a_wrong_url_is_one_error_without_its_secret(memory: Any, tmp_path: Path, url: str, kind: Kind, where: str | None) -> None:
    error = error_of(url, tmp_path / "home")
    assert (error.kind, error.where if where else None) == (kind, where)
    assert error.hint
    assert "secret-7f3a" not in str(error)
    assert not (tmp_path / "home").exists()


# The web


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, needs a signature in every address, and logs nothing."""

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""

    def send_head(self) -> Any:
        if "sig=secret-7f3a" not in self.path:
            self.send_error(403)
            return None
        return super().send_head()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server that serves ``tmp_path / "web"``."""
    (tmp_path / "web").mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path / "web")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_signed_web_address_is_read_and_its_signature_kept_nowhere(web: str, tmp_path: Path) -> None:
    sample_release(tmp_path / "web")
    write_lines(tmp_path / "web" / "notes.jsonl", chats(4))
    found = bring(f"{web}/{NAME}/{VERSION}?sig=secret-7f3a", into=tmp_path / "home")
    assert release_digest(found) == release_digest(tmp_path / "web" / NAME / VERSION)
    for records in (4, 5):
        write_lines(tmp_path / "web" / "notes.jsonl", chats(records))
        notes = bring(f"{web}/notes.jsonl?sig=secret-7f3a", into=tmp_path / "home", flags={"format": "chat"})
        assert read_head(notes).manifest.total_conversations == records
    error = error_of(f"{web}/notes.jsonl?sig=wrong-7f3a", tmp_path / "home")
    assert (error.kind, error.where) == (Kind.INFRASTRUCTURE, f"{web}/notes.jsonl")
    assert "7f3a" not in str(error)
    texts = b"".join(path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert b"7f3a" not in texts


def test_a_web_file_is_fetched_again_when_its_time_differs(web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lines(tmp_path / "web" / "notes.jsonl", chats(4))
    url = f"{web}/notes.jsonl?sig=secret-7f3a"
    first = fetch(url, into=tmp_path / "home")
    with monkeypatch.context() as patch:
        patch.setattr(Remote, "copy", None)  # nothing is copied a second time
        assert fetch(url, into=tmp_path / "home") == first
    os.utime(path, (0, 1_000_000_000))
    assert fetch(url, into=tmp_path / "home") != first


def test_a_web_server_that_tells_no_time_is_asked_again_and_the_copy_before_stays_until_the_next_is_whole(
    web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Quiet.send_header
    monkeypatch.setattr(Quiet, "send_header", lambda self, name, value: name == "Last-Modified" or real(self, name, value))
    path = write_lines(tmp_path / "web" / "notes.jsonl", chats(4))
    url = f"{web}/notes.jsonl?sig=secret-7f3a"
    first = fetch(url, into=tmp_path / "home").read_bytes()
    path.write_bytes(first.replace(b"please", b"PLEASE"))
    with monkeypatch.context() as patch:
        patch.setattr(Remote, "copy", lambda *_, **more: (_ for _ in ()).throw(PeError(Kind.INFRASTRUCTURE, "the network is away")))
        with pytest.raises(PeError, match="the network is away"):
            fetch(url, into=tmp_path / "home")
    (copy,) = (tmp_path / "home").rglob("notes.jsonl")
    assert copy.read_bytes() == first
    assert fetch(url, into=tmp_path / "home").read_bytes() == path.read_bytes()
    assert len(list((tmp_path / "home" / "fetched").iterdir())) == 1


# S3, by a real server


@pytest.mark.slow
def test_everything_is_fetched_from_s3(s3: S3Server, tmp_path: Path) -> None:
    fs = s3.files()
    folder = sample_release(tmp_path / "in", format="parquet", rows_per_shard=9)
    write_lines(tmp_path / "in" / "notes.jsonl", chats(2_000))
    (tmp_path / "in" / "notes.yaml").write_text(DECLARATION)
    upload(fs, tmp_path / "in", f"{BUCKET}/clinic")
    into = tmp_path / "home"
    told: list[tuple[str, int, int]] = []
    with listening(lambda *said: told.append(said)):
        found = bring(f"s3://{BUCKET}/clinic/{NAME}/{VERSION}", into=into)
    assert release_digest(found) == release_digest(folder)
    assert told[-1][0] == "fetching"
    assert told[-1][1] > 0.9 * told[-1][2]
    assert bring(f"s3://{BUCKET}/clinic/{NAME}/{VERSION}", into=into) == found
    fetched = bring(f"s3://{BUCKET}/clinic/notes.yaml", into=into)
    assert release_digest(fetched) == release_digest(bring(str(tmp_path / "in" / "notes.yaml"), into=tmp_path / "here"))
    fs.pipe_file(f"{BUCKET}/clinic/notes.jsonl", b"".join(json.dumps(record).encode() + b"\n" for record in chats(3)))
    assert read_head(bring(f"s3://{BUCKET}/clinic/notes.yaml", into=into)).manifest.total_conversations == 3


@pytest.mark.slow
def test_s3_that_refuses_or_is_away_is_one_error(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    upload(s3.files(), sample_release(tmp_path / "in"), f"{BUCKET}/in/v1")
    url = f"s3://{BUCKET}/in/v1"
    for variables, message in (
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "the store refuses access"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "the store failed (EndpointConnectionError)"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "the store failed (NoCredentialsError)"),
        ({"AWS_PROFILE": "nobody"}, "the store failed (ProfileNotFound)"),
    ):
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            s3fs.S3FileSystem.clear_instance_cache()
            error = error_of(url, tmp_path / "home")
        assert (error.kind, error.message) == (Kind.INFRASTRUCTURE, message)
        assert SECRET not in str(error)
        assert error.__suppress_context__
    assert not (tmp_path / "home").exists()


def test_looking_at_a_local_folder_loads_no_store(tmp_path: Path) -> None:
    folder = sample_release(tmp_path)
    code = (
        "import sys; from pathlib import Path; from pe_training.datasets.intake.bring import bring;"
        "bring(sys.argv[1], into=Path(sys.argv[2]));"
        "sys.exit(','.join({'fsspec', 's3fs', 'aiohttp', 'pyarrow', 'botocore'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(tmp_path)], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""


def test_a_copy_is_named_after_what_is_there(memory: Any, tmp_path: Path) -> None:
    memory.pipe_file("/store/a.jsonl", b"{}\n")
    first = fetch("memory://store/a.jsonl", into=tmp_path)
    assert first.read_bytes() == b"{}\n"
    assert fetch("memory://store/a.jsonl", into=tmp_path) == first
    memory.pipe_file("/store/a.jsonl", b"[]\n")
    second = fetch("memory://store/a.jsonl", into=tmp_path)
    assert hashlib.sha256(second.read_bytes()).hexdigest() == hashlib.sha256(b"[]\n").hexdigest()


def test_a_web_server_that_is_away_is_not_a_file_that_is_missing(web: str, tmp_path: Path) -> None:
    sample_release(tmp_path / "web")
    url = f"{web}/{NAME}/{VERSION}?sig=secret-7f3a"
    assert error_of(url.replace(VERSION, "v9"), tmp_path / "home").kind is Kind.NOT_FOUND
    error = error_of("http://127.0.0.1:9/store/v1", tmp_path / "home")
    assert (error.kind, error.message) == (Kind.INFRASTRUCTURE, "the store failed (ClientConnectorError)")
