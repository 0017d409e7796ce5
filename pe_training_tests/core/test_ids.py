"""Ids: the same content has the same name everywhere, and nothing else has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pe_training.core.ids import KINDS, canonical_json, digest_bytes, digest_file, digest_json, is_digest, is_id, kind_of, make_id, short

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KIND = st.sampled_from(sorted(KINDS))
# RFC 8785, section 3.2.4 with 3.2.2, and the sorting example of section 3.2.3.
RFC_INPUT = r"""{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
    "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"""
RFC_OUTPUT = r"""{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"""
RFC_ORDER = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


def backwards(value: Any) -> Any:
    """The same value with the keys of every mapping in it in the opposite order."""
    if isinstance(value, dict):
        return {key: backwards(inner) for key, inner in reversed(value.items())}
    return [backwards(inner) for inner in value] if isinstance(value, list) else value


@given(KIND, JSON)
def test_the_order_of_keys_never_changes_an_id(kind: str, content: Any) -> None:
    assert make_id(kind, content) == make_id(kind, backwards(content))


@given(KIND, JSON)
def test_an_id_survives_a_journey_as_json(kind: str, content: Any) -> None:
    assert make_id(kind, json.loads(json.dumps(content))) == make_id(kind, content)
    assert canonical_json(json.loads(canonical_json(content))) == canonical_json(content)


@given(KIND, st.dictionaries(st.text(), JSON, max_size=4), st.text(), st.integers(0, 9))
def test_any_change_of_content_changes_the_id(kind: str, content: dict[str, Any], key: str, value: int) -> None:
    changed = content | {key: [content.get(key), value]}
    assert make_id(kind, changed) != make_id(kind, content)


@given(KIND, JSON)
def test_an_id_says_its_kind_and_abbreviates_to_its_own_beginning(kind: str, content: Any) -> None:
    whole = make_id(kind, content)
    assert is_id(whole)
    assert kind_of(whole) == kind
    assert whole.startswith(short(whole))
    assert len(short(whole)) == len(kind) + 1 + 10
    assert not is_id(short(whole))
    assert digest_json(content).removeprefix("sha256:").startswith(whole.partition("_")[2])


def test_the_canonical_form_is_that_of_rfc_8785() -> None:
    assert canonical_json(json.loads(RFC_INPUT)) == RFC_OUTPUT.encode()
    assert list(json.loads(canonical_json(dict.fromkeys(sorted(RFC_ORDER), 0)))) == RFC_ORDER


def test_ids_and_digests_are_pinned_for_ever() -> None:
    assert make_id("ck", {}) == "ck_44136fa355b3678a1146ad16f7e8649e"
    assert digest_bytes(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert short("sha256:44136fa355b3678a1146ad16f7e8649e") == "sha256:44136fa355"


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "file").write_bytes(data[:size])
    assert digest_file(tmp_path / "file") == digest_bytes(data[:size])


@pytest.mark.parametrize(
    "text", ["", "ck_", "ck", "zz_" + "0" * 32, "ck_" + "0" * 31, "ck_" + "0" * 33, "CK_" + "0" * 32, "ck_" + "G" * 32]
)
def test_what_is_no_id_is_not_taken_for_one(text: str) -> None:
    assert not is_id(text)


def test_a_line_end_belongs_to_no_id_and_no_digest() -> None:
    assert is_id("ck_" + "0" * 32)
    assert not is_id("ck_" + "0" * 32 + "\n")
    assert is_digest("sha256:" + "0" * 64)
    assert not is_digest("sha256:" + "0" * 64 + "\n")
