"""A training state of half a gigabyte, durable: how long training stands still for it, and how long until it is on the disk.

Every contender ends with ``fsync`` of the file and of its folder, so that a power cut loses nothing.
"""

from __future__ import annotations

import importlib.metadata
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from safetensors.torch import save_file

from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.training.states import StateStore

TENSORS, EACH = 32, (2048, 2052)  # 538 MB of float32
REPEATS = 5
Seconds = tuple[float, float]  # training stands still, durable


def checkpoint_table(folder: Path) -> Table:
    """Medians, side by side."""
    folder.mkdir()
    torch.manual_seed(0)
    tensors = {f"t{number}": torch.randn(EACH) for number in range(TENSORS)}
    size = sum(tensor.nbytes for tensor in tensors.values())
    state = State(Settings(home=folder / "home"))
    _ = state.registry.rows("ck", limit=1)  # the registry exists
    states = StateStore("run_0", keep_last=1, state=state)
    steps = iter(range(1_000))

    def ours() -> Seconds:
        tensors["t0"][0, 0] += 1.0  # else the bytes are there already
        began = time.perf_counter()
        states.save_checkpoint({"tensors": tensors}, str(next(steps)))
        stood = time.perf_counter() - began
        states.settle()
        return stood, time.perf_counter() - began

    ours()  # its copies need memory once
    contenders: dict[str, Callable[[], Seconds]] = {
        "ours: copied, then hashed and written beside training": ours,
        f"torch.save {importlib.metadata.version('torch')}": lambda: _blocking(folder, lambda path: torch.save(tensors, path)),
        f"safetensors {importlib.metadata.version('safetensors')}": lambda: _blocking(folder, lambda path: save_file(tensors, path)),
        "the device: the same bytes from four threads, no hash": lambda: _blocking(folder, lambda path: _raw(path, tensors)),
    }
    found: dict[str, list[Seconds]] = {who: [] for who in contenders}
    for _ in range(REPEATS):
        for who, save in contenders.items():
            found[who].append(save())
    table = Table(title=f"a state of {size / 1e6:,.0f} MB, durable, medians of {REPEATS}")
    for column in ("what", "training stands still ms", "durable after ms", "times the device"):
        table.add_column(column, justify="left" if column == "what" else "right")
    device = statistics.median(durable for _, durable in list(found.values())[-1])
    for who, seconds in found.items():
        stood, durable = (statistics.median(column) for column in zip(*seconds, strict=True))
        table.add_row(who, f"{stood * 1000:,.0f}", f"{durable * 1000:,.0f}", f"{durable / device:.2f}")
    return table


def _blocking(folder: Path, write: Callable[[Path], Any]) -> Seconds:
    path = folder / "file"
    began = time.perf_counter()
    write(path)
    for each in (path, folder):
        descriptor = os.open(each, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    seconds = time.perf_counter() - began
    path.unlink()
    return seconds, seconds


def _raw(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    views = [memoryview(tensor.numpy().reshape(-1).view("uint8").data) for tensor in tensors.values()]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda item: os.pwrite(descriptor, item[1], item[0] * len(item[1])), enumerate(views)))
    os.close(descriptor)
