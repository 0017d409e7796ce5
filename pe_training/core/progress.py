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


def progress(what: str, done: int, total: int) -> None:
    """Say that ``done`` of ``total`` (in any one unit) of ``what`` are finished."""
    for listener in _listeners:
        listener(what, done, total)
