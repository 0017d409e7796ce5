"""The registry when processes race, die or find the disk full: one clear error, and never half of anything."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.storage import database
from pe_training.storage.registry import Registry
from pe_training_tests.storage.things import CHILD, PAGE, Thing, in_a_child, refused


def eight_at_once(code: str, folder: Path, **variables: str) -> tuple[list[int], list[int]]:
    """Process ids and exit codes of eight processes that import everything first and run ``code`` at the same moment."""
    gate = "sys.stdout.write('ready'); sys.stdout.flush(); sys.stdin.read()\n"
    command = [sys.executable, "-c", CHILD + gate + code, str(folder)]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | variables) for _ in range(8)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.read(5) == b"ready"
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
    codes = [process.wait(timeout=120) for process in started]
    for process in started:
        assert process.stdout is not None
        process.stdout.close()
    return [process.pid for process in started], codes


def test_of_eight_who_answer_at_once_one_is_kept(tmp_path: Path, registry: Registry) -> None:
    code = (
        "registry = Registry('sqlite:///' + sys.argv[1] + '/r.sqlite', lock=Path(sys.argv[1]) / 'lock')\n"
        "try: registry.put(Thing(number=os.getpid(), question='q'))\n"
        "except PeError as error: sys.exit(error.kind.exit_code)"
    )
    pids, codes = eight_at_once(code, tmp_path)
    assert sorted(codes) == [0] + [Kind.CONFLICT.exit_code] * 7
    answer = registry.answer("q", Thing)
    assert answer is not None
    assert answer.number == pids[codes.index(0)]  # who was told yes is who was kept


def test_a_writer_killed_at_any_step_leaves_a_whole_record_or_none(tmp_path: Path) -> None:
    code = """
folder = Path(sys.argv[1])
def attempt(n, thing):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    registry, calls = Registry(f"sqlite:///{folder}/r.sqlite", lock=folder / "lock"), [0]
    def count(frame, event, argument):
        calls[0] += event == "c_call"
        if calls[0] == n:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(count)
    registry.put(thing)
    sys.setprofile(None)
    (folder / "calls").write_text(str(calls[0]))
    os._exit(0)

never = -1
assert attempt(never, Thing(number=0)) == 0
last = int((folder / "calls").read_text())
steps, things = 40, []
for step in range(steps + 1):
    thing = Thing(number=step + 1, question=f"q{step}", parent="ck_0", pages=(PAGE,))
    things.append([thing.number, attempt(last * step // steps + 1 if step < steps else never, thing)])
sys.stdout.write(json.dumps(things))
"""
    tried = in_a_child(code, tmp_path)
    registry = Registry(f"sqlite:///{tmp_path}/r.sqlite", lock=tmp_path / "lock")
    whole = []
    for number, code_of in tried:
        thing = Thing(number=number, question=f"q{number - 1}", parent="ck_0", pages=(PAGE,))
        there = (registry.find(thing.id, Thing), registry.parents(thing.id), list(registry.attachments(thing.id)))
        assert there in [(thing, {"from": "ck_0"}, [PAGE]), (None, {}, [])], number
        whole.append(there[0] is not None)
        assert code_of in (0, -9)
    assert tried[-1][1] == 0
    assert whole[-1]
    assert not whole[0]
    assert sum(code_of == -9 for _, code_of in tried) >= 30  # most of them did die
    registry.close()


def test_a_full_disk_is_one_clear_error_and_no_half_record(tmp_path: Path) -> None:
    code = """
folder = Path(sys.argv[1])
registry = Registry(f"sqlite:///{folder}/r.sqlite", lock=folder / "lock")
registry.put(Thing(number=1))
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
large = Thing(number=2, question="q" * 2_000_000, parent="ck_0", pages=(PAGE,))
try:
    registry.put(large)
except PeError as error:
    refused = [error.kind, error.message]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
left = [len(registry.rows("ck")), registry.parents(large.id), len(registry.attachments(large.id))]
registry.put(large)
sys.stdout.write(json.dumps({"refused": refused, "left": left, "again": registry.get(large.id, Thing) == large}))
"""
    found = in_a_child(code, tmp_path)
    assert found["refused"][0] == "infrastructure"
    assert found["refused"][1] in {"the database failed: disk I/O error", "the database failed: database or disk is full"}
    assert found["left"] == [1, {}, 0]
    assert found["again"]


def test_eight_first_users_of_a_fresh_home_all_live(tmp_path: Path) -> None:
    code = "State(Settings()).registry.put(Thing(number=os.getpid()))"
    pids, codes = eight_at_once(code, tmp_path, PE_HOME=str(tmp_path / "home"), PE_DATABASE_URL="")
    assert codes == [0] * 8
    registry = Registry(f"sqlite:///{tmp_path}/home/registry.sqlite", lock=tmp_path / "lock")
    assert {registry.get(row.id, Thing).number for row in registry.rows("ck")} == set(pids)
    registry.close()


def test_a_database_that_stays_locked_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 50)
    registry = Registry(f"sqlite:///{tmp_path}/r.sqlite", lock=tmp_path / "lock")
    thing = Thing(number=1)
    other = sqlite3.connect(tmp_path / "r.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert refused(lambda: registry.put(thing)) == (
        Kind.INFRASTRUCTURE,
        f"sqlite:///{tmp_path}/r.sqlite: the database failed: database is locked "
        "(another process is writing for a long time; run this again)",
    )
    assert registry.find(thing.id, Thing) is None  # readers are never locked out
    other.execute("COMMIT")
    registry.put(thing)
    assert registry.get(thing.id, Thing) == thing
    other.close()
    registry.close()


def test_a_file_that_is_no_database_is_never_taken_for_an_empty_one(tmp_path: Path) -> None:
    junk = b"not a database at all, but long enough to be read as one" * 20
    (tmp_path / "r.sqlite").write_bytes(junk)
    with pytest.raises(PeError, match="file is not a database"):
        Registry(f"sqlite:///{tmp_path}/r.sqlite", lock=tmp_path / "lock")
    assert (tmp_path / "r.sqlite").read_bytes() == junk


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "is not a database URL"),
        ("postgresql+nosuchdriver://user:hunter2@host/name", "no driver for postgresql+nosuchdriver is installed"),
        ("oracle9://user:hunter2@host/name", "no driver for oracle9 is installed"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(tmp_path: Path, url: str, message: str) -> None:
    kind, line = refused(lambda: Registry(url, lock=tmp_path / "lock"))
    assert (kind, line.startswith(f"PE_DATABASE_URL: {message} (")) == (Kind.INPUT, True)
    assert "hunter2" not in line


def test_the_settings_of_sqlite_are_the_durable_ones(registry: Registry) -> None:
    with registry.reading() as connection:
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "busy_timeout")}
    assert found == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": database.BUSY_TIMEOUT_MS}
