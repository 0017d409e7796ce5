"""What is known of how exactly a run can be done again: outcomes as events of the run, and the class that follows from them.

A class is measured, never assumed. ``bitwise``: done again to its end, everything was the same to the bit. ``tolerance``: done again to
its end, every loss was within :data:`TOLERANCE`. ``statistical``: anything else. Of several measurements the worst counts: a claim that was
once refuted stays refuted. A reproduction with other code or on another class of machine is told, and says nothing about the run's class.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Literal

import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_json, short
from pe_training.core.records import Frozen
from pe_training.manifests.plan import Change, difference
from pe_training.manifests.record import ResolvedManifest
from pe_training.storage.state import State
from pe_training.storage.taints import taints_in
from pe_training.training.compare import Comparison
from pe_training.training.environment import changes, environment, recorded
from pe_training.training.events import attempts, events, events_in, record_event
from pe_training.training.identity import LIBRARIES, hardware_class, source_digests, training_code
from pe_training.training.record import Checkpoint, TrainingRun

REPRODUCED = "reproduced"
NOT_MEASURED = "not measured"
TOLERANCE = 1e-3  # relative, of each step's loss: above what rounding does, below what another seed does (ADR 0015 has the numbers)
SAMPLED_FROM = 50
NAMED = 6  # differences in a refusal

Determinism = Literal["bitwise", "tolerance", "statistical"]
CLASSES: Sequence[Determinism] = ("bitwise", "tolerance", "statistical")  # best first


class Reproduction(Frozen):
    """The body of an event ``reproduced``: a run was done again, wholly or its first steps."""

    manifest_id: str
    ended: str  # finished, or why not
    diverged: bool = False  # which the run did not, so they differ somewhere behind the last state that both have
    comparison: Comparison
    tolerance: float
    determinism: Determinism | None = None  # None: says nothing about the run's class
    differs: tuple[Change, ...]  # today's code and hardware class, against the run's
    environment: tuple[Change, ...]  # today's, against the one the run was trained in

    @property
    def identical(self) -> bool:
        """Whether everything that was compared is the same to the bit, and the reproduction did not diverge where the run went on."""
        return self.comparison.identical and not self.diverged


def measured_class(comparison: Comparison, *, whole: bool, comparable: bool, diverged: bool = False) -> Determinism | None:
    """What one reproduction says. ``whole``: both runs were compared from the first step to their ends."""
    if not comparable:
        return None
    if diverged:
        return "statistical"
    if comparison.identical and not whole:
        return None
    if comparison.identical:
        return "bitwise"
    return "tolerance" if whole and comparison.largest_loss_difference <= TOLERANCE else "statistical"


def keep(state: State, run_id: str, outcome: Reproduction) -> None:
    """Append an outcome to the run's events."""
    record_event(state, run_id, REPRODUCED, outcome.content())


def reproductions(state: State, run_id: str) -> list[tuple[str, Reproduction]]:
    """``(time, outcome)`` of every reproduction of a run, in order."""
    return [(at, Reproduction.model_validate(body, strict=False)) for at, kind, body in events(state, run_id) if kind == REPRODUCED]


def determinism(state: State, run_id: str) -> Determinism | None:
    """The run's class; ``None``: not measured."""
    with state.registry.reading() as connection:
        return determinism_in(connection, run_id)


def determinism_in(connection: sa.Connection, run_id: str) -> Determinism | None:
    """As :func:`determinism`, inside a transaction."""
    found = [body["determinism"] for _, _, body in events_in(connection, run_id, kinds=[REPRODUCED]) if "determinism" in body]
    return max(found, key=CLASSES.index) if found else None


def happened(state: State, run_id: str) -> dict[str, Any]:
    """What is known of a run beside its record: class, the last attempt's environment, events in order (without environments)."""
    found = recorded(state, run_id)
    lines = [
        {"at": at, "kind": kind, "body": {key: value for key, value in body.items() if key != "environment" or kind == REPRODUCED}}
        for at, kind, body in events(state, run_id)
    ]
    return {"determinism": determinism(state, run_id) or NOT_MEASURED, "environment": found and found.content(), "events": lines}


def manifest_of(state: State, run_id: str) -> ResolvedManifest:
    """The manifest that asked for the run's last attempt. Raises refused where that was not noted."""
    noted = [attempt["manifest"] for attempt in attempts(state, run_id) if "manifest" in attempt]
    if not noted:
        message = f"{short(run_id)} was trained before its manifest and its environment were noted"
        raise PeError(Kind.REFUSED, message, where=run_id, hint="`pe run MANIFEST` trains it anew; that run can be reproduced")
    return state.registry.get(noted[-1], ResolvedManifest)


def differences(state: State, run: TrainingRun) -> tuple[Change, ...]:
    """How today's code and hardware class differ from the run's, down to libraries and source files where they were noted."""
    now: dict[str, Any] = {"code": training_code(), "hardware": hardware_class().content()}
    found = difference({"code": run.code, "hardware": run.hardware.content()}, now)
    before = recorded(state, run.id)
    if before is None or run.code == training_code():
        return tuple(found)
    decisive = {f"packages.{name}" for name in LIBRARIES} | {f"sources.{name}" for name in before.sources.keys() | source_digests()}
    relevant = [change for change in changes(before, environment(state.settings)) if change.key in decisive]
    return (*(change for change in found if change.key != "code"), *relevant) if relevant else tuple(found)


def require_same_class(state: State, run: TrainingRun) -> None:
    """Refuse to reproduce a run that today's code on this machine would not be. Raises refused, naming what differs."""
    if found := differences(state, run):
        what = ", ".join(f"{change.key} ({change.before} -> {change.after})" for change in found[:NAMED])
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        message = f"{short(run.id)} was trained with other code or on other hardware: {what}{more}"
        raise PeError(Kind.REFUSED, message, where=run.id, hint="--anyway does it all the same, and says nothing about the run's class")


def sample_run(day: date, *, state: State) -> TrainingRun | None:
    """One of the newest finished runs that can be reproduced here: a choice by digest of day and id, the same for whoever asks."""
    rows = state.registry.rows(TrainingRun.kind, limit=SAMPLED_FROM)
    with state.registry.reading() as connection:
        clean = [row.id for row in rows if not taints_in(connection, row.id)]
    for identifier in sorted(clean, key=lambda found: digest_json([day.isoformat(), found])):
        run = state.registry.get(identifier, TrainingRun)
        ours = run.code == training_code() and run.hardware == hardware_class()
        if ours and state.registry.answer(run.id, Checkpoint) and any("manifest" in attempt for attempt in attempts(state, run.id)):
            return run
    return None
