"""How far long work has come, told to whoever listens: a bar on a terminal, or nobody.

Work that runs inside Dagster cannot be handed a listener, so it is ambient, like logging: rooms say where they are, and the command
line decides what to show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Listener: TypeAlias = Callable[[str, int, int], None]
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell ``listener`` of all progress until the body is done: what is done, how much of it, and of how much in all."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


class Meter:
    """Progress of work that goes on in many small steps: told once for a hundredth of it, so that telling costs nothing."""

    def __init__(self, what: str, total: int) -> None:
        """``total`` of the steps together, which may turn out to be an estimate."""
        self._what, self._total = what, max(total, 1)
        self._done = self._told = 0

    def add(self, amount: int) -> None:
        """Say that one more step, of this size, is done."""
        self._done += amount
        if self._done - self._told >= self._total / 100:
            self._told = self._done
            progress(self._what, min(self._done, self._total), self._total)


def progress(what: str, done: int, total: int) -> None:
    """Say that ``done`` of ``total`` (in any one unit) of ``what`` are finished."""
    for listener in _listeners:
        listener(what, done, total)
