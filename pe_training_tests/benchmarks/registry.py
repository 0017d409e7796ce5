"""``make bench-registry``: a registry of a thousand runs and of a million, asked the same questions; and one run's records stored durably.

The registries are filled by SQL alone, with the ids, links and indexes of real ones: a dataset version for every ten runs, and for each
run its manifest, checkpoint, report and decision. Texts of records are short; only a decision's is read by what is measured. Which record
is asked about is drawn anew for each question; the file has been read once before, since a first touch of a disk says more of the disk.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import os
import platform
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pe_training.lineage.graph import PAGE_ROWS
from pe_training.lineage.horizon import horizon
from pe_training.lineage.impact import impact_of
from pe_training.lineage.trace import trace_down, trace_up
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training_tests.promotion import factory as promotion

FEW = 1_000
ASKED = 1_000
STORED = 40
RUNS_A_DATASET, RUNS_A_LINE = 10, 20
CHAIN = ("mf", "run", "ck", "ev", "pd")
INDEXES = {  # made after the rows, which is quicker
    "records_by_kind": "records (kind, seq)", "records_by_label": "records (kind, label, seq)",
    "records_by_time": "records (created_at, seq)",
    "edges_by_parent": "edges (parent, child)",
}  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1_000_000)
    wanted = parser.parse_args().runs
    console = Console(width=130)
    with tempfile.TemporaryDirectory() as name:
        small, large = filled(Path(name) / "few", FEW), filled(Path(name) / "many", wanted)
        console.print(answers_table(small, large, runs=wanted))
        console.print(inserts_table(large, Path(name), runs=wanted))


def identifier(kind: str, number: int) -> str:
    """The made-up id of the record of a kind that belongs to a run, or of a dataset version."""
    return f"{kind}_{hashlib.blake2b(f'{kind}{number}'.encode(), digest_size=16).hexdigest()}"


def filled(home: Path, runs: int) -> State:
    """A state whose registry has so many runs, with the statistics that a database gathers."""
    state = promotion.new_state(home)
    state.registry.rows("ck", limit=1)
    state.registry.close()
    connection = sqlite3.connect(home / "registry.sqlite", isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-1000000")
    for index in INDEXES:
        connection.execute(f"DROP INDEX {index}")
    connection.execute("BEGIN")
    columns = "INSERT INTO records (id, kind, key, label, body, created_at) VALUES (?, ?, ?, ?, ?, ?)"
    connection.executemany(columns, _records(runs))
    connection.executemany("INSERT INTO edges (child, role, parent) VALUES (?, ?, ?)", _edges(runs))
    stages = ((f"line-{n}", "staging", identifier("ck", n * RUNS_A_LINE), identifier("pd", n * RUNS_A_LINE)) for n in range(_lines(runs)))
    connection.executemany("INSERT INTO stages (line, stage, checkpoint_id, decision_id, version) VALUES (?, ?, ?, ?, 1)", stages)
    connection.execute("COMMIT")
    for index, on in INDEXES.items():
        connection.execute(f"CREATE INDEX {index} ON {on}")
    connection.execute("ANALYZE")
    connection.close()
    with (home / "registry.sqlite").open("rb") as file:  # as after a day of work: the system has the file in memory
        while file.read(1 << 24):
            pass
    return State(Settings(home=home, artifacts_url="", database_url=""))


def _lines(runs: int) -> int:
    return -(-runs // RUNS_A_LINE)


def _records(runs: int) -> Iterator[tuple[str, str, str | None, str, str, str]]:
    for run in range(runs):
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_600_000_000 + run * 60))
        if run % RUNS_A_DATASET == 0:
            yield identifier("ds", run // RUNS_A_DATASET), "ds", None, "talks", "{}", at
        for kind in CHAIN:
            key = identifier("run", run) if kind in ("ck", "ev", "pd") else None
            yield identifier(kind, run), kind, key, f"line-{run // RUNS_A_LINE}", '{"verdict":"pass"}' if kind == "pd" else "{}", at


def _edges(runs: int) -> Iterator[tuple[str, str, str]]:
    for run in range(runs):
        mf, own, ck, ev, pd = (identifier(kind, run) for kind in CHAIN)
        dataset = identifier("ds", run // RUNS_A_DATASET)
        yield from ((mf, "dataset", dataset), (own, "dataset", dataset), (ck, "run", own), (ev, "checkpoint", ck))
        yield from ((pd, "checkpoint", ck), (pd, "manifest", mf), (pd, "report", ev))


def questions(state: State, runs: int) -> dict[str, Callable[[int], object]]:
    """What is asked of a run, by its number."""
    then = horizon(state, str(runs * 3))
    return {
        "trace up from a decision": lambda run: trace_up(state, identifier("pd", run)),
        "trace down from a run": lambda run: trace_down(state, identifier("run", run)),
        "impact of a checkpoint": lambda run: impact_of(state, identifier("ck", run)),
        "impact of a version (10 runs)": lambda run: impact_of(state, identifier("ds", run // RUNS_A_DATASET)),
        "trace as of half the time": lambda run: trace_up(state, identifier("pd", run // 2), seen=then),
        "a moment as a horizon": lambda run: horizon(state, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_600_000_000 + run * 60 + 1))),
        f"list {PAGE_ROWS} checkpoints": lambda run: state.registry.rows("ck", before=run * 5 + 6),
        "list a line": lambda run: state.registry.rows("ck", label=f"line-{run // RUNS_A_LINE}"),
    }


def answers_table(small: State, large: State, *, runs: int) -> Table:
    """Medians and 99th percentiles, the two registries asked in turn."""
    table = Table(title=f"{ASKED:,} questions each, SQLite {sqlite3.sqlite_version}, {_machine()}")
    for column in ("question", f"{FEW:,} runs: ms", "p99", f"{runs:,} runs: ms", "p99", "p99, times"):
        table.add_column(column, justify="left" if column == "question" else "right")
    asked = questions(small, FEW), questions(large, runs)
    for name in asked[0]:
        times: tuple[list[float], list[float]] = ([], [])
        for number in range(ASKED):
            for ask, size, found in zip(asked, (FEW, runs), times, strict=True):
                run = random.Random(f"{name} {number}").randrange(size)  # noqa: S311 (which record is asked about)
                began = time.perf_counter()
                assert ask[name](run) is not None
                found.append((time.perf_counter() - began) * 1_000)
        few, many = (sorted(found) for found in times)
        middle, last = ASKED // 2, ASKED * 99 // 100
        table.add_row(name, *(f"{x:.2f}" for x in (few[middle], few[last], many[middle], many[last])), f"{many[last] / few[last]:.1f}")
    return table


def inserts_table(state: State, folder: Path, *, runs: int) -> Table:
    """One run's records, from values to the disk: manifest, run, checkpoint and report, beside MLflow where it is installed."""
    table = Table(title=f"one run's records stored durably, medians of {STORED}, {_machine()}")
    for column in ("what", "ms"):
        table.add_column(column, justify="left" if column == "what" else "right")
    dataset = promotion.make_dataset(state)
    chains = [promotion.make_chain(promotion.new_state(folder / "records"), seed=seed, dataset=dataset) for seed in range(STORED)]
    times = []
    for chain in chains:
        began = time.perf_counter()
        with state.registry.writing() as connection:
            for record in (chain.manifest, chain.run, chain.checkpoint, chain.report):
                state.registry.put_in(connection, record)
        times.append(time.perf_counter() - began)
    metrics = len(chains[0].report.metrics)
    table.add_row(
        f"ours: four records with {metrics} measures in one transaction, {runs:,} runs there", f"{sorted(times)[STORED // 2] * 1_000:.1f}"
    )
    if find_spec("mlflow"):
        found = mlflow_inserts(folder / "mlflow")
        version = importlib.metadata.version("mlflow")
        table.add_row(
            f"MLflow {version} on SQLite, empty: run, 50 metrics, 20 parameters, version", f"{sorted(found)[STORED // 2] * 1_000:.1f}"
        )
    return table


def mlflow_inserts(folder: Path) -> list[float]:
    """Seconds that MLflow takes for a run's facts, each time in as few calls as its client has."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    folder.mkdir()
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.sqlite")
    experiment = client.create_experiment("bench", artifact_location=str(folder / "artifacts"))
    client.create_registered_model("line")
    times = []
    for number in range(STORED):
        metrics = [Metric(f"m{n}", n / 50, number, 0) for n in range(50)]
        parameters = [Param(f"p{n}", str(number)) for n in range(20)]
        began = time.perf_counter()
        run = client.create_run(experiment)
        client.log_batch(run.info.run_id, metrics=metrics, params=parameters)
        client.create_model_version("line", source=f"{folder}/artifacts/{run.info.run_id}/artifacts/model", run_id=run.info.run_id)
        client.set_terminated(run.info.run_id)
        times.append(time.perf_counter() - began)
    return times


def _machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
