"""Kills a process at each boundary that matters: before and after every write to the registry, every commit, sync, copy and rename.

``python -m pe_training_tests.faults.boundaries KIND HOME`` forks a child for each boundary, which does the work and dies there, looks at
what is left from yet another process, and prints what it saw as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect

from pe_training.core.errors import PeError
from pe_training.promotion.events import events
from pe_training.promotion.pointers import current, history
from pe_training.promotion.rollback import rollback
from pe_training.promotion.serving import place_file, resolve_place
from pe_training.promotion.watch import watch_line
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.storage.tables import owed_alerts
from pe_training_tests.promotion.standing import WHO

LINE = "empathy"
Work = Callable[[State], object]


@contextlib.contextmanager
def dying_at(number: int) -> Iterator[Callable[[], int]]:
    """Die at the boundary of that number; gives how many there were so far."""
    count = [0]

    def boundary() -> None:
        count[0] += 1
        if count[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def between(owner: Any, name: str) -> None:
        whole = getattr(owner, name)

        def guarded(*arguments: Any, **named: Any) -> Any:
            boundary()
            result = whole(*arguments, **named)
            boundary()
            return result

        setattr(owner, name, guarded)

    def statement(_: object, __: object, text: str, *___: object) -> None:
        if text.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE", "SAVEPOINT", "RELEASE")):
            boundary()

    sa.event.listen(sa.Engine, "before_cursor_execute", statement)
    sa.event.listen(sa.Engine, "after_cursor_execute", statement)
    between(DefaultDialect, "do_commit")
    for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "rename"), (Path, "write_text"), (shutil, "copyfile")):
        between(owner, name)
    yield lambda: count[0]


def apart(act: Callable[[], Any]) -> tuple[int, Any]:
    """Exit code and answer of ``act`` in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        code = 70
        try:
            answer = act()
            os.write(writing, json.dumps(answer).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, json.loads(said) if said else None


def kill_everywhere(home: Path, work: Work, *, look: Callable[[State], Any], restore: Work, stride: int = 1) -> list[dict[str, Any]]:
    """``work`` killed at every ``stride``-th boundary and at last not killed: how it ended, and what ``look`` saw afterwards."""

    def once(number: int) -> int:
        with dying_at(number) as counted:
            work(state_of(home))
            return counted()

    seen, number, code = [], 1, -signal.SIGKILL
    while code == -signal.SIGKILL:
        code, _ = apart(partial(once, number))
        looked, found = apart(lambda: look(state_of(home)))
        assert looked == 0
        seen.append({"at": number, "code": code, "found": found})
        put_back, _ = apart(lambda: restore(state_of(home)) and None)
        assert put_back == 0
        number += stride
    return seen


def state_of(home: Path) -> State:
    """The storage of a home, opened anew."""
    return State(Settings(home=home, artifacts_url="", database_url=""))


def standing(state: State) -> dict[str, Any]:
    """The pointer of production, whether log and row agree, and whether the file is the row's, before and after a consumer asked."""
    (pointer,) = [found for found in current(state, line=LINE) if found.stage == "production"]
    moves = history(state, line=LINE, stage="production", limit=1000)
    file = place_file(state, LINE, "production")
    early = json.loads(file.read_bytes())
    try:
        served: str | None = resolve_place(LINE, "production", state=state).checkpoint.id
    except PeError:
        served = None
    healed = json.loads(file.read_bytes())
    with state.registry.reading() as connection:
        alerts = connection.execute(sa.select(sa.func.count()).select_from(owed_alerts).where(owed_alerts.c.kind == "production_watch"))
        owed = int(alerts.scalar_one())
    return {
        "holds": pointer.checkpoint_id if pointer.holds else None, "served": served,
        "agree": (moves[0].to_id, len(moves)) == (pointer.checkpoint_id, pointer.version),
        "file": early.get("version", 0) <= pointer.version and healed["version"] == pointer.version,
        "watched": len(events(state, line=LINE, place="production", kind="watch", limit=1000)), "owed": owed,
    }  # fmt: skip


def roll_back(home: Path, second: str) -> list[dict[str, Any]]:
    """A rollback of production, taken back after each time that it went through."""

    def restore(state: State) -> None:
        if standing(state)["holds"] != second:
            rollback(LINE, stage="production", to=second, state=state, **WHO)

    return kill_everywhere(home, lambda state: rollback(LINE, stage="production", state=state, **WHO), look=standing, restore=restore)


def watch(home: Path, second: str) -> list[dict[str, Any]]:
    """The watch over a recalled model, which a test has recalled; nothing is put back, so the first move that goes through is the last."""
    assert second
    return kill_everywhere(home, lambda state: watch_line(LINE, state=state), look=standing, restore=lambda state: state)


def export(home: Path, _: str) -> list[dict[str, Any]]:
    """An export, whose folder is removed after each time."""
    from pe_training.views.export import SUMS, export_folder

    folder = home / "out"

    def work(state: State) -> object:
        served = resolve_place(LINE, "staging", state=state)
        return asdict(export_folder(served, folder, form="as_trained", state=state))

    def look(_: State) -> str:
        if not folder.exists():
            return "nothing"
        sums = dict(reversed(line.split("  ")) for line in (folder / SUMS).read_text().splitlines())
        there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {SUMS}
        from pe_training.core.ids import digest_file

        return "whole" if {name: digest_file(folder / name).removeprefix("sha256:") for name in there} == sums else "half"

    return kill_everywhere(home, work, look=look, restore=lambda _: shutil.rmtree(folder, ignore_errors=True), stride=13)


if __name__ == "__main__":
    kind, where, *rest = sys.argv[1:]
    if kind == "export":
        import transformers  # noqa: F401 - with these, what takes the time

        from pe_training.evaluation import models  # noqa: F401
        from pe_training.views import export as room  # noqa: F401
    sys.stdout.write(json.dumps({"rollback": roll_back, "watch": watch, "export": export}[kind](Path(where), *(rest or [""]))))
