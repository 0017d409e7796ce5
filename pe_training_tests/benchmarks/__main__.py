"""``make bench``: what a person waits for, beside what they would otherwise run, medians of one run as ratios.

Cold commands only, so far: the remaining rows of the plan need rivals that are not installed by ``make test``.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

REPEATS = 7
PE = [sys.executable, "-m", "pe_training.cli"]
DAGSTER = [sys.executable, "-m", "dagster", "--help"]


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "PE_HOME": home}
        _time([*PE, "ls", "ck"], environment)  # creates the registry
        rival = [_time(DAGSTER, environment) for _ in range(REPEATS)]
        rows = {name: [_time([*PE, *arguments], environment) for _ in range(REPEATS)] for name, arguments in _commands().items()}
    table = Table(
        title=f"cold commands, {REPEATS} runs each, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    for column in ("command", "median s", "range s", f"times dagster {importlib.metadata.version('dagster')} --help"):
        table.add_column(column)
    for name, times in {"dagster --help": rival, **rows}.items():
        ratio = statistics.median(times) / statistics.median(rival)
        table.add_row(name, f"{statistics.median(times):.2f}", f"{min(times):.2f} to {max(times):.2f}", f"{ratio:.2f}")
    Console().print(table)


def _commands() -> dict[str, list[str]]:
    smoke = Path("pe_training/samples/manifests/smoke.yaml")
    return {"pe --help": ["--help"], "pe ls ck": ["ls", "ck"], "pe stages": ["stages"], "pe check smoke.yaml": ["check", str(smoke)]}


def _time(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
