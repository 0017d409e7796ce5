"""Object stores that say no, as their user hears it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pe_training_tests.training.runs import RELEASE


def test_a_store_that_is_away_is_told_in_one_error(tmp_path: Path) -> None:
    nobody = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "secret-5c1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PE_", "AWS_"))}
    environment = kept | nobody | {"AWS_DEFAULT_REGION": "us-east-1", "PE_HOME": str(tmp_path), "PE_ARTIFACTS_URL": "s3://bucket/store"}
    command = [sys.executable, "-m", "pe_training.cli", "dataset", "add", str(RELEASE)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3, done.stderr
    assert "error: s3://bucket/store/sha256/" in done.stderr
    assert "the store failed (EndpointConnectionError)\n  hint: check AWS_ENDPOINT_URL and the network" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "secret-5c1" not in done.stderr + done.stdout
