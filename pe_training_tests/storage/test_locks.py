"""Locks: one at a time, and never held by the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.storage.locks import Holder, exclusive
from pe_training.storage.locks import holder as who

HOLD = (
    "import sys, time; from pathlib import Path; from pe_training.storage.locks import exclusive\n"
    "with exclusive(Path(sys.argv[1])): sys.stdout.write('held'); sys.stdout.flush(); time.sleep(60)"
)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "lock"


@pytest.fixture
def holder(lock: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(4) == b"held"
        yield process
        process.kill()


def test_the_second_is_told_who_holds_it(lock: Path, holder: subprocess.Popen[bytes]) -> None:
    started = time.monotonic()
    with pytest.raises(PeError) as caught, exclusive(lock, busy="busy with it", patience_s=0.2):
        pass
    assert time.monotonic() - started >= 0.2
    assert caught.value.kind is Kind.BUSY
    assert str(caught.value) == (
        f"busy with it (process {holder.pid} holds it; wait for it to end, or stop it (its state is saved) and run this again)"
    )


def test_who_holds_it_and_what_for_can_be_asked_by_others(lock: Path) -> None:
    assert who(lock) is None
    with exclusive(lock, doing="training"):
        assert who(lock) == Holder(os.getpid(), "training")
    with exclusive(lock):
        assert who(lock) == Holder(os.getpid(), "")
    assert who(lock) is None


def test_a_killed_holder_holds_nothing(lock: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with exclusive(lock, busy="busy with it", patience_s=0.0):
        assert lock.read_text() == str(os.getpid())


def test_a_holder_that_is_just_ending_is_given_a_moment(lock: Path, holder: subprocess.Popen[bytes]) -> None:
    with subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {holder.pid}"]), exclusive(lock, busy="busy", patience_s=30.0):
        assert lock.read_text() == str(os.getpid())


def test_whoever_does_not_ask_to_be_refused_waits(lock: Path) -> None:
    with exclusive(lock):
        waiting = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE)
        time.sleep(0.5)
        assert waiting.poll() is None
        assert lock.read_text() == str(os.getpid())
    with waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.read(4) == b"held"
        assert lock.read_text() == str(waiting.pid)
        waiting.kill()


def test_a_failure_inside_lets_go(lock: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(lock):
        raise ZeroDivisionError
    with exclusive(lock, busy="busy", patience_s=0.0):
        assert lock.exists()


def test_a_lock_that_cannot_be_made_is_an_error_for_people(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PeError) as caught, exclusive(tmp_path / "file" / "lock"):
        pass
    assert caught.value.kind is Kind.INFRASTRUCTURE
