"""Ids, records and errors."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import is_id, make_id, short
from pe_training.core.records import Record

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    max_leaves=8,
)


class Sample(Record):
    kind: ClassVar[str] = "ck"
    number: float
    note: str | None = None


@given(st.dictionaries(st.text(), JSON))
def test_the_order_of_keys_never_changes_an_id(content: dict[str, object]) -> None:
    backwards = dict(reversed(content.items()))
    assert make_id("ck", content) == make_id("ck", backwards)
    assert is_id(make_id("ck", content))


def test_an_id_is_pinned_to_rfc_8785_and_sha_256() -> None:
    assert Sample(number=1.0).id == make_id("ck", {"number": 1})
    assert make_id("ck", {}) == "ck_44136fa355b3678a1146ad16f7e8649e"
    assert short("ck_44136fa355b3678a1146ad16f7e8649e") == "ck_44136fa355"
    assert short("sha256:44136fa355b3678a") == "sha256:44136fa355"


@given(st.floats(allow_nan=False, allow_infinity=False), st.none() | st.text())
def test_a_record_comes_back_as_it_was(number: float, note: str | None) -> None:
    record = Sample(number=number, note=note)
    assert Sample.from_json(record.to_json()).id == record.id
    assert Sample.from_json(record.to_json()) == record


@pytest.mark.parametrize("bad", [{"number": "1"}, {"number": float("nan")}, {"number": 1.0, "extra": 1}, {}])
def test_a_record_refuses_what_it_does_not_mean(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Sample.model_validate(bad)


def test_a_record_cannot_change() -> None:
    with pytest.raises(ValidationError):
        Sample(number=1.0).number = 2.0  # type: ignore[misc]


def test_every_kind_of_failure_has_one_of_three_exit_codes() -> None:
    assert {kind.exit_code for kind in Kind} == {1, 2, 3}
    assert {kind for kind in Kind if kind.exit_code == 1} == {Kind.REFUSED, Kind.CORRUPT, Kind.CONFLICT, Kind.BUDGET}


def test_an_error_survives_its_journey_from_a_child_process() -> None:
    error = PeError(Kind.DATA, "what", where="here", hint="do this")
    back = PeError.from_json(json.loads(json.dumps(error.to_json())))
    assert (back.kind, str(back)) == (Kind.DATA, "here: what (do this)")
