"""The nightly proof: every record derived again, every file read again, the ledger walked, and the outcome anchored.

It says how much of what there is it has reached. The totals are counted by themselves, not by the walk that they measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from pe_training.lineage.anchors import anchors, check_anchors, put_anchor
from pe_training.lineage.check import Check, Verification
from pe_training.lineage.ledger import START, Walked, walk
from pe_training.lineage.verify import verify_all
from pe_training.storage import tables as t
from pe_training.storage.ledger import Head
from pe_training.storage.state import State

Reach = Literal["new", "whole"]  # of the ledger: what was written since the last anchor, or everything


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What one night found. ``anchor``: where the end of the chain is kept, ``None`` where something is damaged."""

    verification: Verification
    walked: Walked
    anchored: tuple[Check, ...]
    records: int
    files: int
    anchor: Path | None

    @property
    def findings(self) -> tuple[Check, ...]:
        """Everything that does not hold."""
        return (*self.verification.findings, *self.walked.findings, *(check for check in self.anchored if check.problem is not None))

    @property
    def completeness(self) -> float:
        """Share of the records that were derived and of the files that were read, whichever is less."""
        return min(_share(self.verification.records, self.records), _share(self.verification.objects, self.files))


def audit(state: State, *, ledger: Reach) -> Audit:
    """Prove everything, and anchor it where it holds. Raises input where the signing key cannot be used."""
    records, files = _totals(state)
    walked, anchored = check_ledger(state, reach=ledger)
    verification = verify_all(state)
    damaged = verification.findings or walked.findings or any(check.problem for check in anchored)
    anchor = None if damaged else put_anchor(state, walked.head, records=verification.records, files=verification.objects)
    return Audit(verification=verification, walked=walked, anchored=anchored, records=records, files=files, anchor=anchor)


def check_ledger(state: State, *, reach: Reach) -> tuple[Walked, tuple[Check, ...]]:
    """The ledger walked, and every anchor compared with it. An anchor that does not hold is no place to begin."""
    found = tuple(check_anchors(state))
    return walk(state, since=START if reach == "whole" else _believed(state, found)), found


def _believed(state: State, found: tuple[Check, ...]) -> Head:
    good = [kept.anchor.head for kept, check in zip(anchors(state), found, strict=True) if kept.anchor and not check.problem]
    return good[-1] if good and len(good) == len(found) else START


def _totals(state: State) -> tuple[int, int]:
    """How many records there are, and how many files they and the releases name."""
    named = sa.union(sa.select(t.attachments.c.digest), sa.select(t.releases.c.report_digest)).subquery()
    with state.registry.reading() as connection:
        records = connection.execute(sa.select(sa.func.count()).select_from(t.records)).scalar_one()
        return records, connection.execute(sa.select(sa.func.count()).select_from(named)).scalar_one()


def _share(reached: int, total: int) -> float:
    return 1.0 if reached >= total else reached / total
