"""Artifacts: whole or not there, and never silently something else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_bytes, short
from pe_training.core.records import Attachment
from pe_training.storage.artifacts import ArtifactStore
from pe_training.storage.durable import ABANDONED_S, TEMPORARY_PREFIX


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    url = f"file://{tmp_path}/store" if request.param == "file" else f"memory://{tmp_path.name}"
    return ArtifactStore(url, cache=tmp_path / "cache")


def stored_at(store: ArtifactStore, digest: str) -> Path:
    """Where a local store keeps an object."""
    name = digest.removeprefix("sha256:")
    return Path(store.url.removeprefix("file://")) / "sha256" / name[:2] / name


def test_what_goes_in_comes_out_under_its_digest(store: ArtifactStore) -> None:
    digest = store.put_bytes(b"abc")
    assert digest == digest_bytes(b"abc")
    assert store.has(digest)
    assert store.get(digest) == b"abc"
    assert store.local_path(digest).read_bytes() == b"abc"
    store.verify(digest)


@pytest.mark.parametrize("size", [0, 1, 3 << 20])
def test_bytes_and_the_file_that_holds_them_are_one_object(store: ArtifactStore, tmp_path: Path, size: int) -> None:
    (tmp_path / "source").write_bytes(bytes(size))
    assert store.put_file(tmp_path / "source") == digest_bytes(bytes(size)) == store.put_bytes(bytes(size))
    assert store.get(digest_bytes(bytes(size))) == bytes(size)


@pytest.mark.parametrize("parts", [[], [b""], [b"abc"], [b"a", memoryview(b"bc")], [bytes(1 << 20)] * 3])
def test_what_is_streamed_is_the_object_that_its_parts_make(store: ArtifactStore, parts: list[bytes | memoryview]) -> None:
    whole = b"".join(parts)
    assert store.put_stream(iter(parts)) == digest_bytes(whole)
    assert store.get(digest_bytes(whole)) == whole
    assert store.put_stream(iter(parts)) == store.put_bytes(whole)


def test_a_stream_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    store = ArtifactStore(f"file://{tmp_path}/store", cache=tmp_path / "cache")

    def broken() -> Iterator[bytes]:
        yield b"abc"
        raise RuntimeError("the source is gone")

    with pytest.raises(RuntimeError, match="the source is gone"):
        store.put_stream(broken())
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_putting_again_what_is_there_writes_nothing(tmp_path: Path) -> None:
    store = ArtifactStore(f"file://{tmp_path}/store", cache=tmp_path / "cache")
    (tmp_path / "source").write_bytes(b"abc")
    before = stored_at(store, store.put_bytes(b"abc")).stat()
    after = stored_at(store, store.put_file(tmp_path / "source")).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert after.st_mode & 0o777 == 0o444


def test_an_object_is_forgotten_once_and_then_again(store: ArtifactStore) -> None:
    digest = store.put_bytes(b"abc")
    store.delete(digest)
    store.delete(digest)
    assert not store.has(digest)


@pytest.mark.parametrize("read", ["get", "verify", "local_path"])
def test_what_is_missing_is_named_with_its_place(store: ArtifactStore, read: str) -> None:
    digest = digest_bytes(b"never")
    with pytest.raises(PeError) as caught:
        getattr(store, read)(digest)
    assert caught.value.kind is Kind.CORRUPT
    assert caught.value.message == f"artifact {short(digest)} is missing"
    assert caught.value.where is not None
    assert caught.value.where.endswith(digest.removeprefix("sha256:"))
    assert caught.value.hint == "restore it from a backup of the artifact store, or run the job that made it again"


@given(data=st.binary(min_size=1, max_size=300), place=st.integers(0), bit=st.integers(0, 7))
def test_one_flipped_bit_is_found_by_every_way_of_reading(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, place: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    store = ArtifactStore(f"file://{folder}", cache=folder / "cache")
    digest = store.put_bytes(data)
    damaged = bytearray(data)
    damaged[place % len(data)] ^= 1 << bit
    stored_at(store, digest).chmod(0o644)
    stored_at(store, digest).write_bytes(bytes(damaged))
    attachment = Attachment(path="file", digest=digest, size_bytes=len(data))
    for read in (store.get, store.verify, store.local_path, lambda _: store.checkout([attachment], folder / "out")):
        with pytest.raises(PeError) as caught:
            read(digest)
        assert (caught.value.kind, caught.value.message) == (Kind.CORRUPT, f"artifact {short(digest)} does not match its digest")
        assert caught.value.where == str(stored_at(store, digest))
    assert not (folder / "out" / "file").exists()


@pytest.mark.parametrize("length", [0, 1, 4095, 4096, 9999])
def test_a_file_cut_short_is_found(tmp_path: Path, length: int) -> None:
    store = ArtifactStore(f"file://{tmp_path}/store", cache=tmp_path / "cache")
    digest = store.put_bytes(bytes(10_000))
    stored_at(store, digest).chmod(0o644)
    os.truncate(stored_at(store, digest), length)
    with pytest.raises(PeError, match="does not match its digest"):
        store.verify(digest)


def test_a_remote_object_that_changed_is_found(tmp_path: Path) -> None:
    import fsspec

    store = ArtifactStore(f"memory://{tmp_path.name}", cache=tmp_path / "cache")
    digest = store.put_bytes(b"abc")
    name = digest.removeprefix("sha256:")
    fsspec.filesystem("memory").pipe(f"/{tmp_path.name}/sha256/{name[:2]}/{name}", b"abd")
    for read in (store.get, store.verify, store.local_path):
        with pytest.raises(PeError, match="does not match its digest"):
            read(digest)
    assert not list(tmp_path.rglob(name))  # nothing wrong was cached


def test_a_cached_copy_that_changed_is_fetched_again(tmp_path: Path) -> None:
    store = ArtifactStore(f"memory://{tmp_path.name}", cache=tmp_path / "cache")
    cached = store.local_path(store.put_bytes(b"abc"))
    cached.write_bytes(b"abd")
    assert store.local_path(digest_bytes(b"abc")).read_bytes() == b"abc"


def test_files_become_attachments_sorted_by_name(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"22")
    assert store.attach({"z": tmp_path / "one", "a/b": tmp_path / "two"}) == (
        Attachment(path="a/b", digest=digest_bytes(b"22"), size_bytes=2),
        Attachment(path="z", digest=digest_bytes(b"1"), size_bytes=1),
    )


def test_a_checkout_lays_files_out_and_replaces_what_lies_there(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "z").write_bytes(b"stale")
    files = [Attachment(path=name, digest=store.put_bytes(name.encode()), size_bytes=len(name)) for name in ("a/b", "z")]
    assert store.checkout(files, tmp_path / "out") == tmp_path / "out"
    assert {str(p.relative_to(tmp_path / "out")): p.read_text() for p in (tmp_path / "out").rglob("*") if p.is_file()} == {
        "a/b": "a/b",
        "z": "z",
    }


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside", "a/..", "..", ".", "", "a\0b", "link/outside"])
def test_a_file_name_cannot_leave_its_folder(store: ArtifactStore, tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere")
    digest = store.put_bytes(b"x")
    with pytest.raises(PeError) as caught:
        store.checkout([Attachment(path=name, digest=digest, size_bytes=1)], tmp_path / "out")
    assert (caught.value.kind, caught.value.message) == (Kind.CORRUPT, f"attachment name leaves its folder: {name!r}")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert not list(tmp_path.rglob("outside"))


@pytest.mark.parametrize("text", ["", "abc", "sha256:../../etc/passwd", "sha256:" + "0" * 64 + "\n"])
def test_what_is_no_digest_never_becomes_a_path(store: ArtifactStore, text: str) -> None:
    with pytest.raises(AssertionError):
        store.has(text)


@pytest.mark.parametrize("url", ["nowhere://bucket/prefix", "gs://bucket/prefix"])
def test_a_store_that_nothing_installed_can_open_is_named_at_once(tmp_path: Path, url: str) -> None:
    with pytest.raises(PeError, match="no store can be opened here") as caught:
        ArtifactStore(url, cache=tmp_path)
    assert (caught.value.kind, caught.value.where) == (Kind.INPUT, "PE_ARTIFACTS_URL")


def test_what_a_killed_writer_left_is_gone_a_day_later_and_what_is_being_written_stays(tmp_path: Path) -> None:
    store = ArtifactStore(f"file://{tmp_path / 'store'}", cache=tmp_path / "cache")
    kept = store.put_bytes(b"kept")
    left, growing = (tmp_path / "store" / f"{TEMPORARY_PREFIX}{name}" for name in ("1-left", "2-growing"))
    for path in (left, growing):
        path.write_bytes(b"half of a state")
    os.utime(left, (time.time() - ABANDONED_S - 60,) * 2)
    store.put_stream([b"another state"])
    assert not left.exists()
    assert growing.exists()
    store.verify(kept)
