"""Dagster's own home: written once, initialised once, before anything fans out.

On a fresh SQLite home most of the processes that start together die in the same migration, so the first one does it
alone, under a lock. Telemetry and the first-run survey are off: nothing phones home.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import BinaryIO

from dagster import DagsterInstance

from pe_training.settings import Settings
from pe_training.storage.durable import write_durably
from pe_training.storage.locks import exclusive

CONFIG = """\
# Written by pe_training where there was none; edit it freely.
telemetry: {enabled: false}
nux: {enabled: false}
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
run_retries:
  enabled: true
  max_retries: 0 # an answer of "no" must not be asked again
retention:
  sensor: {purge_after_days: {skipped: 7, failure: 30, success: 90}}
"""

# The same as workspace.yaml at the top of the repository, for an installed package that has none beside it.
WORKSPACE = """\
load_from:
  - python_module:
      module_name: pe_training.definitions
      location_name: pe_training
"""


def open_instance(settings: Settings) -> DagsterInstance:
    """The Dagster instance in ``settings.dagster``, created if new."""
    home = settings.dagster
    with exclusive(settings.root / "locks" / "dagster-home.lock"):
        prepare_home(home)
        return DagsterInstance.from_config(str(home))


def prepare_home(home: Path) -> None:
    """Write ``dagster.yaml`` and ``workspace.yaml`` unless the operator has them."""
    for name, text in (("dagster.yaml", CONFIG), ("workspace.yaml", WORKSPACE)):
        if not (home / name).exists():
            write_durably(home / name, partial(_write, text.encode()))


def _write(data: bytes, file: BinaryIO) -> None:
    file.write(data)
