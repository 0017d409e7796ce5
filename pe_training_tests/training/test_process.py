"""How an exception that nobody expected reaches whoever started the process: the world's failures pass, our own faults do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pe_training.compute.attempts import is_passing
from pe_training.core.errors import Kind, PeError
from pe_training.manifests.schema import Compute
from pe_training.settings import environment_of_a_part
from pe_training.training.feed import FEED_FILE, read_feed

PROCESS = """
import sys
from pe_training.training.process import run_process

def work(_):
    {line}

sys.exit(run_process(["run_0"], work=work))
"""
LIMITS = Compute(instance="cpu-local", max_hours=1)


@pytest.mark.parametrize(
    ("line", "kind", "passing"),
    [
        ("[][0]", Kind.BUG, False),
        ("None.name", Kind.BUG, False),
        ("assert not work", Kind.BUG, False),
        ("raise MemoryError", Kind.OUT_OF_MEMORY, False),
        ("raise ConnectionResetError", Kind.INFRASTRUCTURE, True),
        ("raise RuntimeError('the other rank is gone')", Kind.INFRASTRUCTURE, True),
    ],
)
def test_an_unexpected_exception_is_named_and_only_the_worlds_failures_are_tried_again(
    line: str, kind: Kind, *, passing: bool, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", PROCESS.format(line=line)]
    code = subprocess.run(command, env=environment_of_a_part() | {"PE_HOME": str(tmp_path)}, check=False, timeout=60).returncode
    folder = tmp_path / "runs" / "run_0"
    error = PeError.from_json([event for _, event in read_feed(folder / FEED_FILE)][-1]["error"])
    assert (error.kind, code, error.where) == (kind, 3, str(folder / "process.log"))
    assert is_passing(error, compute=LIMITS) is passing
    assert "Traceback" in (folder / "process.log").read_text(encoding="utf-8")
