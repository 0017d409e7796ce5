"""What people's word no longer covers, or soon will not: of stages that are held, and of decisions that wait for somebody.

A stage stays where it is when an approval or a waiver behind it lapses, since taking a model away can hurt people too; but it is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pe_training.core.clock import now
from pe_training.core.errors import PeError
from pe_training.promotion.pointers import current, was_applied_in
from pe_training.promotion.policy import known_stage
from pe_training.promotion.record import PromotionDecision
from pe_training.promotion.standing import Standing, Word, hearing, standing_of, waiting_words, waiver_words
from pe_training.storage.registry import PAGE_ROWS, Row
from pe_training.storage.state import State

SOON_DAYS = 14


@dataclass(frozen=True, kw_only=True)
class Lapse:
    """Something that a stage was entered by and that holds no more (``over``), or ends on ``until``."""

    line: str
    stage: str
    checkpoint_id: str
    decision_id: str
    what: str
    until: str | None
    over: bool

    def __str__(self) -> str:
        return f"{self.stage} of {self.line}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A decision that would open its stage if only people approved. ``standing``: ``None`` where that cannot be known."""

    decision_id: str
    line: str
    stage: str
    words: str
    standing: Standing | None


def lapses(state: State, *, line: str | None = None, day: date | None = None, within_days: int = SOON_DAYS) -> tuple[Lapse, ...]:
    """What has lapsed on ``day`` (today) or will within some days, of every stage that a decision opened. One page of stages."""
    today = day or now().date()
    found: list[Lapse] = []
    for pointer in current(state, line=line):
        if pointer.decision_id is None or pointer.stage == "training":
            continue
        try:
            asked = hearing(state.registry.get(pointer.decision_id, PromotionDecision), state=state)
            with state.registry.reading() as connection:
                told = _of(asked.standing_in(connection, day=today), until=today + timedelta(days=within_days))
        except PeError as error:  # damage is told as well, and hides no other stage
            told = [(f"what it was entered by cannot be read: {error.message}", None, True)]
        found += [
            Lapse(
                line=pointer.line, stage=pointer.stage, checkpoint_id=pointer.checkpoint_id, decision_id=pointer.decision_id,
                what=what, until=last.isoformat() if last else None, over=over,
            )
            for what, last, over in told
        ]  # fmt: skip
    return tuple(found)


def waiting(rows: Sequence[Row], *, state: State) -> tuple[Waiting, ...]:
    """Those of the decisions in a list that wait for people and have not moved their stage yet; the newest of each line and stage."""
    found: list[Waiting] = []
    met: set[tuple[str, str]] = set()
    for row in rows:
        try:
            asked = hearing(state.registry.get(row.id, PromotionDecision), state=state)
            d = asked.decision
            if (d.line, d.stage) in met or not asked.policy.approvals:
                continue
            with state.registry.reading() as connection:
                standing = asked.standing_in(connection)
                moved = was_applied_in(connection, d.line, known_stage(d.stage), d.id)
        except PeError as error:
            found.append(Waiting(decision_id=row.id, line=row.label, stage="?", words=f"cannot be known: {error.message}", standing=None))
            continue
        met |= {(d.line, d.stage)} if standing.passes else set()
        if standing.passes and standing.waits_for and not moved:
            found.append(Waiting(decision_id=d.id, line=d.line, stage=d.stage, words=waiting_words(standing), standing=standing))
    return tuple(found)


def waiting_now(state: State, *, line: str | None = None, limit: int = PAGE_ROWS) -> tuple[Waiting, ...]:
    """As :func:`waiting`, of the newest decisions (of a line), newest first."""
    return waiting(state.registry.rows(PromotionDecision.kind, label=line, limit=limit), state=state)


def newly_open(spoken: Sequence[tuple[int, str]], *, state: State) -> dict[str, int]:
    """Manifest -> statement: decisions among ``(statement, decision)`` that open their stage now and have not moved it yet."""
    found: dict[str, int] = {}
    for seq, decision_id in spoken:
        decision = state.registry.find(decision_id, PromotionDecision)
        if decision is None:
            continue  # `pe verify` names it; it must not keep others waiting
        standing, _ = standing_or_fault(decision, state=state)
        with state.registry.reading() as connection:
            moved = was_applied_in(connection, decision.line, known_stage(decision.stage), decision_id)
        if standing.words and standing.opens and not moved:
            found[decision.manifest_id] = seq
    return found


def standing_or_fault(decision: PromotionDecision, *, state: State) -> tuple[Standing, str | None]:
    """The standing to be shown, and what keeps it from being known: damage is shown as well, and never as an approval."""
    try:
        return standing_of(decision, state=state), None
    except PeError as error:
        return Standing(decision=decision), str(error)


def spoken_words(decision: PromotionDecision, *, state: State) -> list[str]:
    """What stands beside a verdict, as sentences: who approved, what is waived, whom it waits for, or that this cannot be known."""
    standing, problem = standing_or_fault(decision, state=state)
    given = [need.given for need in standing.needs if need.given]
    said = [f"approved by {word.said.statement.person} ({word.said.statement.role}), until {word.until}" for word in given]
    return [*said, *waiver_words(standing), *filter(None, (waiting_words(standing), problem))]


def _of(standing: Standing, *, until: date) -> list[tuple[str, date | None, bool]]:
    """``(what, last day, whether it is over)``."""
    told: list[tuple[str, date | None, bool]] = []
    for need in standing.needs:
        if need.given is None:
            last = _newest(standing, role=need.role)
            why = f": {last.lapse}" if last and last.lapse else ""
            told.append((f"the approval of {need.role} does not hold{why}", last.until if last else None, True))
        elif need.given.until is not None and need.given.until <= until:
            told.append((f"the approval of {need.role} ends after {need.given.until}", need.given.until, False))
    for rule, word in sorted(standing.waived.items()):
        if word.until is not None and word.until <= until:
            told.append((f"the waiver of {rule} ends after {word.until}", word.until, False))
    if not standing.passes:
        ended = [word for word in standing.words if word.said.statement.act == "waive" and word.lapse]
        told += [(f"the waiver of {word.said.statement.rule} does not hold: {word.lapse}", word.until, True) for word in ended]
    return told


def _newest(standing: Standing, *, role: str) -> Word | None:
    said = [word for word in standing.words if word.said.statement.act == "approve" and word.said.statement.role == role]
    return said[-1] if said else None
