"""Seeded texts of made-up words, and copies of them at a known distance."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parents[3] / "pe_training" / "samples" / "releases"


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - made-up words, no secrets


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def sample_messages() -> list[list[tuple[str, str]]]:
    """Every dialogue of the release that ships with the house."""
    rows = [row for shard in sorted(SAMPLES.rglob("*.jsonl")) for row in lines(shard)]
    assert len(rows) > 300
    return [[(message["role"], message["content"]) for message in row["messages"]] for row in rows]


def vocabulary(of: random.Random, *, size: int = 5_000) -> list[str]:
    return ["".join(of.choices("abcdefghijklmnopqrstuvwxyz", k=of.randint(3, 9))) for _ in range(size)]


def text(of: random.Random, known: list[str], *, words: int) -> str:
    return " ".join(of.choices(known, k=words))


def edited(of: random.Random, original: str, known: list[str], *, changes: int) -> str:
    """The same text with some words replaced."""
    words = original.split()
    for place in of.sample(range(len(words)), changes):
        words[place] = of.choice(known)
    return " ".join(words)


def said_by_another_process(expression: str, *, hash_seed: str) -> str:
    """What a fresh interpreter with other string hashes prints for an expression of the dataset room."""
    names = "near_duplicates, contamination, personal_data, language, redaction, shingles"
    code = f"from pe_training.datasets.texts import {names}\nimport sys\nsys.stdout.write(str({expression}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
    )
    return done.stdout
