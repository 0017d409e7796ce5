"""Storage as the environment says, for verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pe_training.storage.state import State


def open_state() -> State:
    """Settings, artifacts and registry of this shell."""
    from pe_training.settings import Settings
    from pe_training.storage.state import State

    return State(Settings())
