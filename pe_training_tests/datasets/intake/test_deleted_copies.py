"""What docs/ops/training.md says of the folders `converted/` and `fetched/`: what may be deleted, and what that changes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.accept import Acceptance, accept
from pe_training.datasets.inbox import hand_over, waiting_release
from pe_training.datasets.intake.bring import bring
from pe_training.datasets.intake.bucket import release_of_partition
from pe_training.datasets.read import verify_dataset
from pe_training.storage.state import State
from pe_training_tests.datasets.intake.shapes import write_lines
from pe_training_tests.datasets.intake.test_convert import GOOD, chats
from pe_training_tests.datasets.samples import SUITES, fresh_state

SAID = {"format": "chat", "name": "notes", "version": "v1", "split": {"val": 0.3, "test": 0.3}}


def added(state: State, path: Path, **declared: Any) -> Acceptance:
    """As `pe dataset add` does."""
    folder = bring(str(path), into=state.settings.root, flags={**SAID, **declared})
    return accept(hand_over(folder, state.settings).path, suites=SUITES, state=state)


def test_a_version_does_not_need_the_copy_that_it_was_accepted_from(tmp_path: Path) -> None:
    state, path = fresh_state(tmp_path / "home"), write_lines(tmp_path / "notes.jsonl", chats(40))
    first = added(state, path, **GOOD)
    shutil.rmtree(state.settings.root / "converted")
    assert verify_dataset(first.sealed(), state=state) == 40
    assert waiting_release(state, name="notes", version="latest") is None
    with pytest.raises(PeError) as caught:  # of all that one can do only this is missing, until it is handed over again
        release_of_partition(state.settings, "notes@v1")
    assert caught.value.kind is Kind.NOT_FOUND
    assert added(state, path, **GOOD) == first
    assert release_of_partition(state.settings, "notes@v1").is_dir()


def test_a_refused_release_waits_no_longer_once_its_copy_is_deleted_until_it_is_handed_over_again(tmp_path: Path) -> None:
    state, path = fresh_state(tmp_path / "home"), write_lines(tmp_path / "notes.jsonl", chats(40))
    assert not added(state, path).report.accepted
    assert waiting_release(state, name="notes", version="latest") is not None
    shutil.rmtree(state.settings.root / "converted")
    assert waiting_release(state, name="notes", version="latest") is None
    assert not added(state, path).report.accepted
    assert waiting_release(state, name="notes", version="latest") is not None
