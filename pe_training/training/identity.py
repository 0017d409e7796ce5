"""Which run a manifest asks for on this machine: recipe, code and hardware class, each by digest.

Computed without importing torch, because ``pe run`` asks this first to find out that nothing needs doing.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from functools import cache
from pathlib import Path

from pe_training.core.ids import digest_file, digest_json
from pe_training.manifests.record import ResolvedManifest
from pe_training.training.record import Hardware, TrainingRun

# Libraries whose version can change the bits of the weights.
LIBRARIES = ("torch", "lightning", "transformers", "peft", "tokenizers", "numpy", "pyarrow")
# Instruction sets, best first, that make the numeric kernels choose other code.
_ISA_FLAGS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2", "asimd")


def plan_run(manifest: ResolvedManifest) -> TrainingRun:
    """The run of this manifest's recipe with this code on this machine."""
    return TrainingRun(
        line=manifest.spec.name,
        dataset_id=manifest.spec.dataset.version,
        recipe=manifest.recipe(),
        code=training_code(),
        hardware=hardware_class(),
    )


@cache
def training_code() -> str:
    """Digest of this package's sources and of the library versions under it."""
    return digest_json({"sources": source_digests(), "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES}})


@cache
def source_digests() -> dict[str, str]:
    """Digest of each source file of this package."""
    return {path.name: digest_file(path) for path in sorted(Path(__file__).parent.glob("*.py"))}


@cache
def hardware_class() -> Hardware:
    """What of this machine can change bits."""
    return Hardware(arch=platform.machine(), isa=_instruction_set(), threads=thread_count(), accelerator=_accelerator())


def thread_count() -> int:
    """CPU threads that training uses: all this process may run on. More threads sum in another order."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _instruction_set() -> str:
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.exists() else set()
    return next((flag for flag in _ISA_FLAGS if flag in flags), "generic")


def _accelerator() -> str:
    """Name of the first NVIDIA device, from the driver, or ``none``."""
    cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    if not cards:
        return "none"
    model = next((line for line in cards[0].read_text().splitlines() if line.startswith("Model:")), "Model: unknown")
    return model.removeprefix("Model:").strip()
