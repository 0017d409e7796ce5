"""Rows: the strict model, the producer's hash and our digest."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pe_training.datasets.complaints import complaint
from pe_training.datasets.rows import Row, content_hash, row_digest
from pe_training_tests.datasets.samples import CANARY, sample_rows

# The example of the predecessor's data contract, with the hash that its pipeline computed.
CONTRACT: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "You are a supportive listener."},
        {"role": "user", "content": "I keep putting off my exams and feel stuck."},
        {"role": "assistant", "content": "Feeling stuck sounds tiring. What part weighs most right now?"},
    ],
    "metadata": {
        "source_family": "professional_therapeutic",
        "source_key": "s3://example-bucket/x/part-0.jsonl",
        "content_hash": "sha256:5facea6abaa4b0dff5c211ff43be186e593f06cc45189afaae11b871dde65855",
        "pii_status": "none_detected",
        "license_tag": "synthetic",
        "split": "train",
        "phase": "stage1_foundation",
        "conversation_length": 2,
        "quality_score": 0.8,
        "bias_flags": [],
        "provenance": {
            "original_s3_key": "raw/x.json",
            "processing_pipeline": "demo_v1",
            "processed_at": "2026-01-01T00:00:00Z",
            "dedup_status": "unique",
            "processing_steps": ["chatml_convert", "dedup"],
        },
    },
}
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def parse(row: Any) -> Row:
    return Row.model_validate_json(json.dumps(row))


def changed(**metadata: Any) -> dict[str, Any]:
    row = copy.deepcopy(CONTRACT)
    row["metadata"] |= metadata
    return row


def told(row: Any) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        parse(row)
    return complaint(caught.value, Row)


def test_the_contracts_example_has_the_hash_that_its_pipeline_computed() -> None:
    row = parse(CONTRACT)
    assert content_hash(m.content for m in row.messages) == row.metadata.content_hash


def test_the_contracts_example_has_this_digest_for_ever() -> None:
    assert row_digest(parse(CONTRACT)) == "sha256:f32d97eda0595022ecd10dbcc05bdae5602833db2c18d73a94ca70eb7240c834"


@given(st.lists(words, min_size=1, max_size=6), st.randoms())
def test_the_content_hash_ignores_order_case_and_outer_space(contents: list[str], random: Any) -> None:
    shuffled = random.sample(contents, len(contents))
    assert content_hash(f"  {text}\n" for text in shuffled) == content_hash(contents)


@given(st.lists(words, min_size=2, max_size=5))
def test_the_row_digest_sees_order_and_roles(contents: list[str]) -> None:
    def row(messages: list[dict[str, str]]) -> str:
        return row_digest(parse({**CONTRACT, "messages": messages}))

    messages = [{"role": "user", "content": text} for text in contents]
    assert (row(messages[::-1]) == row(messages)) == (messages[::-1] == messages)
    assert row([{**messages[0], "role": "assistant"}, *messages[1:]]) != row(messages)


@given(st.sampled_from(["source_key", "phase", "license_tag", "quality_score", "labels", "group", "purpose"]))
def test_the_row_digest_sees_every_metadata_value(key: str) -> None:
    others = {
        "source_key": "elsewhere", "phase": "stage2_x", "license_tag": "reddit_cc", "quality_score": 0.7,
        "labels": {"a": 1}, "group": {"age": "65+"}, "purpose": "expert",
    }  # fmt: skip
    assert row_digest(parse(changed(**{key: others[key]}))) != row_digest(parse(CONTRACT))


@given(st.randoms())
def test_the_row_digest_ignores_the_order_of_keys(random: Any) -> None:
    keys = random.sample(list(CONTRACT["metadata"]), len(CONTRACT["metadata"]))
    turned = {"metadata": {key: CONTRACT["metadata"][key] for key in keys}, "messages": CONTRACT["messages"]}
    assert row_digest(parse(turned)) == row_digest(parse(CONTRACT))


def test_an_absent_key_and_a_null_are_the_same_row() -> None:
    assert row_digest(parse(changed(purpose=None))) == row_digest(parse(CONTRACT))


def test_validation_is_accepted_as_val() -> None:
    assert row_digest(parse(changed(split="validation"))) == row_digest(parse(changed(split="val")))


def test_labels_keep_their_types() -> None:
    labels = {"crisis": "routine", "level": 2, "urgent": True, "empathy": {"er": 1, "ip": 0}}
    assert parse(changed(labels=labels)).metadata.content()["labels"] == labels


@pytest.mark.parametrize(
    ("metadata", "told_field", "told_message"),
    [
        ({"licence_tag": "synthetic"}, "metadata.licence_tag", "unknown key; did you mean 'license_tag'?"),
        ({"split": "dev"}, "metadata.split", "input should be 'train', 'val' or 'test'"),
        ({"pii_status": "clean"}, "metadata.pii_status", "input should be 'scrubbed', 'none_detected' or 'requires_review'"),
        (
            {"labels": {CANARY: [CANARY]}},
            "metadata.labels",
            "values are text, whole numbers, true or false, or one mapping of whole numbers",
        ),
        ({"group": {CANARY: 3}}, "metadata.group", "values are text"),
        ({"conversation_length": "2"}, "metadata.conversation_length", "input should be a valid integer"),
        ({"quality_score": float("nan")}, "metadata.quality_score", "input should be a finite number"),
        ({f"{CANARY} said so": 1}, "metadata.(a key that is not a name)", "unknown key; allowed here: "),
        ({"provenance": {"original_s3_key": "x"}}, "metadata.provenance.processing_pipeline", "is missing; 2 more after this one"),
    ],
)
def test_a_wrong_row_is_told_by_field_and_without_its_text(metadata: dict[str, Any], told_field: str, told_message: str) -> None:
    field, message = told(changed(**metadata))
    assert field == told_field
    assert message.startswith(told_message)
    assert CANARY not in field + message


def test_a_time_must_be_rfc_3339_and_exist() -> None:
    for wrong, message in {"1 May 2026": "must be an RFC 3339 time", "2026-02-30T00:00:00Z": "is not a time that exists"}.items():
        provenance = CONTRACT["metadata"]["provenance"] | {"processed_at": wrong}
        assert told(changed(provenance=provenance))[1].startswith(message)


def test_sample_rows_are_rows() -> None:
    assert len({row_digest(parse(row)) for row in sample_rows()}) == 26
