"""A few thousand rows read together: parsed, scanned and put into columns, in this process or in another.

A block depends on nothing but its lines, so that a release of gigabytes is read by as many processes as there are cores, and the
result is the same as by one.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pe_training.datasets.parse import NotARowError, ParsedRow, Profile, parse_row
from pe_training.datasets.texts.scan import TextScan


class Complaint(NamedTuple):
    """A line that is no row."""

    line: int
    field: str
    message: str


@dataclass(kw_only=True)
class Block:
    """Columns of n rows."""

    complaints: list[Complaint] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)  # distinct
    profile_of: array[int] = field(default_factory=lambda: array("I"))  # (n,) index into profiles
    lines: array[int] = field(default_factory=lambda: array("I"))
    words: array[int] = field(default_factory=lambda: array("I"))
    scores: array[float] = field(default_factory=lambda: array("d"))  # NaN where a row has none
    redaction: bytes = b""  # (n,) float32
    digests: bytes = b""  # 32 a row
    contents: bytes = b""  # 32 a row
    signatures: bytes = b""  # (n, PERMUTATIONS) uint32
    sketches: bytes = b""  # (n, 1 + bands) uint64
    sizes: array[int] = field(default_factory=lambda: array("I"))  # of the canonical JSON
    canonical: bytes = b""
    labels: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # label, split, value
    personal: Counter[str] = field(default_factory=Counter)  # kind -> how often


def read_block(lines: Sequence[tuple[int, bytes]], *, file: int, scan: TextScan) -> Block:
    """The rows that stand on numbered ``lines`` of shard number ``file``, and complaints about those that are none."""
    block = Block()
    rows: list[ParsedRow] = []
    for number, line in lines:
        try:
            rows.append(parse_row(line))
            block.lines.append(number)
        except NotARowError as error:
            block.complaints.append(Complaint(number, error.field, error.message))
    texts = scan.facts([row.turns for row in rows])
    known: dict[Profile, int] = {}
    for row, personal, suite in zip(rows, texts.personal, texts.suites, strict=True):
        profile = Profile(*row.profile[:-3], file, personal, suite)
        block.profile_of.append(known.setdefault(profile, len(known)))
        block.words.append(row.words)
        block.scores.append(float("nan") if row.quality_score is None else row.quality_score)
        block.sizes.append(len(row.canonical))
        block.labels.update([(label, row.profile.split, value) for label, value in row.labels])
    block.profiles = list(known)
    block.redaction = texts.redaction.tobytes()
    block.digests = b"".join([row.digest for row in rows])
    block.contents = b"".join([row.content for row in rows])
    block.signatures = texts.signatures.tobytes()
    block.sketches = texts.sketches.tobytes()
    block.canonical = b"".join([row.canonical for row in rows])
    block.personal = texts.counted
    return block
