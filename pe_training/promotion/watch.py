"""The watch over what people are served: is it still what was proved, and does nothing speak against it since?

Every place that is served from (production and the roles) is examined; what is found leads to one transaction that holds the move, if the
policy lets the watch move (``on_watch: rollback``), the event and the alert that is owed. Back to the newest model of the stage's history
that passes today; where there is none, and for roles, out of service: a crisis model that nobody can vouch for is not served, and who
takes its place is for people to say. A store or a database that does not answer is no finding: then nothing is known and nothing moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.promotion.canary import require_canary
from pe_training.promotion.candidates import policy_for
from pe_training.promotion.earned import unearned
from pe_training.promotion.events import newest_in, note_in, owe_in
from pe_training.promotion.moving import moving, proved_decision
from pe_training.promotion.pointers import ROLES, Move, Place, Pointer, arrivals_in, pointer_in, set_in
from pe_training.promotion.policy import load_policy
from pe_training.promotion.rollback import plan_rollback
from pe_training.promotion.serving import announced, publish_place
from pe_training.promotion.targets import newest_decision, problem_of
from pe_training.promotion.withdrawal import plan_withdrawal
from pe_training.storage.state import State
from pe_training.storage.tables import stages
from pe_training.storage.taints import taints_in

WATCHED: tuple[Place, ...] = ("production", *ROLES)
ACTOR = "watch"
_BACK = 20  # moves of a stage that are looked through for a way back
_DOUBTS = {Kind.CORRUPT, Kind.REFUSED, Kind.NOT_FOUND, Kind.INPUT, Kind.DATA}  # what says something about the model, not about the world


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Why a model may not be served. ``message``: one sentence that repeats nobody's words."""

    kind: Literal["recalled", "unearned", "unproved", "failed_again"]
    message: str


class Action(StrEnum):
    """What the watch did about its findings."""

    NONE = "none"
    ALERT = "alert"
    ROLLBACK = "rollback"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What the watch found at one place, and what it did. ``to_id``: what holds the place now."""

    line: str
    place: Place
    checkpoint_id: str
    findings: tuple[Finding, ...]
    action: Action
    to_id: str | None


Examiner = Callable[[Pointer, State], Finding | None]


def recalled(pointer: Pointer, state: State) -> Finding | None:
    """Data that it was made from was taken back."""
    with state.registry.reading() as connection:
        found = taints_in(connection, *filter(None, (pointer.checkpoint_id, pointer.decision_id)))
    numbers = ", ".join(str(recall.seq) for recall in found)
    message = f"{short(pointer.checkpoint_id)} comes from recalled data (recall {numbers})"
    return Finding(kind="recalled", message=message) if found else None


def never_earned(pointer: Pointer, state: State) -> Finding | None:
    """Somebody else moved the pointer, or no pass stands behind it."""
    problem = unearned(pointer, state=state)
    return Finding(kind="unearned", message=problem) if problem else None


def failed_again(pointer: Pointer, state: State) -> Finding | None:
    """It was judged again for production, and failed."""
    later = newest_decision(pointer.checkpoint_id, "production", state=state)
    if later is None or later.verdict != "fail" or later.id == pointer.decision_id:
        return None
    return Finding(
        kind="failed_again", message=f"{short(pointer.checkpoint_id)} was judged again for production and failed ({short(later.id)})"
    )


def unproved(pointer: Pointer, state: State) -> Finding | None:
    """Bytes, signature or verdict are not what they were: proving it reads all of them and raises."""
    if pointer.decision_id is not None:  # else never_earned says so
        proved_decision(pointer.decision_id, state)
    return None


QUICK: tuple[Examiner, ...] = (recalled, never_earned, failed_again)  # the registry alone: for every tick of a sensor
THOROUGH: tuple[Examiner, ...] = (*QUICK, unproved)


def watched_lines(state: State, *, after: str = "", limit: int) -> list[str]:
    """Names of lines that something is served of, in order, one page. A step along the key for each."""
    s, found = stages.c, list[str]()
    with state.registry.reading() as connection:
        while len(found) < limit:
            query = sa.select(sa.func.min(s.line)).where(s.line > (found[-1] if found else after), s.stage.in_(WATCHED))
            following = connection.execute(query).scalar()
            if following is None:
                break
            found.append(str(following))
    return found


def quick_findings(line: str, *, state: State) -> tuple[tuple[Pointer, Finding], ...]:
    """What the registry alone says against what is served of a line."""
    return tuple((pointer, finding) for pointer in _served(line, state) for finding in _examine(pointer, QUICK, state))


def watch_line(line: str, *, state: State) -> tuple[Watched, ...]:
    """Examine all that is served of a line, do what the policy allows, and owe an alert for each finding that is new."""
    return tuple(_watch(pointer, state) for pointer in _served(line, state))


def _watch(pointer: Pointer, state: State) -> Watched:
    place: Place = next(place for place in WATCHED if place == pointer.stage)
    findings = tuple(_examine(pointer, THOROUGH, state))
    move: Move | None = None
    action = Action.NONE
    to_id: str | None = pointer.checkpoint_id
    if not findings:
        publish_place(pointer.line, place, state=state)
    else:
        move = _way_out(pointer, place, findings, state=state) if _may_move(state) else None
        action = Action(move.action) if move is not None else Action.ALERT
        _act(pointer, place, findings, move, action, state=state)
    if move is not None:
        to_id = move.to_id if move.action == "rollback" else None
    return Watched(line=pointer.line, place=place, checkpoint_id=pointer.checkpoint_id, findings=findings, action=action, to_id=to_id)


def _act(pointer: Pointer, place: Place, findings: tuple[Finding, ...], move: Move | None, action: Action, *, state: State) -> None:
    """The move, the event and the alert, in one transaction; without a move only once for the same findings."""
    told = {
        "line": pointer.line, "place": place, "checkpoint": pointer.checkpoint_id, "action": action.value,
        "to": move.to_id if move is not None and move.action == "rollback" else None,
        "findings": sorted(finding.kind for finding in findings),
    }  # fmt: skip
    back = move is not None and move.action == "rollback"
    with moving(state, "rollback", move.to_id) if back and move else state.registry.writing() as connection:
        moved = set_in(connection, move) if move is not None else None
        last = newest_in(connection, pointer.line, place, kind="watch")
        if moved is not None or last is None or (last.version, last.body) != (pointer.version, told):
            note_in(connection, pointer.line, place, version=pointer.version, kind="watch", body=told, actor=ACTOR)
            owe_in(connection, "production_watch", severity="critical", body=told)
    if moved is not None:
        announced(moved, state=state)


def _way_out(pointer: Pointer, place: Place, findings: tuple[Finding, ...], *, state: State) -> Move:
    """Back to the newest of the stage's history that passes today and answers; else out of service."""
    reason = "; ".join(finding.message for finding in findings)
    if place == "production":
        with state.registry.reading() as connection:
            before = [found for found in arrivals_in(connection, pointer.line, place, limit=_BACK) if found != pointer.checkpoint_id]
        for identifier in before:
            try:
                move = plan_rollback(
                    pointer.line, stage=place, to=identifier, actor=ACTOR, reason=reason, expected_version=pointer.version, state=state
                )
                require_canary(move, state=state)
            except PeError as error:
                if error.kind not in _DOUBTS:
                    raise
                reason += f"; not back to {short(identifier)} ({error.kind.value})"
            else:
                return move
    return plan_withdrawal(pointer.line, place=place, actor=ACTOR, reason=reason, expected_version=pointer.version, state=state)


def _may_move(state: State) -> bool:
    """Whether the policy that guards production today lets the watch act. One that cannot be read allows nothing."""
    try:
        name = policy_for("production", settings=state.settings)
        return load_policy(state.settings.policy_folder / f"{name}.yaml").on_watch == "rollback"
    except PeError as error:
        if error.kind not in _DOUBTS:
            raise
        return False


def _served(line: str, state: State) -> list[Pointer]:
    with state.registry.reading() as connection:
        found = [pointer_in(connection, line, place) for place in WATCHED]
    return [pointer for pointer in found if pointer is not None and pointer.holds]


def _examine(pointer: Pointer, examiners: tuple[Examiner, ...], state: State) -> Iterator[Finding]:
    """What speaks against it. What cannot be read of the model itself speaks against it too; a world that is silent says nothing."""
    for examine in examiners:
        try:
            finding = examine(pointer, state)
        except PeError as error:
            if error.kind not in _DOUBTS:
                raise
            finding = Finding(kind="unproved", message=problem_of(error))
        if finding is not None:
            yield finding
