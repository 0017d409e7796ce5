"""The whole chain as its user runs it: release to decision, again, killed, resumed, damaged."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from pe_training_tests.e2e.chain import BRIEF, SMOKE, Ended, pe, smoke_with, start, training_process, wait_for_step

pytestmark = pytest.mark.slow


def test_one_command_goes_from_the_release_to_a_verdict(finished: tuple[Path, Ended]) -> None:
    _, first = finished
    assert first.code == 0, first.stderr
    found = first.json
    prefixes = {name: found[name].partition("_")[0] for name in ("run", "manifest", "dataset", "checkpoint", "report", "decision")}
    assert prefixes == {"run": "run", "manifest": "mf", "dataset": "ds", "checkpoint": "ck", "report": "ev", "decision": "pd"}
    assert found["verdict"] == "pass"
    assert found["cost_usd"] > 0
    assert found["reused"] is False
    assert Path(found["report_path"]).read_text().startswith("<!doctype html>")
    assert "training: 30 of 30" in first.stderr


def test_the_same_manifest_again_does_nothing_and_says_so(finished: tuple[Path, Ended]) -> None:
    home, first = finished
    began = time.monotonic()
    again = pe("run", SMOKE, "--json", home=home)
    assert time.monotonic() - began < 5  # an acceptance point, with an order of magnitude to spare
    assert again.json == first.json | {"reused": True}
    assert again.stderr == ""


def test_two_empty_homes_give_the_same_checkpoint_report_and_decision(finished: tuple[Path, Ended], tmp_path: Path) -> None:
    other = pe("run", SMOKE, "--json", home=tmp_path).json
    assert {name: other[name] for name in ("dataset", "run", "checkpoint", "report", "decision")} == {
        name: finished[1].json[name] for name in ("dataset", "run", "checkpoint", "report", "decision")
    }


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])  # SIGTERM: test_watchdog.py
def test_a_run_that_is_killed_midway_continues_to_the_same_checkpoint(
    finished: tuple[Path, Ended], ready_home: Path, tmp_path: Path, number: signal.Signals
) -> None:
    path = smoke_with(tmp_path, *BRIEF)
    process = start("run", path, home=ready_home)
    wait_for_step(ready_home, 12)
    if number is signal.SIGKILL:  # the power is gone for all of them
        os.kill(training_process(ready_home), signal.SIGKILL)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "Traceback" not in stderr
    again = pe("run", path, "--json", home=ready_home)
    assert again.code == 0, again.stderr
    assert again.json["checkpoint"] == finished[1].json["checkpoint"]
    events = [row[0] for row in sqlite3.connect(ready_home / "registry.sqlite").execute("SELECT kind FROM run_events ORDER BY seq")]
    assert "resumed" in events


def test_a_second_run_of_the_same_manifest_while_one_is_under_way_is_told_so(ready_home: Path, tmp_path: Path) -> None:
    path = smoke_with(tmp_path, *BRIEF)
    process = start("run", path, home=ready_home)
    wait_for_step(ready_home, 1)
    second = pe("run", path, home=ready_home)
    process.communicate(timeout=200)
    assert second.code == 3
    assert second.stderr.startswith("error: a run of 'smoke' with this manifest is already under way\n  hint: process ")
    assert process.returncode == 0


def test_more_examples_are_evaluated_without_training_again(own_home: Path, finished: tuple[Path, Ended], tmp_path: Path) -> None:
    path = smoke_with(tmp_path, ("safety: 24", "safety: 30"))
    more = pe("run", path, "--json", home=own_home)
    assert more.json["checkpoint"] == finished[1].json["checkpoint"]
    assert more.json["report"] != finished[1].json["report"]
    assert "the checkpoint exists already: not trained again" in more.stderr


def test_everything_verifies_and_any_changed_byte_is_named(own_home: Path) -> None:
    assert pe("verify", home=own_home).code == 0
    blobs = [path for path in sorted((own_home / "artifacts").rglob("*")) if path.is_file()]
    named = sqlite3.connect(own_home / "registry.sqlite").execute("SELECT digest FROM attachments").fetchall()
    wanted = {digest.removeprefix("sha256:") for (digest,) in named}
    evidence = [path for path in blobs if path.name in wanted]
    assert len(evidence) >= 12
    originals = {path: path.read_bytes() for path in evidence}
    for path, original in originals.items():
        path.chmod(0o644)
        path.write_bytes(_flipped(original))
    result = pe("verify", home=own_home)
    assert result.code == 1
    for path, original in originals.items():
        assert path.name in result.stdout.replace("\n", "")
        path.write_bytes(original)
    assert pe("verify", home=own_home).code == 0
    path = evidence[-1]
    path.write_bytes(_flipped(originals[path]))
    alone = pe("verify", "--json", home=own_home)
    assert [check["problem"] is not None for check in alone.json["checks"]].count(True) == 1
    assert path.name in alone.stdout


def test_a_page_that_was_edited_where_people_read_it_is_named(own_home: Path, finished: tuple[Path, Ended]) -> None:
    page = own_home / "reports" / Path(finished[1].json["report_path"]).name
    page.write_text(page.read_text().replace("PASS", "PASS!"))
    result = pe("verify", finished[1].json["decision"], home=own_home)
    assert result.code == 1
    assert page.name in result.stdout.replace("\n", "")


def test_the_registry_holds_no_conversation_text(finished: tuple[Path, Ended]) -> None:
    home, _ = finished
    canary = "I keep"  # in dozens of the sample dialogues
    for path in [home / "registry.sqlite", *home.glob("runs/*/*"), *(home / "dagster").rglob("*")]:
        if path.is_file():
            assert canary.encode() not in path.read_bytes(), path


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
