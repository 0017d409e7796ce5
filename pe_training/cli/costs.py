"""`pe costs`: what was spent."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from pe_training.cli.output import Answer, AsJson, Verbs, answers
from pe_training.cli.state import open_state


@answers
def costs(
    subject: Annotated[str | None, typer.Argument(metavar="[ID]", help="Only what this run or checkpoint cost.")] = None,
    as_json: AsJson = False,
) -> Answer:
    """List charges, newest first, and their sum."""
    from pe_training.costs.ledger import ledger
    from pe_training.views.lists import cost_table

    state = open_state()
    rows = ledger(state, subject=state.registry.resolve(subject) if subject else None)
    total = sum(row.cost_usd for row in rows)
    return Answer(data={"charges": [asdict(row) for row in rows], "total_usd": float(total)}, show=lambda: [cost_table(rows)])


VERBS: Verbs = {"costs": costs}
