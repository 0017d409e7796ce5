"""A run begins on one machine and ends on another, which has nothing of it but the stores: S3 and PostgreSQL, both real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pe_training.datasets.accept import accept
from pe_training.evaluation.suites import suite_prompts
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.training.record import Checkpoint
from pe_training_tests.postgres_server import PostgresServer
from pe_training_tests.s3_server import BUCKET, S3Server
from pe_training_tests.training.runs import RELEASE, Prepared, prepare_run, register_run
from pe_training_tests.training.steps import smoke

SHORT = (("max_steps: 30", "max_steps: 8"), ("every_steps: 10", "every_steps: 2"))


@pytest.mark.slow
def test_a_run_whose_machine_was_lost_goes_on_on_another_with_the_same_stores(
    tmp_path: Path, s3: S3Server, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = prepare_run(tmp_path / "usual", smoke(*SHORT)).finish()
    stores = {"PE_ARTIFACTS_URL": f"s3://{BUCKET}/{tmp_path.name}", "PE_DATABASE_URL": postgres.new_database("machines")}
    for name, value in stores.items():
        monkeypatch.setenv(name, value)
    first, second = tmp_path / "first", tmp_path / "second"
    state = State(Settings(home=first))
    accept(RELEASE, suites=suite_prompts(state.settings.suite_folder), state=state).sealed()
    begun = register_run(first, smoke(*SHORT))

    def start(home: Path) -> subprocess.Popen[bytes]:
        environment = Prepared(home, begun.run, begun.manifest).environment | stores
        command = [sys.executable, "-m", "pe_training.training", begun.run, begun.manifest]
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)

    lost = start(first)
    begun.wait_for_state(4)
    lost.kill()
    lost.wait()
    assert not begun.complete
    goes_on = start(second)
    assert goes_on.wait(timeout=300) == 0, Prepared(second, begun.run, begun.manifest).log
    assert State(Settings(home=second)).registry.the_answer(begun.run, Checkpoint).id == usual.id
    assert list(begun.happened()) == ["started", "resumed", "finished"]
