"""Rows as columns: what went in comes out, equal contents are found, and the order of sealing is that of the digests."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_bytes
from pe_training.datasets.block import Block, read_block
from pe_training.datasets.parse import parse_row
from pe_training.datasets.row_table import RowTable
from pe_training.datasets.spool import BUFFER_BYTES, Spool
from pe_training.datasets.texts.near_duplicates import PERMUTATIONS, signatures
from pe_training.datasets.texts.scan import TextScan
from pe_training_tests.datasets.samples import SUITES, sample_rows, shipped_policy, talk

SCAN = TextScan.of(shipped_policy(), SUITES)


def block(rows: Sequence[Any], *, file: int = 0) -> Block:
    return read_block([(line, json.dumps(row).encode()) for line, row in enumerate(rows, start=1)], file=file, scan=SCAN)


def table() -> RowTable:
    rows = RowTable(["a.jsonl", "b.jsonl"])
    for file, part in enumerate((sample_rows()[:9], sample_rows()[9:])):
        rows.extend(block(part, file=file))
    return rows.finish()


def test_every_row_comes_back_as_it_was_added() -> None:
    rows, added = table(), [parse_row(json.dumps(row).encode()) for row in sample_rows()]
    assert len(rows) == len(added) == 26
    for number, row in enumerate(rows):
        assert row.where == (f"a.jsonl:{number + 1}" if number < 9 else f"b.jsonl:{number - 8}")
        assert row.digest == digest_bytes(added[number].canonical) == digest_bytes(rows.canonical(number))
        assert (row.split, row.profile.shape, row.profile.turns) == (added[number].profile.split, "SUA", 2)
        assert rows.spoken(number) == dict(talk(number)[1:])
    assert rows[-1] == rows[25]
    assert np.array_equal(rows.signatures(), signatures(["\n".join(rows.spoken(number).values()) for number in range(26)]))


def test_rows_that_agree_in_every_fact_share_a_profile() -> None:
    rows = table()
    assert len(rows.profiles) == 4  # train in two files, val and test in one
    assert sum(count for _, count in rows.counted()) == 26
    assert rows.mask(lambda profile: profile.split == "val").sum() == 2


def test_equal_contents_have_equal_groups_whatever_their_order() -> None:
    first = sample_rows()[0]
    turned = {**first, "messages": [first["messages"][0], *reversed(first["messages"][1:])]}
    rows = RowTable(["a"])
    rows.extend(block([first, sample_rows()[1], turned]))
    groups = rows.finish().content_groups
    assert groups[0] == groups[2] != groups[1]


def test_the_order_of_sealing_is_that_of_the_digests() -> None:
    rows = table()
    order = [rows.digest(int(index)) for index in rows.canonical_order("train")]
    assert order == sorted(order)
    assert len(order) == 22


def test_an_empty_table_answers_too() -> None:
    rows = RowTable([]).finish()
    assert (len(rows), len(rows.profile_of), len(rows.content_groups), len(rows.canonical_order("train"))) == (0, 0, 0, 0)
    assert rows.signatures().shape == (0, PERMUTATIONS)


def test_a_sample_is_of_the_smallest_digests_and_follows_no_order() -> None:
    rows = table()
    splits, of = rows.grouped(lambda profile: profile.split)
    assert splits == ["test", "train", "val"]
    for split, sample in zip(splits, rows.smallest(of, limit=5), strict=True):
        chosen = [rows.digest(int(index)) for index in sample]
        assert chosen == sorted(rows.digest(number) for number in range(26) if rows[number].split == split)[:5]


def test_a_spool_keeps_more_than_its_buffer_and_leaves_no_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(3):
        spool.write(bytes([number]) * BUFFER_BYTES)
    spool.flush()
    assert spool.read(BUFFER_BYTES - 1, 2) == b"\x00\x01"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    spool.write(b"x")
    with pytest.raises(PeError, match="cannot write the working copy of the rows: No space left on device") as caught:
        spool.flush()
    assert (caught.value.kind, caught.value.where) == (Kind.INFRASTRUCTURE, str(tmp_path))
