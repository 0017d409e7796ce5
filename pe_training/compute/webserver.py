"""Dagster's webserver and daemon as child processes that live and die together."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from types import FrameType

from pe_training.settings import Settings, inherited

POLL_S = 0.5
STOP_GRACE_S = 20.0


def serve(settings: Settings, *, host: str, port: int) -> int:
    """Run both until one ends or we are asked to stop; returns the exit code."""
    environment = inherited() | settings.child_environment()
    location = ["--workspace", str(settings.dagster / "workspace.yaml")]
    server = ["dagster_webserver", "--host", host, "--port", str(port), "--path-prefix", "", *location]
    daemon = ["dagster._daemon", "run", *location]
    children = [subprocess.Popen([sys.executable, "-m", *command], env=environment, start_new_session=True) for command in (server, daemon)]
    asked = _Asked()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked)
    while not asked.done and all(child.poll() is None for child in children):
        time.sleep(POLL_S)
    for child in children:
        child.send_signal(signal.SIGINT)
    for child in children:
        try:
            child.wait(STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
    return 0 if asked.done else 3


class _Asked:
    """Remembers that a signal came."""

    def __init__(self) -> None:
        self.done = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.done = True
