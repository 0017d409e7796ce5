"""Who asked for a training: noted by `pe run` beside the run, so that a policy can keep people from approving their own model.

A name here is what its user says (PE_ACTOR, else the login), so this keeps honest people apart; what proves a person is in seals.py.
"""

from __future__ import annotations

from pe_training.storage.state import State
from pe_training.training.events import events_in, record_event

ASKED = "asked"


def note_author(run_id: str, *, manifest_id: str, state: State) -> None:
    """Keep that the user of this shell asks for a run."""
    record_event(state, run_id, ASKED, {"manifest": manifest_id, "actor": state.settings.who})


def authors_of(state: State, run_id: str) -> frozenset[str]:
    """Everybody who asked for a run; empty where that is not known."""
    with state.registry.reading() as connection:
        return frozenset(str(body["actor"]) for _, _, body in events_in(connection, run_id, kinds=(ASKED,)))
