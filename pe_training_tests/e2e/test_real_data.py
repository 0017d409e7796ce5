"""The chain on real dialogues that nobody wrote for it: counselling questions with counsellors' answers, read in place."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from pe_training_tests.e2e.chain import BRIEF, pe, smoke_with
from pe_training_tests.releases import build_release, make_row
from pe_training_tests.shared_data import SHARED_DATA, needs_shared_data

pytestmark = [pytest.mark.slow, needs_shared_data]
SPLITS = {"train": "train", "dev": "val", "val": "val", "validation": "val", "test": "test"}


def test_counselling_dialogues_go_from_release_to_decision(tmp_path: Path) -> None:
    rows, seen = [], set()
    for line in (SHARED_DATA / "counsel_chat.jsonl").read_text().splitlines():
        found = json.loads(line)
        turns = [(turn["role"], turn["content"]) for turn in found["messages"]]
        key = tuple(sorted(content.strip().lower() for _, content in turns))
        if key not in seen and turns[-1][0] == "assistant" and all(content.strip() for _, content in turns):
            seen.add(key)
            rows.append(make_row(turns, split=SPLITS[found["split"]], source_family="mental_health_datasets", license_tag="public_domain"))
    rows = _with_all_splits(rows)
    assert len(rows) > 500
    folder = build_release(tmp_path / "first" / "counsel" / "v0.9.0", rows, name="counsel", version="v0.9.0")
    found = pe("dataset", "check", folder, "--json", home=tmp_path / "home")
    assert found.code == 1
    (refused,) = [check for check in found.json["checks"] if not check["passed"]]
    assert (refused["name"], refused["note"].partition(":")[0]) == ("personal_data", "phone")  # some answers are signed with a number
    rows = _without(rows, {problem["where"] for problem in refused["examples"]})
    build_release(tmp_path / "releases" / "counsel" / "v1.0.0", rows, name="counsel", version="v1.0.0")
    manifest = smoke_with(
        tmp_path,
        ("name: sample-dialogues", "name: counsel"),
        ("max_length: 768", "max_length: 1536"),
        ("max_steps: 30", "max_steps: 12"),
        *BRIEF,
        ("accuracy: 20", "accuracy: 30"),  # several counsellors answer one question: 20 answers are fewer clusters than dev asks for
    )
    result = pe("run", manifest, "--json", home=tmp_path / "home", PE_RELEASES=str(tmp_path / "releases"))
    assert result.code == 0, result.stderr
    assert result.json["verdict"] == "pass"
    assert pe("verify", home=tmp_path / "home").code == 0


def _without(rows: list[dict[str, object]], places: set[str]) -> list[dict[str, object]]:
    """Without the rows at ``split/part-00000.jsonl:line``."""
    lines: Counter[str] = Counter()
    kept = []
    for row in rows:
        split = row["metadata"]["split"]  # type: ignore[index]
        lines[split] += 1
        if f"{split}/part-00000.jsonl:{lines[split]}" not in places:
            kept.append(row)
    assert len(kept) == len(rows) - len(places)
    return kept


def _with_all_splits(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """The file's own splits; a split that it lacks is every tenth row of train, so that training can be measured."""
    present = {row["metadata"]["split"] for row in rows}  # type: ignore[index]
    for offset, missing in enumerate(sorted({"val", "test"} - present)):
        for row in rows[offset::10]:
            row["metadata"]["split"] = missing  # type: ignore[index]
    return rows
