"""A run done again by the real process: identical when nothing was touched, and otherwise the step and the tensor, by name."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
import torch
from safetensors.torch import load, save

from pe_training.core.errors import Kind, PeError
from pe_training.costs.ledger import ledger
from pe_training.datasets.gate import attempts as refused_attempts
from pe_training.datasets.recall import parse_selector
from pe_training.lineage.recall import recall
from pe_training.lineage.trace import trace_up
from pe_training.manifests.record import ResolvedManifest
from pe_training.settings import SAMPLES
from pe_training.storage import tables as t
from pe_training.storage.locks import exclusive
from pe_training.training.compare import Comparison
from pe_training.training.events import attempts, events
from pe_training.training.feed import read_feed
from pe_training.training.record import TRACE_FILE, Checkpoint, TrainingRun
from pe_training.training.reproduce import require_reproducible
from pe_training.training.reproduction import (
    TOLERANCE,
    Reproduction,
    determinism,
    differences,
    happened,
    keep,
    manifest_of,
    reproductions,
    require_same_class,
    sample_run,
)
from pe_training_tests.homes import copy_home
from pe_training_tests.tampering import past_the_ledger
from pe_training_tests.training.runs import Prepared, manifest_with, prepare_run

pytestmark = pytest.mark.slow
SMALL = (("max_steps: 30", "max_steps: 4"), ("every_steps: 10", "every_steps: 2"), ("max_length: 768", "max_length: 256"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A run of four steps. Never change its home: take :func:`run`."""
    made = prepare_run(tmp_path_factory.mktemp("home"), manifest_with((SAMPLES / "manifests" / "smoke.yaml").read_text(), *SMALL))
    made.finish()
    return made


@pytest.fixture
def run(trained: Prepared, tmp_path: Path) -> Prepared:
    """The trained run in a home of the test's own."""
    return replace(trained, home=copy_home(trained.home, tmp_path / "home"))


def outcome_of(run: Prepared, *options: str) -> Reproduction:
    """Do it again."""
    assert run.reproduce(*options).wait(timeout=300) == 0, run.log
    return reproductions(run.state, run.run)[-1][1]


def with_checkpoint(run: Prepared, change: Callable[[Checkpoint], Checkpoint]) -> None:
    """Put another checkpoint in the place of the run's."""
    state, before = run.state, run.checkpoint
    with past_the_ledger(state.registry) as connection:
        for table, column in ((t.records, t.records.c.id), (t.attachments, t.attachments.c.record_id), (t.edges, t.edges.c.child)):
            connection.execute(sa.delete(table).where(column == before.id))
    state.registry.put(change(before))


def facts(run: Prepared) -> dict[str, Any]:
    """All that a reproduction must leave as it is."""
    state = run.state
    with state.registry.reading() as connection:
        tables = {table.name: connection.execute(sa.select(table)).all() for table in (t.records, t.edges, t.attachments, t.run_states)}
    return tables | {"artifacts": sorted(path.name for path in (run.home / "artifacts").rglob("*") if path.is_file())}


def test_an_untouched_run_is_identical_and_nothing_of_it_changes(run: Prepared) -> None:
    before, spent = facts(run), [charge.step for charge in ledger(run.state)]
    found = outcome_of(run)
    assert found.identical
    assert (found.ended, found.determinism, found.differs, found.environment) == ("finished", "bitwise", (), ())
    assert (found.comparison.steps, found.comparison.tensors) == (4, 20)
    assert found.comparison.weights is not None
    assert facts(run) == before
    assert not (run.home / "runs" / run.run / "reproduction").exists()
    assert [(charge.step, charge.subject) for charge in ledger(run.state)][: -len(spent)] == [("reproduction", run.run)]
    assert happened(run.state, run.run)["determinism"] == "bitwise"
    assert trace_up(run.state, run.checkpoint.id).children[0].determinism == "bitwise"


def test_a_run_that_was_killed_and_resumed_has_the_trace_of_one_that_was_not(trained: Prepared, tmp_path: Path) -> None:
    killed = prepare_run(tmp_path, manifest_with((SAMPLES / "manifests" / "smoke.yaml").read_text(), *SMALL))
    first = killed.start()
    said, deadline = tmp_path / "runs" / killed.run / "progress.jsonl", time.monotonic() + 120
    while not said.exists() or '"event": "saved", "step": 2' not in said.read_text():
        assert first.poll() is None, killed.log
        assert time.monotonic() < deadline, killed.log
        time.sleep(0.01)
    first.kill()
    first.wait()
    assert not killed.complete
    assert killed.finish() == trained.checkpoint  # trace, history and weights by digest
    assert list(killed.happened()) == ["started", "resumed", "finished"]


def test_one_bit_of_one_norm_in_the_stored_trace_is_found_by_step_and_tensor(run: Prepared) -> None:
    state = run.state
    stored = next(file for file in run.checkpoint.content_files if file.path == TRACE_FILE)
    data = state.artifacts.get(stored.digest)
    tensors = load(data)
    tensors["gradient_norms"].view(torch.int32)[2, 5] ^= 1
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    tampered = stored.model_copy(update={"digest": state.artifacts.put_bytes(save(tensors, metadata=metadata))})
    with_checkpoint(
        run, lambda ck: ck.model_copy(update={"content_files": tuple(tampered if f == stored else f for f in ck.content_files)})
    )
    found = outcome_of(run)
    assert not found.identical
    assert (found.comparison.first_step, found.comparison.loss, found.determinism) == (3, None, "tolerance")
    assert found.comparison.tensor is not None
    assert (found.comparison.tensor.name, found.comparison.tensor.of) == (json.loads(metadata["trace"])["tensors"][5], 1)
    assert found.comparison.weights is not None
    assert found.comparison.weights.identical


def test_another_learning_rate_shows_in_the_loss_and_the_tensors_of_the_second_step(run: Prepared) -> None:
    """The checkpoint of one recipe is put in the place of what another recipe would have made."""
    state, manifest = run.state, run.state.registry.get(run.manifest, ResolvedManifest)
    faster = manifest.spec.model_copy(
        update={"hyperparameters": manifest.spec.hyperparameters.model_copy(update={"learning_rate": 3.3e-3})}
    )
    asked = manifest.model_copy(update={"spec": faster})
    claimed = state.registry.get(run.run, TrainingRun).model_copy(update={"recipe": asked.recipe()})
    for record in (asked, claimed, run.checkpoint.model_copy(update={"run_id": claimed.id})):
        state.registry.put(record)
    found = outcome_of(replace(run, run=claimed.id, manifest=asked.id))
    assert found.comparison.first_step == 2
    assert found.comparison.loss is not None
    assert found.comparison.tensor is not None
    assert found.comparison.tensor.of == found.comparison.tensors
    assert found.comparison.history is not None
    assert (found.comparison.history.step, found.comparison.history.key) == (1, "next_lr")
    assert found.comparison.weights is not None
    assert not found.comparison.weights.identical
    assert 0 < found.comparison.weights.relative < 0.1
    assert 0 < found.comparison.last_loss_difference <= found.comparison.largest_loss_difference < 0.1
    assert found.determinism in {"tolerance", "statistical"}


def test_the_first_steps_alone_say_nothing_of_the_class_unless_they_differ(run: Prepared) -> None:
    found = outcome_of(run, "--steps", "1")
    assert found.identical
    assert (found.comparison.steps, found.comparison.weights, found.determinism) == (1, None, None)
    assert determinism(run.state, run.run) is None
    assert happened(run.state, run.run)["determinism"] == "not measured"


def test_a_run_of_other_code_or_hardware_is_refused_by_name_and_can_be_forced(run: Prepared) -> None:
    state = run.state
    ours = state.registry.get(run.run, TrainingRun)
    other = ours.model_copy(update={"hardware": ours.hardware.model_copy(update={"threads": ours.hardware.threads + 62})})
    for record in (other, run.checkpoint.model_copy(update={"run_id": other.id})):
        state.registry.put(record)
    foreign = replace(run, run=other.id)
    assert foreign.reproduce().wait(timeout=100) == Kind.REFUSED.exit_code
    threads = ours.hardware.threads
    with pytest.raises(PeError, match=rf"with other code or on other hardware: hardware.threads \({threads + 62} -> {threads}\) \("):
        require_same_class(state, other)
    found = outcome_of(foreign, "--anyway", "--steps", "1")
    assert found.identical
    assert [change.key for change in found.differs] == ["hardware.threads"]
    assert found.determinism is None


def test_other_code_is_told_by_library_and_source_file_where_they_were_noted(run: Prepared) -> None:
    state = run.state
    with past_the_ledger(state.registry) as connection:
        body = json.loads(connection.execute(sa.select(t.run_events.c.body).where(t.run_events.c.kind == "started")).scalar_one())
        body["environment"]["packages"]["torch"] = "2.0.0"
        body["environment"]["packages"]["ruff"] = "0.0.1"  # cannot change bits
        body["environment"]["sources"]["tasks.py"] = "sha256:0123456789"
        connection.execute(sa.update(t.run_events).where(t.run_events.c.kind == "started").values(body=json.dumps(body)))
    older = state.registry.get(run.run, TrainingRun).model_copy(update={"code": "sha256:" + "0" * 64})
    state.registry.put(older)
    with past_the_ledger(state.registry) as connection:
        connection.execute(sa.update(t.run_events).values(run_id=older.id))
    assert [change.key for change in differences(state, older)] == ["packages.torch", "sources.tasks.py"]


def test_what_cannot_be_reproduced_is_refused(run: Prepared) -> None:
    state, ours = run.state, run.state.registry.get(run.run, TrainingRun)
    manifest = state.registry.get(run.manifest, ResolvedManifest)
    unfinished = ours.model_copy(update={"line": "other"})
    state.registry.put(unfinished)
    with pytest.raises(PeError, match="has not ended, so there is nothing to compare with"):
        require_reproducible(unfinished, manifest, state=state)
    with pytest.raises(PeError, match="was trained before its manifest and its environment were noted"):
        manifest_of(state, unfinished.id)
    recall(state, parse_selector(ours.dataset_id, state=state), reason="withdrawn", actor="tests")
    assert run.reproduce().wait(timeout=100) == Kind.REFUSED.exit_code
    assert [(attempt.route, attempt.subject) for attempt in refused_attempts(state)] == [("reproduction", run.run)]
    assert reproductions(state, run.run) == []


def test_killing_a_reproduction_leaves_no_training_behind_and_records_nothing(run: Prepared) -> None:
    process = run.reproduce()
    said = run.home / "runs" / run.run / "reproduction" / "runs" / run.run / "progress.jsonl"
    deadline = time.monotonic() + 120
    while not said.exists():
        assert time.monotonic() < deadline, run.log
        assert process.poll() is None, run.log
        time.sleep(0.05)
    (child,) = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGKILL)
    process.wait()
    child.wait(timeout=20)
    assert reproductions(run.state, run.run) == []


def test_what_a_killed_reproduction_left_is_cleared_by_the_next_but_not_what_a_living_one_uses(run: Prepared) -> None:
    dead, alive = (run.home / "runs" / f"run_{name * 32}" / "reproduction" for name in "de")
    for folder in (dead, alive):
        (folder / "artifacts").mkdir(parents=True)
        (folder / "runs").mkdir()
    with exclusive(run.home / "locks" / f"{alive.parent.name}.lock"):
        outcome_of(run)
    assert [path.name for path in dead.iterdir()] == ["runs"]
    assert {path.name for path in alive.iterdir()} == {"artifacts", "runs"}


STOPPED = """
import os, signal, sys
from pe_training.training import reproduce
from pe_training.training.process import run_process

def stopped(*given, whole=reproduce.{name}, **named):
    os.kill(os.getpid(), signal.SIGTERM)
    return whole(*given, **named)

reproduce.{name} = stopped
sys.exit(run_process(sys.argv[1:], work=reproduce.reproduce))
"""


@pytest.mark.parametrize("name", ["open_scratch", "compare"])
def test_a_reproduction_that_is_stopped_before_or_behind_its_training_says_so_and_is_settled(run: Prepared, name: str) -> None:
    command = [sys.executable, "-c", STOPPED.format(name=name), run.run, run.manifest]
    assert subprocess.run(command, env=run.environment, check=False, timeout=300).returncode == 3, run.log
    said = [event for _, event in read_feed(run.home / "runs" / run.run / "progress.jsonl")]
    assert said[-1]["error"]["kind"] == "stopped"
    assert said[-1]["error"]["message"] == "the reproduction was stopped by SIGTERM"
    assert [charge.step for charge in ledger(run.state, subject=run.run)] == ["reproduction", "training"]
    assert reproductions(run.state, run.run) == []


def test_a_claim_that_was_refuted_stays_refuted(run: Prepared) -> None:
    same = Comparison(steps=4, tensors=20, rollbacks_identical=True, largest_loss_difference=0.0, last_loss_difference=0.0)
    found = Reproduction(manifest_id=run.manifest, ended="finished", comparison=same, tolerance=TOLERANCE, differs=(), environment=())
    for said in ("bitwise", "tolerance", None, "bitwise"):
        keep(run.state, run.run, found.model_copy(update={"determinism": said}))
    assert determinism(run.state, run.run) == "tolerance"


def test_the_day_picks_one_of_the_runs_that_can_be_reproduced_here(run: Prepared) -> None:
    state, ours = run.state, run.state.registry.get(run.run, TrainingRun)
    _, noted = next((kind, body) for _, kind, body in events(state, run.run) if kind == "started")
    runs = {ours.id}
    for number in range(4):
        other = ours.model_copy(update={"recipe": ours.recipe | {"seed": number}})
        runs.add(other.id)
        for record in (other, run.checkpoint.model_copy(update={"run_id": other.id})):
            state.registry.put(record)
        with state.registry.writing() as connection:
            connection.execute(
                sa.insert(t.run_events).values(run_id=other.id, kind="started", body=json.dumps(noted), at="2026-11-23T00:00:00Z")
            )
    state.registry.put(ours.model_copy(update={"code": "sha256:" + "0" * 64}))  # trained with other code
    state.registry.put(ours.model_copy(update={"recipe": {"model": {}}}))  # has not ended
    days = [date(2026, 11, 23) + timedelta(weeks=week) for week in range(40)]
    picked = [sample_run(day, state=state) for day in days]
    assert {found.id for found in picked if found} == runs
    assert [sample_run(day, state=run.state) for day in days[:5]] == picked[:5]
    recall(state, parse_selector(ours.dataset_id, state=state), reason="withdrawn", actor="tests")
    assert sample_run(days[0], state=state) is None


def test_every_attempt_notes_its_manifest_and_its_environment(run: Prepared) -> None:
    (noted,) = attempts(run.state, run.run)
    assert noted["manifest"] == run.manifest
    assert {"torch", "numpy", "lightning"} <= noted["environment"]["packages"].keys()
    assert manifest_of(run.state, run.run).id == run.manifest
