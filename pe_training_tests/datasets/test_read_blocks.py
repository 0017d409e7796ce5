"""A release read by several processes is the release read by one; a process that is killed is an error with a name."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pe_training.core.errors import Kind, PeError
from pe_training.core.progress import listening
from pe_training.datasets import read_blocks as reading
from pe_training.datasets.block import Block, read_block
from pe_training.datasets.texts.contamination import SuiteIndex
from pe_training.datasets.texts.near_duplicates import signature
from pe_training.datasets.texts.scan import TextScan
from pe_training.datasets.texts.shingles import spoken
from pe_training_tests.datasets.samples import PROMPT, SUITES, sample_release, sample_rows, shipped_policy

SCAN = TextScan.of(shipped_policy(), SUITES)


def blocks(folder: Path) -> list[tuple[int, Block]]:
    return list(reading.read_blocks(sorted(folder.glob("*/*.jsonl")), scan=SCAN))


def test_several_processes_read_what_one_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sample_release(tmp_path, rows_per_shard=5)
    (folder / "val" / "part-00000.jsonl").write_text("{}\n")
    monkeypatch.setattr(reading, "BLOCK_ROWS", 3)
    here = blocks(folder)
    monkeypatch.setattr(reading, "SMALL_BYTES", 0)
    monkeypatch.setattr(reading, "_here", None)  # it is not this process that reads
    told: list[tuple[str, int, int]] = []
    with listening(lambda *said: told.append(said)):
        assert blocks(folder) == here
    assert len(here) > 8
    assert told[-1][0] == "reading rows"
    assert told[-1][1] == told[-1][2] == sum(path.stat().st_size for path in folder.glob("*/*.jsonl"))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


class Fatal(TextScan):
    """Ends the process that scans, as the kernel does when memory runs out."""

    def facts(self, dialogues: object) -> object:  # type: ignore[override]
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_reader_that_is_killed_is_named_and_leaves_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sample_release(tmp_path)
    monkeypatch.setattr(reading, "SMALL_BYTES", 0)
    with pytest.raises(PeError, match="was ended from outside") as caught:
        list(reading.read_blocks(sorted(folder.glob("*/*.jsonl")), scan=Fatal(**vars(SCAN))))
    assert caught.value.kind == Kind.INFRASTRUCTURE


SAID = st.sampled_from(["", "ok", "Will you remember me tomorrow?", PROMPT, "a b c"]) | st.text(max_size=60)
TURNS = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), SAID), min_size=1, max_size=5)


@given(st.lists(TURNS, min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_a_block_says_of_each_row_what_would_be_said_of_it_alone(dialogues: list[list[tuple[str, str]]]) -> None:
    facts = SCAN.facts(dialogues)
    index = SuiteIndex.build(SUITES.prompts, threshold=0.8)
    assert list(facts.suites) == [index.look_row(turns) for turns in dialogues]
    assert facts.signatures.tolist() == [signature(spoken(turns)).tolist() for turns in dialogues]


def test_a_block_without_rows_is_a_block() -> None:
    block = read_block([(7, b"{}")], file=0, scan=SCAN)
    assert ([c.line for c in block.complaints], len(block.lines), block.signatures) == ([7], 0, b"")
    assert len(read_block([(1, json.dumps(sample_rows()[0]).encode())], file=0, scan=SCAN).lines) == 1
