"""Durable files: whole or not there, whenever the writer dies and whatever the disk says."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.storage.durable import TEMPORARY_PREFIX, new_folder, sync_folder, world_errors, write_durably

# Kills itself before the n-th call into C, for every n until the write is through.
SWEEP = """
import json, os, signal, sys
from pathlib import Path
from pe_training.storage.durable import write_durably
path, old, new = Path(sys.argv[1]), b"o" * 70_000, b"n" * 90_000

def write_and_die_at(n):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    calls = 0
    def count(frame, event, argument):
        global calls
        calls += event == "c_call"
        if calls == n:
            os.kill(os.getpid(), signal.SIGKILL)
    globals()["calls"] = 0
    sys.setprofile(count)
    write_durably(path, lambda file: [file.write(new[at:at + 9_000]) for at in range(0, 90_000, 9_000)])
    sys.setprofile(None)
    os._exit(0)

seen, n, code = [], 0, -signal.SIGKILL
while code == -signal.SIGKILL:
    path.write_bytes(old)
    n += 1
    code = write_and_die_at(n)
    seen.append({old: "old", new: "new"}.get(path.read_bytes(), "torn"))
sys.stdout.write(json.dumps({"code": code, "seen": seen}))
"""

# The same for a folder of two files.
SWEEP_FOLDER = """
import json, os, signal, sys
from pathlib import Path
from pe_training.storage.durable import new_folder
root = Path(sys.argv[1])

def make_and_die_at(n, path):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    calls = 0
    def count(frame, event, argument):
        global calls
        calls += event == "c_call"
        if calls == n:
            os.kill(os.getpid(), signal.SIGKILL)
    globals()["calls"] = 0
    sys.setprofile(count)
    with new_folder(path) as writing:
        (writing / "deep").mkdir()
        (writing / "deep" / "a").write_bytes(b"a" * 9_000)
        (writing / "b").write_bytes(b"b")
    sys.setprofile(None)
    os._exit(0)

seen, n, code = [], 0, -signal.SIGKILL
while code == -signal.SIGKILL:
    n += 1
    path = root / str(n) / "made"
    code = make_and_die_at(n, path)
    whole = path.is_dir() and (path / "deep" / "a").read_bytes() == b"a" * 9_000 and (path / "b").read_bytes() == b"b"
    seen.append("whole" if whole else "half" if path.exists() else "none")
sys.stdout.write(json.dumps({"code": code, "seen": seen}))
"""

# Reads all the while, and kills the writer at forty moments.
READ_AND_KILL = """
import json, os, random, signal, sys, time
from pathlib import Path
from pe_training.storage.durable import write_durably
path, size, moments = Path(sys.argv[1]), 1_000_000, random.Random(17)
write_durably(path, lambda file: file.write(bytes(size)))
contents = set()
for attempt in range(40):
    child = os.fork()
    if not child:
        n = attempt
        while True:
            n = n % 250 + 1
            write_durably(path, lambda file: [file.write(bytes([n]) * (size // 20)) for _ in range(20)])
    until = time.monotonic() + moments.uniform(0.001, 0.03)
    while time.monotonic() < until:
        data = path.read_bytes()
        contents.add((len(data), len(set(data))))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    data = path.read_bytes()
    contents.add((len(data), len(set(data))))
sys.stdout.write(json.dumps({"contents": sorted(contents), "changed": data != bytes(size)}))
"""

FULL = """
import json, resource, sys
from pathlib import Path
from pe_training.core.errors import PeError
from pe_training.storage.artifacts import ArtifactStore
from pe_training.storage.durable import write_durably
folder = Path(sys.argv[1])
source = folder / "source"
source.write_bytes(bytes(1_000_000))
store = ArtifactStore(f"file://{folder}/store", cache=folder / "cache")
write_durably(folder / "file", lambda file: file.write(b"old"))
resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, resource.RLIM_INFINITY))
errors = []
for attempt in (
    lambda: write_durably(folder / "file", lambda file: file.write(bytes(1_000_000))),
    lambda: store.put_bytes(bytes(2_000_000)),
    lambda: store.put_file(source),
):
    try:
        attempt()
    except PeError as error:
        errors.append([error.kind, error.message, error.hint])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
again = store.get(store.put_file(source)) == bytes(1_000_000)
sys.stdout.write(json.dumps({"errors": errors, "left": left, "file": (folder / "file").read_text(), "again": again}))
"""


def outcome(code: str, folder: Path) -> dict[str, object]:
    """What a child process that runs ``code`` printed."""
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_a_writer_killed_at_every_step_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    found = outcome(SWEEP, tmp_path / "file")
    seen = found["seen"]
    assert isinstance(seen, list)
    assert found["code"] == 0
    assert len(seen) > 25  # that many places to die at; the last attempt lived
    commit = seen.index("new")
    assert seen == ["old"] * commit + ["new"] * (len(seen) - commit)  # one moment of change, never half, never back
    assert 0 < commit < len(seen) - 1


def test_a_folder_whose_maker_is_killed_at_every_step_is_whole_or_not_there(tmp_path: Path) -> None:
    found = outcome(SWEEP_FOLDER, tmp_path)
    seen = found["seen"]
    assert isinstance(seen, list)
    assert found["code"] == 0
    assert len(seen) > 50
    commit = seen.index("whole")
    assert seen == ["none"] * commit + ["whole"] * (len(seen) - commit)
    assert 0 < commit < len(seen) - 1


def test_a_folder_that_fails_leaves_nothing_and_one_that_another_made_stays(tmp_path: Path) -> None:
    def fail() -> None:
        with new_folder(tmp_path / "x" / "made") as writing:
            (writing / "a").write_text("a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list((tmp_path / "x").iterdir()) == []
    with new_folder(tmp_path / "x" / "made") as slow:
        (slow / "a").write_text("a")
        with new_folder(tmp_path / "x" / "made") as fast:
            (fast / "a").write_text("a")
            (fast / "first").write_text("")
    assert sorted(path.name for path in (tmp_path / "x" / "made").iterdir()) == ["a", "first"]
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["made"]


def test_what_the_dead_leave_behind_can_be_told_from_files(tmp_path: Path) -> None:
    outcome(SWEEP, tmp_path / "file")
    others = [entry.name for entry in tmp_path.iterdir() if entry.name != "file"]
    assert others  # a killed process cannot clean up
    assert all(name.startswith(TEMPORARY_PREFIX) for name in others)


def test_a_reader_never_sees_half_a_file_while_writers_are_killed(tmp_path: Path) -> None:
    assert outcome(READ_AND_KILL, tmp_path / "file") == {"contents": [[1_000_000, 1]], "changed": True}


def test_a_full_disk_keeps_what_was_there_and_leaves_nothing_half(tmp_path: Path) -> None:
    error = ["infrastructure", "cannot write: File too large", "the disk or network below it failed"]
    expected = {"errors": [error] * 3, "left": ["file", "source"], "file": "old", "again": True}
    assert outcome(FULL, tmp_path) == expected


WRITABLE = "set PE_HOME to a folder that can be written"


@pytest.mark.parametrize(
    ("number", "message", "hint"),
    [
        (errno.ENOSPC, "No space left on device", "free some space and run the same command again; nothing was half-written"),
        (errno.EDQUOT, "Disk quota exceeded", "the disk quota is used up; free some space and run the same command again"),
        (errno.EROFS, "Read-only file system", f"the disk is mounted read-only; {WRITABLE}"),
        (errno.EACCES, "Permission denied", f"check the permissions, or {WRITABLE}"),
        (errno.EIO, "Input/output error", "the disk or network below it failed"),
    ],
)
def test_a_write_that_fails_says_why_and_leaves_the_old_file_and_no_other(tmp_path: Path, number: int, message: str, hint: str) -> None:
    path = tmp_path / "file"
    write_durably(path, lambda file: file.write(b"old"))

    def fail(file: object) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(PeError) as caught:
        write_durably(path, fail)
    assert (caught.value.kind, str(caught.value)) == (Kind.INFRASTRUCTURE, f"{path}: cannot write: {message} ({hint})")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_sync_that_fails_is_a_write_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = tmp_path / "file"
    write_durably(path, lambda file: file.write(b"old"))
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(PeError, match="Input/output error"):
        write_durably(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"old"
    with pytest.raises(OSError, match="Input/output error"):
        sync_folder(tmp_path)


def test_the_file_is_synced_before_it_is_named_and_its_folder_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, steps = tmp_path / "file", []

    def watch(descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").resolve()
        steps.append(("folder" if target == tmp_path.resolve() else "file", path.exists()))

    monkeypatch.setattr(os, "fsync", watch)
    write_durably(path, lambda file: file.write(b"x"))
    assert steps == [("file", False), ("folder", True)]


def test_a_bug_of_ours_is_not_dressed_up_as_the_disk(tmp_path: Path) -> None:
    def fail(file: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_durably(tmp_path / "file", fail)
    assert list(tmp_path.iterdir()) == []


def test_the_place_that_the_system_names_wins_over_the_one_that_was_guessed(tmp_path: Path) -> None:
    with pytest.raises(PeError) as caught, world_errors(tmp_path / "guess"):
        (tmp_path / "nowhere" / "file").read_bytes()
    assert caught.value.where == str(tmp_path / "nowhere" / "file")


def test_the_mode_and_missing_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_durably(path, lambda file: file.write(b"x"), mode=0o400)
    assert path.stat().st_mode & 0o777 == 0o400
