"""Real multi-turn conversations (VERA-MH) go the whole way: release, validation, sealing, proof."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pe_training.datasets.accept import accept
from pe_training.datasets.read import read_rows, verify_dataset
from pe_training.settings import SAMPLES, Settings
from pe_training.storage.state import State
from pe_training_tests.datasets.samples import SUITES
from pe_training_tests.releases import build_release, make_row
from pe_training_tests.shared_data import SHARED_DATA, needs_shared_data

pytestmark = needs_shared_data


def real_rows() -> list[dict[str, Any]]:
    """Every conversation up to the last reply; personas are kept apart by split."""
    found = [json.loads(line) for line in (SHARED_DATA / "vera_mh_conversations.jsonl").read_text(encoding="utf-8").splitlines()]
    personas = sorted({row["labels"]["persona"] for row in found})
    split_of = {persona: "test" if i % 5 == 0 else "val" if i % 5 == 1 else "train" for i, persona in enumerate(personas)}
    rows = []
    for row in found:
        messages = [(m["role"], m["content"]) for m in row["messages"]]
        while messages[-1][0] != "assistant":
            messages.pop()
        labels = {key: str(value) for key, value in row["labels"].items()}
        split = split_of[row["labels"]["persona"]]
        rows.append(make_row(messages, split=split, source_family="long_running_therapy", source_key=row["id"], labels=labels))
    return rows


def state_that_excuses_what_models_invented(folder: Path) -> State:
    """The models of these simulated talks named e-mail addresses and wrong helplines; the waiver that a person would have to sign."""
    waiver = (
        "waivers: [{check: personal_data, dataset: vera-mh, max_failing: 25, owner: tests, "
        "reason: invented by a model and nobody's, expires: 9999-12-31}]"
    )
    policy = folder / "policy.yaml"
    policy.write_text((SAMPLES / "release_policy.yaml").read_text().replace("waivers: []", waiver))
    return State(Settings(home=folder / "home", release_policy=policy))


def test_real_conversations_are_accepted_and_come_back_whole(tmp_path: Path) -> None:
    rows = real_rows()
    state = state_that_excuses_what_models_invented(tmp_path)
    folder = build_release(tmp_path / "vera-mh" / "v1", rows, name="vera-mh", version="v1", format="parquet", rows_per_shard=20)
    acceptance = accept(folder, suites=SUITES, state=state)
    assert acceptance.report.accepted, acceptance.report.summary
    dataset = acceptance.sealed()
    assert verify_dataset(dataset, state=state) == len(rows) == 105
    sealed = {row.row_digest: row for split in dataset.splits for row in read_rows(dataset, split, state=state)}
    given = sorted(json.dumps(row["messages"]) for row in rows)
    assert sorted(json.dumps(row.messages) for row in sealed.values()) == given, "the messages differ (not shown)"


def test_real_conversations_under_a_family_of_short_dialogues_are_refused(tmp_path: Path) -> None:
    rows = real_rows()
    for row in rows:
        row["metadata"]["source_family"] = "professional_therapeutic"
    acceptance = accept(
        build_release(tmp_path / "r", rows, name="vera-mh", version="v1"),
        suites=SUITES,
        state=state_that_excuses_what_models_invented(tmp_path),
    )
    assert [check.name for check in acceptance.report.failed] == ["family_lengths"]


def test_real_conversations_that_end_with_the_client_are_refused(tmp_path: Path) -> None:
    rows = real_rows()
    for row in rows[:4]:
        row["messages"].pop()
    acceptance = accept(
        build_release(tmp_path / "r", rows, name="vera-mh", version="v1"),
        suites=SUITES,
        state=state_that_excuses_what_models_invented(tmp_path),
    )
    assert {check.name: check.failing for check in acceptance.report.failed} == {
        "role_order": 4,
        "content_hash": 4,
        "conversation_length": 4,
    }
