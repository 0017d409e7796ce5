"""``make bench-datasets``: a release accepted with every check, beside what people would otherwise read, hash and write it with.

Every repetition runs each contender once, in a process of its own, so that a busy machine is busy for all of them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from pe_training_tests.benchmarks.made_up import write_release
from pe_training_tests.benchmarks.rivals import WHO

SAMPLE_S = 0.25  # asking for a large process's own memory stops it for milliseconds
CALLED = {
    "ours": "pe dataset add: 25 checks, sealed",
    "hf_datasets": "datasets {datasets}: parse, hash, drop repeats, write",
    "duckdb": "duckdb {duckdb}: parse, split, write",
    "pandas_and_gx": "pandas {pandas} + great-expectations {great-expectations}: seven checks",
}


@dataclass(frozen=True)
class Run:
    """One run of one contender."""

    seconds: float
    peak_bytes: int  # of all its processes together, sampled


def main() -> None:
    """Write a release, run everybody, print rows a second and memory."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rows", type=int, default=100_000)
    asked.add_argument("--row-bytes", type=int, default=1_000)
    asked.add_argument("--repeats", type=int, default=5)
    asked.add_argument("--only", choices=sorted(WHO), default=None)
    wanted = asked.parse_args()
    contenders = [wanted.only] if wanted.only else list(WHO)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        release = write_release(folder / "made-up" / "v1", rows=wanted.rows, row_bytes=wanted.row_bytes)
        size = sum(path.stat().st_size for path in release.glob("*/*"))
        runs: dict[str, list[Run]] = {who: [] for who in contenders}
        for number in range(wanted.repeats):
            for who in contenders:
                runs[who].append(_run(who, release, folder / f"{who}-{number}"))
    Console(width=140).print(_table(runs, rows=wanted.rows, size=size))


def _run(who: str, release: Path, folder: Path) -> Run:
    folder.mkdir()
    began, peak = time.perf_counter(), 0
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder)}
    command = [sys.executable, "-m", "pe_training_tests.benchmarks.rivals", who, str(release), str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(SAMPLE_S)
    assert process.returncode == 0, who
    return Run(time.perf_counter() - began, peak)


def _resident(pid: int) -> int:
    """Memory of a process and its children that belongs to nobody else, in bytes."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            total += process.memory_full_info().uss
    except psutil.NoSuchProcess:
        return total
    return total


def _table(runs: dict[str, list[Run]], *, rows: int, size: int) -> Table:
    repeats = len(next(iter(runs.values())))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    title = f"{rows:,} rows, {size / 1e6:,.0f} MB, medians of {repeats}, {machine}"
    table = Table(title=title)
    for column in ("what", "median s", "range s", "rows/s", "peak MB", "times ours"):
        table.add_column(column, justify="left" if column == "what" else "right")
    base = statistics.median(run.seconds for run in runs["ours"]) if "ours" in runs else None
    for who, found in runs.items():
        seconds = [run.seconds for run in found]
        middle = statistics.median(seconds)
        versions = {name: importlib.metadata.version(name) for name in ("datasets", "duckdb", "pandas", "great-expectations")}
        peak = statistics.median(run.peak_bytes for run in found) / 1e6
        ratio = f"{middle / base:.2f}" if base else "-"
        table.add_row(
            CALLED[who].format(**versions),
            f"{middle:.1f}",
            f"{min(seconds):.1f} to {max(seconds):.1f}",
            f"{rows / middle:,.0f}",
            f"{peak:,.0f}",
            ratio,
        )
    return table


if __name__ == "__main__":
    main()
