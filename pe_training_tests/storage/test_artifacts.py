"""Artifacts: whole or not there, and never silently something else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_bytes
from pe_training.core.records import Attachment
from pe_training.storage.artifacts import ArtifactStore
from pe_training.storage.durable import write_durably


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    url = f"file://{tmp_path}/store" if request.param == "file" else f"memory://{tmp_path.name}"
    return ArtifactStore(url, cache=tmp_path / "cache")


def test_what_goes_in_comes_out_under_its_digest(store: ArtifactStore) -> None:
    digest = store.put_bytes(b"abc")
    assert digest == digest_bytes(b"abc") == store.put_bytes(b"abc")
    assert store.get(digest) == b"abc"
    assert store.local_path(digest).read_bytes() == b"abc"
    store.verify(digest)
    store.delete(digest)
    store.delete(digest)
    assert not store.has(digest)


def test_what_is_missing_is_named(store: ArtifactStore) -> None:
    with pytest.raises(PeError, match="is missing") as caught:
        store.get(digest_bytes(b"never"))
    assert caught.value.kind is Kind.CORRUPT


@given(data=st.binary(min_size=1, max_size=300), place=st.integers(0), bit=st.integers(0, 7))
def test_one_flipped_bit_is_found_by_every_way_of_reading(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, place: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    store = ArtifactStore(f"file://{folder}", cache=folder / "cache")
    digest = store.put_bytes(data)
    path = store.local_path(digest)
    damaged = bytearray(data)
    damaged[place % len(data)] ^= 1 << bit
    path.chmod(0o644)
    path.write_bytes(bytes(damaged))
    for read in (store.get, store.verify, store.local_path):
        with pytest.raises(PeError, match="does not match its digest"):
            read(digest)


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside"])
def test_a_file_name_cannot_leave_its_folder(store: ArtifactStore, tmp_path: Path, name: str) -> None:
    digest = store.put_bytes(b"x")
    with pytest.raises(PeError, match="leaves its folder"):
        store.checkout([Attachment(path=name, digest=digest, size_bytes=1)], tmp_path / "out")


def test_a_reader_never_sees_half_a_file_however_the_writer_dies(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pe_training.storage.durable import write_durably\n"
        "for n in range(10**6): write_durably(Path(sys.argv[1]), lambda f: [f.write(bytes([n % 250]) * 4096) for _ in range(50)])"
    )
    path = tmp_path / "file"
    for attempt in range(6):
        process = subprocess.Popen([sys.executable, "-c", code, str(path)])
        while not path.exists():
            time.sleep(0.01)
        time.sleep(0.05 + attempt * 0.013)
        process.send_signal(signal.SIGKILL)
        process.wait()
        data = path.read_bytes()
        assert len(data) == 4096 * 50
        assert len(set(data)) == 1


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, lambda file: file.write(b"old"))

    def fail(file: object) -> None:
        raise OSError(28, os.strerror(28), str(path))

    with pytest.raises(PeError, match="No space left on device") as caught:
        write_durably(path, fail)
    assert caught.value.kind is Kind.INFRASTRUCTURE
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
