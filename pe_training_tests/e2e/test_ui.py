"""A person clicks Materialize in the Dagster UI and gets the same records as `pe run`."""

from __future__ import annotations

import json
import socket
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from pe_training_tests.e2e.chain import SMOKE, Ended, pe, start

pytestmark = pytest.mark.browser
CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A fresh home with the sample dataset accepted and the smoke manifest in the watched folder, served by ``pe up``."""
    home = tmp_path / "home"
    inbox = home / "manifests"
    inbox.mkdir(parents=True)
    assert pe("plan", SMOKE, home=home).code == 0  # accepts the release
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = start("up", "--port", port, home=home)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, seconds=90)
        yield home, url
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM_FLAGS)
        yield browser.new_page(viewport={"width": 1500, "height": 950})
        browser.close()


def test_clicking_materialize_makes_the_records_that_pe_run_makes(
    served: tuple[Path, str], page: Page, finished: tuple[Path, Ended], tmp_path: Path
) -> None:
    home, url = served
    wanted = finished[1].json
    _add_partition(url, wanted["manifest"])
    _register_manifest(home)
    page.goto(f"{url}/locations/pe_training/jobs/train_and_promote")
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_text("Select a partition").first.click()
    page.get_by_text("Select all (1)").click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Launch").last.click()
    ids = _wait_for_decision(home, seconds=200)
    assert ids == {kind: wanted[name] for kind, name in (("ck", "checkpoint"), ("ev", "report"), ("pd", "decision"), ("ds", "dataset"))}


def test_a_manifest_put_into_the_watched_folder_runs_by_itself(served: tuple[Path, str], finished: tuple[Path, Ended]) -> None:
    home, _ = served
    (home / "manifests" / "smoke.yaml").write_text(SMOKE.read_text())
    ids = _wait_for_decision(home, seconds=240)
    assert ids["pd"] == finished[1].json["decision"]


def _wait_for(url: str, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/server_info", timeout=2):  # noqa: S310 (our own server)
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the webserver did not answer")


def _add_partition(url: str, key: str) -> None:
    query = """mutation($key: String!) { addDynamicPartition(partitionsDefName: "training_run", partitionKey: $key,
        repositorySelector: {repositoryName: "__repository__", repositoryLocationName: "pe_training"}) { __typename } }"""
    body = json.dumps({"query": query, "variables": {"key": key}}).encode()
    request = urllib.request.Request(f"{url}/graphql", data=body, headers={"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        assert "Success" in answer.read().decode()


def _register_manifest(home: Path) -> None:
    from pe_training.manifests.resolve import read_manifest, resolve
    from pe_training.settings import Settings
    from pe_training.storage.state import State

    state = State(Settings(home=home))
    state.registry.put(resolve(read_manifest(SMOKE), state=state))


def _wait_for_decision(home: Path, *, seconds: float) -> dict[str, str]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with sqlite3.connect(home / "registry.sqlite") as connection:
            ids = dict(connection.execute("SELECT kind, id FROM records WHERE kind IN ('ds', 'ck', 'ev', 'pd')").fetchall())
        if "pd" in ids:
            return ids
        time.sleep(1)
    raise AssertionError("no decision in time")
