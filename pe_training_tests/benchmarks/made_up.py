"""A release of any size, written in a stream: dialogues of common English words, no two alike, a few alike on purpose.

The words are real, so that texts are told as English and a hash, a shingle or a regular expression meets letters as they come; what the
rows say is noise, so nothing here is sample data.
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

from pe_training_tests.releases import make_row, write_manifest

SHARD_ROWS = 50_000
COMMON = (
    "the a of to and in that it is was for on with as at by from they we you this have not but what all were when your can said there "
    "use each which she how their will up other about out many then them these so some her would make like him into time has look two "
    "more write go see number no way could people my than first water been call who its now find long down day did get come made may "
    "part over new sound take only little work know place year live back give most very after thing our just name good sentence man "
    "think say great where help through much before line right too mean old any same tell follow came want show also around form "
    "three small set put end does another well large must big even such because turn here why ask went read need land different home "
    "move try kind hand picture again change off play air away animal house point page letter mother answer found study still learn "
    "should world high every near add food between own below country plant last school father keep tree never start city earth eye "
    "light thought head under story saw left few while along might close something seem next hard open example begin life always "
    "those both paper together got group often run "
)
WORDS = COMMON.split()


def write_release(folder: Path, *, rows: int, row_bytes: int, name: str = "made-up", version: str = "v1") -> Path:
    """Write ``rows`` dialogues of about ``row_bytes`` bytes of JSON each: 95 % train, the rest in halves val and test."""
    of = random.Random(17)  # noqa: S311 - noise, no secrets
    bounds = {"train": int(rows * 0.95), "val": int(rows * 0.975), "test": rows}
    splits, families, number = {}, {"mental_health_datasets": {"conversations": 0, "splits": {}}}, 0
    for split, end in bounds.items():
        count, shards = end - number, []
        while number < end:
            part = min(SHARD_ROWS, end - number)
            shards.append(_write_shard(folder, split, len(shards), first=number, rows=part, row_bytes=row_bytes, of=of))
            number += part
        splits[split] = {"conversations": count, "shards": shards}
        family: Any = families["mental_health_datasets"]
        family["conversations"] += count
        family["splits"][split] = count
    manifest = {"manifest_version": "1.0", "generated_at": "2026-01-01T00:00:00Z", "dataset_name": name, "version": version}
    counted = {"total_conversations": rows, "splits": splits, "source_families": families, "holdout_families": {}, "provenance_map": {}}
    write_manifest(folder, manifest | counted)
    return folder


def _write_shard(folder: Path, split: str, number: int, *, first: int, rows: int, row_bytes: int, of: random.Random) -> dict[str, Any]:
    path = f"{split}/part-{number:05d}.jsonl"
    (folder / split).mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with (folder / path).open("wb") as file:
        for row in range(first, first + rows):
            line = json.dumps(_row(row, split, row_bytes, of)).encode() + b"\n"
            digest.update(line)
            size += file.write(line)
    described = {"shard_id": f"{split}-part-{number:05d}", "s3_path": path, "size_bytes": size, "sha256": digest.hexdigest()}
    return described | {"conversation_count": rows, "source_families": ["mental_health_datasets"]}


def _row(number: int, split: str, row_bytes: int, of: random.Random) -> dict[str, Any]:
    words = of.choices(WORDS, k=max(16, (row_bytes - 750) * 10 // 51))  # what a row says of itself takes about 750 bytes
    turns = max(1, len(words) // 160)
    parts = [words[at :: 2 * turns] for at in range(2 * turns)]
    said = [("system", "You are a supportive listener.")]
    said += [(("user", "assistant")[at % 2], " ".join(part)) for at, part in enumerate(parts)]
    return make_row(
        said, split=split, source_family="mental_health_datasets", quality_score=round(of.random(), 3), source_key=f"part/{number}"
    )
