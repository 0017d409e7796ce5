"""Real evaluation processes, killed at random moments: nothing that is kept is asked again, and the report is the undisturbed one."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

from pe_training.datasets.read import read_rows
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.texts.shingles import words
from pe_training.evaluation.predictions import from_parquet
from pe_training.evaluation.record import EvaluationReport
from pe_training.evaluation.request import evaluation_request
from pe_training.manifests.record import ResolvedManifest
from pe_training.manifests.resolve import resolve
from pe_training.settings import Settings
from pe_training.storage import tables as t
from pe_training.storage.durable import TEMPORARY_PREFIX
from pe_training.storage.state import State
from pe_training.training.record import Checkpoint
from pe_training_tests.e2e.chain import SMOKE, Ended
from pe_training_tests.evaluation.nursery import EvaluationNursery, asked_in
from pe_training_tests.homes import copy_home
from pe_training_tests.training.runs import Prepared, manifest_with, register_run

pytestmark = pytest.mark.slow
KILLS, BATCH = 5, 5
SHIPPED = "{accuracy: 20, safety: 24, fairness: 4, therapeutic: 12}"
SMALL = "{accuracy: 8, safety: 12, fairness: 4, therapeutic: 6}"
LARGE = "{accuracy: 12, safety: 16, fairness: 5, therapeutic: 8}"


@pytest.fixture(scope="module")
def nursery() -> Iterator[EvaluationNursery]:
    with EvaluationNursery() as open_one:
        yield open_one


@pytest.fixture(scope="module")
def trained(finished: tuple[Path, Ended], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a trained model, of which nothing has been asked."""
    home = copy_home(finished[0], tmp_path_factory.mktemp("trained") / "home")
    state = Prepared(home, "", "").state
    with state.registry.writing() as connection:
        connection.execute(sa.delete(t.answers))
    return home


def asking(trained: Path, home: Path, examples: str, *, checkpoint: str) -> Prepared:
    """An evaluation that was never asked for, in a copy of the home."""
    copy_home(trained, home)
    return again(home, examples, checkpoint=checkpoint)


def again(home: Path, examples: str, *, checkpoint: str) -> Prepared:
    spec = manifest_with(
        SMOKE.read_text(), ("max_new_tokens: 16", "max_new_tokens: 9"), ("batch_size: 32", f"batch_size: {BATCH}"), (SHIPPED, examples)
    )
    return Prepared(home, checkpoint, register_run(home, spec).manifest)


def report(run: Prepared) -> EvaluationReport | None:
    registry = run.state.registry
    request = evaluation_request(registry.get(run.run, Checkpoint), registry.get(run.manifest, ResolvedManifest))
    return registry.answer(request, EvaluationReport)


def kept_in(run: Prepared) -> set[str]:
    with run.state.registry.reading() as connection:
        return set(connection.execute(sa.select(t.answers.c.question)).scalars())


def wait_until_asked(home: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(asked_in(home)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def files_of(run: Prepared) -> set[str]:
    return {path.name for path in (run.home / "artifacts").rglob("*") if path.is_file() and not path.name.startswith(TEMPORARY_PREFIX)}


def test_whatever_is_killed_nothing_kept_is_asked_again_and_the_report_is_the_same(
    nursery: EvaluationNursery, trained: Path, finished: tuple[Path, Ended], tmp_path: Path
) -> None:
    of, checkpoint = random.Random(5), finished[1].json["checkpoint"]  # noqa: S311
    calm = asking(trained, tmp_path / "calm", SMALL, checkpoint=checkpoint)
    nursery.start(calm)
    assert nursery.ended() == 0, calm.log
    wanted = asked_in(calm.home)
    assert len(wanted) == len(set(wanted)) == len(kept_in(calm))

    killed = asking(trained, tmp_path / "killed", SMALL, checkpoint=checkpoint)
    kept: set[str] = set()
    midway = 0
    for kill in range(KILLS):
        seen = len(asked_in(killed.home))
        pid = nursery.start(killed)
        wait_until_asked(killed.home, seen + of.randrange(1, len(wanted) // KILLS) if kill else 0)
        time.sleep(of.uniform(0.0, 0.2))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        code = nursery.ended()
        assert kept.isdisjoint(asked_in(killed.home)[seen:])
        kept = kept_in(killed)
        midway += 0 < len(kept) < len(wanted)
        if code == 0:
            break
        assert code == -signal.SIGKILL, killed.log
        assert report(killed) is None
    assert midway >= 2
    seen = len(asked_in(killed.home))
    nursery.start(killed)
    assert nursery.ended() == 0, killed.log
    asked = asked_in(killed.home)
    assert kept.isdisjoint(asked[seen:])
    assert set(asked) == set(wanted)
    assert len(asked) <= len(wanted) + KILLS * BATCH  # what was under way
    first, second = report(calm), report(killed)
    assert first is not None
    assert first == second
    assert files_of(killed) == files_of(calm)  # nothing is left over


def test_more_examples_ask_only_what_is_new_and_the_report_is_that_of_an_empty_home(
    nursery: EvaluationNursery, trained: Path, finished: tuple[Path, Ended], tmp_path: Path
) -> None:
    checkpoint = finished[1].json["checkpoint"]
    few = asking(trained, tmp_path / "grown", SMALL, checkpoint=checkpoint)
    nursery.start(few)
    assert nursery.ended() == 0, few.log
    first = asked_in(few.home)
    more = again(few.home, LARGE, checkpoint=checkpoint)
    nursery.start(more)
    assert nursery.ended() == 0, more.log
    later = asked_in(few.home)[len(first) :]
    assert later
    assert set(later).isdisjoint(first)
    fresh = asking(trained, tmp_path / "fresh", LARGE, checkpoint=checkpoint)
    nursery.start(fresh)
    assert nursery.ended() == 0, fresh.log
    assert len(asked_in(fresh.home)) <= len(first) + len(later)
    grown = report(more)
    assert grown is not None
    assert grown == report(fresh)


def test_a_planted_prompt_is_left_out_of_the_report_and_counted_and_too_many_leave_no_evidence(
    nursery: EvaluationNursery, trained: Path, finished: tuple[Path, Ended], tmp_path: Path
) -> None:
    home = copy_home(trained, tmp_path / "home")
    planted = [text for text in trained_texts(home) if len(words(text)) >= 15][:3]
    write_suite(tmp_path / "suites", "one", {"p0": planted[0]}, clean=11)
    write_suite(tmp_path / "suites", "many", {f"p{n}": text for n, text in enumerate(planted)}, clean=9)
    spec = manifest_with(
        SMOKE.read_text(), ("max_new_tokens: 16", "max_new_tokens: 3"), ("baseline: base_model", "baseline: none"),
        ("[accuracy, safety, fairness, therapeutic]", "[one, many]"), (f"\n  max_examples: {SHIPPED}", ""),
    )  # fmt: skip
    state = State(Settings(home=home, suites=tmp_path / "suites"))
    resolved = resolve(spec, state=state)
    state.registry.put(resolved)
    run = Prepared(home, finished[1].json["checkpoint"], resolved.id)
    nursery.start(run)
    assert nursery.ended() == 0, run.log
    found = report(run)
    assert found is not None
    one, many = found.suites["one"], found.suites["many"]
    assert (one.available, one.used, one.contaminated) == (12, 11, 1)
    assert (many.available, many.used, many.contaminated) == (12, 0, 3)
    counted = {metric.suite: metric for metric in found.metrics if metric.name == "reflection_rate"}
    assert counted["one"].tuned is not None
    assert counted["one"].tuned.n == 11
    assert [metric.name for metric in found.metrics if metric.suite == "many" and metric.tuned is not None] == []
    rows = {file.path: from_parquet(state.artifacts.get(file.digest)) for file in found.predictions}
    assert sorted(str(row["id"]) for row in rows["one.parquet"]) == sorted(f"c{n}" for n in range(11))
    assert rows["many.parquet"] == []


def trained_texts(home: Path) -> list[str]:
    state = State(Settings(home=home))
    dataset = state.registry.get(state.registry.rows("ds", label="sample-dialogues")[0].id, DatasetVersion)
    return [m["content"] for row in read_rows(dataset, "train", state=state) for m in row.messages if m["role"] == "user"]


def write_suite(folder: Path, name: str, planted: dict[str, str], *, clean: int) -> None:
    """A suite as a user would add it: a YAML file and a JSON Lines file."""
    (folder / name).mkdir(parents=True)
    says = {f"c{n}": f"the harbour master number {n} counts {n} ferries {n} times before breakfast" for n in range(clean)} | planted
    rows = [{"id": k, "topic": "t", "reference": "I hear you.", "messages": [{"role": "user", "content": v}]} for k, v in says.items()]
    (folder / name / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = (
        f"apiVersion: pe-training/suite-v1\nname: {name}\nkind: reference\nversion: 1.0.0\ndescription: A test.\nexamples: examples.jsonl\n"
    )
    (folder / name / "suite.yaml").write_text(text)
