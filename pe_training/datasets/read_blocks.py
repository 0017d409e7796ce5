"""The blocks of a release in their order, read by as many processes as this one may use.

Only what is too large for one process to read at once pays for others: they start in about a second each.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from pe_training.core.errors import Kind, PeError
from pe_training.core.progress import progress
from pe_training.datasets.block import Block, Complaint, read_block
from pe_training.datasets.shard_lines import UnreadableError, shard_lines
from pe_training.datasets.texts.scan import TextScan

BLOCK_BYTES = 1 << 20
BLOCK_ROWS = 4_000
SMALL_BYTES = 32 << 20  # read here, without other processes


class Lines(NamedTuple):
    """Some lines of a shard, and why there are no more where it cannot be read on."""

    file: int
    lines: list[tuple[int, bytes]]
    broken: Complaint | None = None


def read_blocks(shards: Sequence[Path | None], *, scan: TextScan) -> Iterator[tuple[int, Block]]:
    """Every block with the number of its shard. ``None`` stands for a shard that is not there. Raises infrastructure."""
    total = sum(path.stat().st_size for path in shards if path)
    workers = _cores() if total > SMALL_BYTES else 1
    blocks = _here(shards, scan) if workers == 1 else _elsewhere(shards, scan, workers)
    read = 0
    for lines, block in blocks:
        read += sum(len(line) for _, line in lines.lines)
        progress("reading rows", min(read, total), total)  # of a compressed file the lines are longer than the file
        if lines.broken:
            block.complaints.append(lines.broken)
        yield lines.file, block


def _cores() -> int:
    """How many this process may use; macOS cannot say that of a process, only of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cut(shards: Sequence[Path | None]) -> Iterator[Lines]:
    for file, path in enumerate(shards):
        lines: list[tuple[int, bytes]] = []
        size = 0
        try:
            for number, line in shard_lines(path) if path else ():
                lines.append((number, line))
                size += len(line)
                if size >= BLOCK_BYTES or len(lines) >= BLOCK_ROWS:
                    yield Lines(file, lines)
                    lines, size = [], 0
        except UnreadableError as error:
            yield Lines(file, lines, Complaint(error.number, "", error.message))
        else:
            if lines:
                yield Lines(file, lines)


def _here(shards: Sequence[Path | None], scan: TextScan) -> Iterator[tuple[Lines, Block]]:
    return ((lines, read_block(lines.lines, file=lines.file, scan=scan)) for lines in _cut(shards))


def _elsewhere(shards: Sequence[Path | None], scan: TextScan, workers: int) -> Iterator[tuple[Lines, Block]]:
    """A few blocks are on their way at any time, so that memory does not grow with the release."""
    spawning = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks of whoever calls
    pool = ProcessPoolExecutor(workers, mp_context=spawning, initializer=_start, initargs=(scan,))
    waiting: deque[tuple[Lines, Future[Block]]] = deque()
    try:
        for lines in _cut(shards):
            waiting.append((lines, pool.submit(_read, lines)))
            if len(waiting) > 2 * workers:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    except BrokenProcessPool as error:
        message = "a process that reads rows was ended from outside"
        raise PeError(Kind.INFRASTRUCTURE, message, hint="often the memory ran out; free some and run the same command again") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _next(waiting: deque[tuple[Lines, Future[Block]]]) -> tuple[Lines, Block]:
    lines, future = waiting.popleft()
    return lines, future.result()


_scan: TextScan


def _start(scan: TextScan) -> None:
    global _scan  # noqa: PLW0603 - once a process, so that it does not travel with every block
    _scan = scan


def _read(lines: Lines) -> Block:
    return read_block(lines.lines, file=lines.file, scan=_scan)
