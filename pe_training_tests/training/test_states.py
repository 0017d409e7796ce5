"""Resumable state: no pickle, no torn files, no silent damage."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pe_training.core.errors import PeError
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.training.packing import pack, unpack
from pe_training.training.states import StateStore

RUN = "run_" + "0" * 32


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(Settings(home=tmp_path))


def test_what_was_packed_comes_back_with_its_types() -> None:
    tree = {
        "state_dict": {"a.b": torch.arange(6).reshape(2, 3).float(), "half": torch.ones(2, dtype=torch.bfloat16)},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"betas": (0.9, 0.999), "params": [0]}]}],
        "none": None, "flag": True, "n": 3, "x": 0.1, "text": "é",
    }  # fmt: skip
    back = unpack(pack(tree))
    assert back["optimizer_states"][0]["param_groups"] == [{"betas": (0.9, 0.999), "params": [0]}]
    assert torch.equal(back["optimizer_states"][0]["state"][0]["step"], torch.tensor(3.0))
    assert torch.equal(back["state_dict"]["a.b"], tree["state_dict"]["a.b"])
    assert back["state_dict"]["half"].dtype is torch.bfloat16
    assert {key: back[key] for key in ("none", "flag", "n", "x", "text")} == {"none": None, "flag": True, "n": 3, "x": 0.1, "text": "é"}


def test_anything_that_only_a_pickle_could_hold_is_refused() -> None:
    with pytest.raises(PeError, match="cannot be saved safely"):
        pack({"callback": object()})


def test_only_the_newest_states_are_kept_and_their_bytes_with_them(state: State) -> None:
    store = StateStore(RUN, keep_last=2, state=state)
    for step in (10, 20, 30):
        store.save_checkpoint({"step": step}, str(step))
    store.settle()
    assert [step for step, _ in store.saved()] == [30, 20]
    assert len(list((state.settings.root / "artifacts").rglob("*/*/*"))) == 2
    assert store.load_checkpoint("20") == {"step": 20}


def test_what_a_stop_or_a_clock_saved_is_no_place_to_go_back_to_and_never_drives_that_place_out(state: State) -> None:
    store = StateStore(RUN, keep_last=1, every_steps=10, state=state)
    for step in (0, 10, 13, 17):
        store.save_checkpoint({"step": step}, str(step))
    assert store.newest_intact() == 17
    assert [step for step, _ in store.saved()] == [17, 10]
    assert store.rewind() == 10
    assert [step for step, _ in store.saved()] == [10]


def damage(state: State, digest: str) -> None:
    """Flip a bit of a stored state."""
    path = state.artifacts.local_path(digest)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def test_a_damaged_state_does_not_drive_out_what_is_saved_on_the_way_back_to_it(state: State) -> None:
    store = StateStore(RUN, keep_last=1, every_steps=10, state=state)
    for step in (0, 10, 20):
        store.save_checkpoint({"step": step, "w": torch.ones(4)}, str(step))
    store.settle()
    damage(state, dict(store.saved())[20])
    assert store.newest_intact() is None
    assert store.drop_damaged() == [20]
    store.save_checkpoint({"step": 0, "w": torch.ones(4)}, "0")
    store.settle()
    assert (store.newest_intact(), store.drop_damaged()) == (0, [])


def test_a_damaged_newest_state_is_passed_over_for_the_one_before(state: State) -> None:
    store = StateStore(RUN, keep_last=3, state=state)
    for step in (10, 20):
        store.save_checkpoint({"step": step, "w": torch.ones(4)}, str(step))
    store.settle()
    damage(state, dict(store.saved())[20])
    assert store.newest_intact() == 10
    with pytest.raises(PeError, match="does not match its digest"):
        store.load_checkpoint("20")
