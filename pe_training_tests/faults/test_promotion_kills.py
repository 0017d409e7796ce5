"""A rollback, the watch and an export, killed at every boundary that matters: the old state or the new one, never half of either."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pe_training.promotion.stages import apply_decision
from pe_training_tests.promotion import factory
from pe_training_tests.promotion.living import living_chain
from pe_training_tests.promotion.standing import produced
from pe_training_tests.promotion.test_watch import recalled_alone

pytestmark = pytest.mark.slow


def killed(kind: str, home: Path, *words: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "pe_training_tests.faults.boundaries", kind, str(home), *words]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PE_")}
    done = subprocess.run(command, env=kept, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert [one["code"] for one in found] == [-9] * (len(found) - 1) + [0]
    return found


def test_a_rollback_ends_before_or_after_and_never_between(tmp_path: Path) -> None:
    state = factory.new_state(tmp_path)
    first, second = produced(state, 1).checkpoint.id, produced(state, 2).checkpoint.id
    state.registry.close()
    found = [one["found"] for one in killed("rollback", tmp_path, second)]
    assert len(found) >= 10
    assert all(one["agree"] and one["file"] and one["served"] == one["holds"] for one in found)
    holders = [one["holds"] for one in found]
    turn = holders.index(first)
    assert holders == [second] * turn + [first] * (len(holders) - turn)
    assert 0 < turn < len(holders) - 2  # it was killed on both sides of the commit


def test_the_watch_moves_tells_and_owes_at_once_or_not_at_all(tmp_path: Path) -> None:
    state = factory.new_state(tmp_path)
    first, second = produced(state, 1), produced(state, 2)
    recalled_alone(state, second)
    state.registry.close()
    found = [one["found"] for one in killed("watch", tmp_path, second.checkpoint.id)]
    before = {"holds": second.checkpoint.id, "served": None, "watched": 0, "owed": 0}
    after = {"holds": first.checkpoint.id, "served": first.checkpoint.id, "watched": 1, "owed": 1}
    for one in found:
        assert one.pop("agree")
        assert one.pop("file")
        assert one in (before, after)
    assert found[0] == before
    assert found[-1] == after


def test_an_export_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    state = factory.new_state(tmp_path)
    apply_decision(factory.judged(state, living_chain(state)), state=state)
    state.registry.close()
    found = [one["found"] for one in killed("export", tmp_path)]
    assert len(found) >= 6
    assert set(found[:-1]) <= {"nothing", "whole"}
    assert (found[0], found[-1]) == ("nothing", "whole")
