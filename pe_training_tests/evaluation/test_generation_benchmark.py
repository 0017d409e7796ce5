"""The benchmark of generation still runs, with a model that takes no time: what it says of speed is for a quiet machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from pe_training_tests.benchmarks.generation import TINY, generation_table


def test_both_say_the_same_and_the_table_shows_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PE_HOME", str(tmp_path))
    table = generation_table(base=TINY, prompts=6, new_tokens=4, repeats=2)
    assert table.row_count == 2
    assert [column.header for column in table.columns][3:5] == ["replies/s", "tokens/s"]
