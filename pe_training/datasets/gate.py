"""The gate before every use of a dataset: only an accepted version that nobody recalled, whichever door somebody came by.

An acceptance that needed a waiver is one for as long as the waiver holds.

Each room asks again when its own work begins, because a plan, a queued job or a process that is started by hand may be older than
a recall. Who was refused, where and why is kept: an attempt on recalled data is itself a fact that somebody will ask for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from pe_training.core.clock import now, stamp
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import kind_of, short
from pe_training.datasets.accept import stored_report
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.report import Check, ValidationReport
from pe_training.storage.registry import PAGE_ROWS
from pe_training.storage.state import State
from pe_training.storage.tables import refused_attempts, releases
from pe_training.storage.taints import Recall, taints_in


class GateError(PeError):
    """A refusal of this gate, told apart from other refusals so that the attempt is remembered."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """Something that was refused. ``route``: the door; ``subject``: what was to be made or moved."""

    seq: int
    route: str
    subject: str
    dataset_id: str | None
    message: str
    actor: str
    at: str


def require_trainable(dataset: DatasetVersion, *, state: State, route: str, subject: str) -> None:
    """Refuse a version that is recalled, or has no acceptance that still stands; the attempt is remembered. Raises refused, corrupt."""
    with remembering(state, route=route, subject=subject, dataset_id=dataset.id), state.registry.reading() as connection:
        require_untainted_in(connection, dataset.id)
        found = connection.execute(acceptances_query(dataset.id)).all()
        _require_standing(dataset, (_report(row, dataset, state=state) for row in found))


def require_untainted(*identifiers: str, state: State, route: str) -> None:
    """Refuse records that a recall has tainted; the attempt, about the first of them, is remembered. Raises refused."""
    with remembering(state, route=route, subject=identifiers[0]), state.registry.reading() as connection:
        require_untainted_in(connection, *identifiers)


def require_untainted_in(connection: sa.Connection, *identifiers: str) -> None:
    """As :func:`require_untainted`, inside a transaction, for a caller who is :func:`remembering`."""
    for identifier in identifiers:
        found = taints_in(connection, identifier)
        if found:
            raise _recalled(identifier, found)


@contextmanager
def remembering(state: State, *, route: str, subject: str, dataset_id: str | None = None) -> Iterator[None]:
    """Keep an attempt that this gate refuses. Put it around a transaction, never inside: the transaction takes nothing along."""
    try:
        yield
    except GateError as error:
        remember(error, state=state, route=route, subject=subject, dataset_id=dataset_id)
        raise


def remember(error: PeError, *, state: State, route: str, subject: str, dataset_id: str | None = None) -> None:
    """Keep one attempt that was refused."""
    with state.registry.writing() as connection:
        connection.execute(
            sa.insert(refused_attempts).values(
                route=route, subject=subject, dataset_id=dataset_id, message=error.message, actor=state.settings.who, at=stamp(now())
            )
        )


def attempts(state: State, *, before: int | None = None, limit: int = PAGE_ROWS) -> tuple[Attempt, ...]:
    """What was refused, newest first, one page; ``before`` is the ``seq`` of the last row of the page above."""
    query = sa.select(refused_attempts).order_by(refused_attempts.c.seq.desc()).limit(limit)
    query = query.where(refused_attempts.c.seq < before) if before is not None else query
    with state.registry.reading() as connection:
        return tuple(Attempt(**row._mapping) for row in connection.execute(query))


def acceptances_query(dataset_id: str) -> sa.Select[tuple[str, str]]:
    """``(digest, report_digest)`` of the releases that were accepted as a version, newest first."""
    r = releases.c
    return sa.select(r.digest, r.report_digest).where(r.dataset_id == dataset_id, r.outcome == "accepted").order_by(r.seq.desc())


def _report(row: sa.Row[tuple[str, str]], dataset: DatasetVersion, *, state: State) -> ValidationReport:
    """The report of an acceptance, which must be one: a row of a database is soon edited, a report is named by its digest."""
    report = stored_report(row.report_digest, state=state)
    if not report.accepted or (report.release_digest, report.name, report.rows) != (row.digest, dataset.name, dataset.rows):
        message = f"{short(dataset.id)} of {dataset.name} is registered as accepted, and the report of that does not say so"
        raise GateError(Kind.REFUSED, message, where=dataset.id, hint="restore the registry from a backup, or accept the release anew")
    return report


def _require_standing(dataset: DatasetVersion, acceptances: Iterator[ValidationReport]) -> None:
    """One acceptance that rests on no lapsed waiver is enough."""
    newest: tuple[Check, ...] = ()
    for report in acceptances:
        lapsed = report.lapsed(now().date())
        if not lapsed:
            return
        newest = newest or lapsed
    if not newest:
        message = f"{short(dataset.id)} of {dataset.name} has no accepted release, so nothing may be trained on it"
        raise GateError(Kind.REFUSED, message, where=dataset.id, hint="`pe dataset add PATH` validates and accepts its release")
    what = "; ".join(
        f"{check.tally}, {check.note if check.excuse else 'by a waiver of which its report says too little'}" for check in newest
    )
    message = f"{short(dataset.id)} of {dataset.name} was accepted only by waivers that have lapsed: {what}"
    hint = "renew the waiver in the release policy (or mend the release), then `pe dataset add PATH` judges it anew"
    raise GateError(Kind.REFUSED, message, where=dataset.id, hint=hint)


def _recalled(identifier: str, found: tuple[Recall, ...]) -> GateError:
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    what = "is recalled" if kind_of(identifier) == DatasetVersion.kind else "comes from recalled data"
    hint = f"use data without it; if the recall was wrong: `pe recall --lift {found[0].seq} --reason WHY`"
    return GateError(Kind.REFUSED, f"{short(identifier)} {what}: {found[0]}{more}", where=identifier, hint=hint)
