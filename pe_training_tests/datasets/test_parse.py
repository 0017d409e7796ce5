"""The fast reader and the strict model are one reader: same rows, same bytes, same refusals."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pe_training.core.ids import canonical_json
from pe_training.datasets.complaints import complaint
from pe_training.datasets.parse import NotARowError, parse_row, parsed_row
from pe_training.datasets.rows import Row, content_hash, row_digest
from pe_training_tests.datasets.samples import CANARY, sample_rows

VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-5, 5), st.floats(), st.floats(0, 1), st.text(max_size=6),
    st.sampled_from(["train", "validation", "en", "scrubbed", "2026-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "stage1_x"]),
    st.just("sha256:" + "0" * 64),
    st.lists(st.text(max_size=3), max_size=2), st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=2), st.dictionaries(st.text(max_size=2), st.integers(-9, 9), max_size=2), max_size=2),
)  # fmt: skip
KEYS = ["split", "quality_score", "labels", "group", "conversation_length", "total_tokens", "phase", "purpose", "bias_flags",
        "content_hash", "pii_status", "license_tag", "source_family", "source_key", "language", "invented"]  # fmt: skip
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant", "client"]), "content": st.text(max_size=8)}), max_size=4
)


def strictly(line: bytes) -> Any:
    try:
        row = Row.model_validate_json(line)
    except ValidationError as error:
        return complaint(error, Row)
    return parsed_row(row)


def quickly(line: bytes) -> Any:
    try:
        return parse_row(line)
    except NotARowError as error:
        return error.field, error.message


@given(
    metadata=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3),
    provenance=st.dictionaries(st.sampled_from(["processed_at", "processing_steps", "dedup_status", "x"]), VALUES, max_size=2),
    messages=st.none() | MESSAGES,
    rejected=st.just("absent") | VALUES | MESSAGES,
    escaped=st.booleans(),
)
def test_the_fast_reader_agrees_with_the_strict_model_on_every_row(
    metadata: dict[str, Any], provenance: dict[str, Any], messages: Any, rejected: Any, escaped: Any
) -> None:
    row = copy.deepcopy(sample_rows()[0])
    row["metadata"] |= metadata
    row["metadata"]["provenance"] |= provenance
    if messages is not None:
        row["messages"] = messages
    if rejected != "absent":
        row["rejected"] = rejected
    line = json.dumps(row, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    assert quickly(line) == strictly(line)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"[]", b"null", b"{", b'{"messages": [], "messages": 1}', b"\xff\xfe", b"1e999", b"[" * 100_000,
        b'{"messages": [{"role": "user", "role": "assistant", "content": "a"}], "metadata": {}}',
        b'{"messages": [{"role": "user", "content": "\\ud800"}], "metadata": {}}',
    ],
)  # fmt: skip
def test_a_line_that_is_no_row_is_refused_alike(line: bytes) -> None:
    assert quickly(line) == strictly(line)
    assert isinstance(quickly(line), tuple)


@given(messages=MESSAGES.filter(lambda found: bool(found) and all(m["role"] != "client" for m in found)))
def test_the_facts_of_a_row_follow_from_it(messages: Any) -> None:
    row = sample_rows()[0] | {"messages": messages}
    found = parse_row(json.dumps(row).encode())
    strict = Row.model_validate_json(json.dumps(row))
    assert found.canonical == canonical_json(strict.content())
    assert f"sha256:{found.digest.hex()}" == row_digest(strict)
    assert f"sha256:{found.content.hex()}" == content_hash(m["content"] for m in messages)
    assert found.profile.hash_matches == (row["metadata"]["content_hash"] == content_hash(m["content"] for m in messages))


def test_a_refusal_repeats_nothing_of_the_row() -> None:
    row = sample_rows()[0]
    row["metadata"]["split"] = CANARY
    with pytest.raises(NotARowError) as caught:
        parse_row(json.dumps(row).encode())
    assert caught.value.field == "metadata.split"
    assert CANARY not in caught.value.message
