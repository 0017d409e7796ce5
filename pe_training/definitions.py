"""The Dagster code location: everything in ``defs/``, executed in the process of the run.

Steps here are light (the heavy ones start a process of their own), so one process for a whole chain beats a process a
step: ADR 0004 has the numbers.
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Load every module of ``defs/``."""
    loaded = dg.load_from_defs_folder(path_within_project=Path(__file__).parent / "defs")
    return dg.Definitions.merge(loaded, dg.Definitions(executor=dg.in_process_executor))
