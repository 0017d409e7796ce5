"""Locks: one at a time, and never held by the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pe_training.core.errors import PeError
from pe_training.storage.locks import exclusive

HOLD = (
    "import sys, time; from pathlib import Path; from pe_training.storage.locks import exclusive\n"
    "with exclusive(Path(sys.argv[1])): sys.stdout.write('held'); sys.stdout.flush(); time.sleep(60)"
)


def test_the_second_is_told_who_holds_it_and_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.read(4) == b"held"
        with pytest.raises(PeError) as caught, exclusive(path, busy="busy with it", patience_s=0.2):
            pass
        assert caught.value.message == "busy with it"
        assert caught.value.hint is not None
        assert caught.value.hint.startswith(f"process {holder.pid} holds it")
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with exclusive(path, busy="busy with it", patience_s=0.2):
            assert path.read_text() == str(os.getpid())
