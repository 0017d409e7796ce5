"""Records: frozen, strict, and named by what they say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pe_training.core.clock import now, stamp
from pe_training.core.ids import digest_json, make_id
from pe_training.core.records import LATER, Attachment, Frozen, Growing, Record

FINITE = st.floats(allow_nan=False, allow_infinity=False)


class Inner(Frozen):
    words: tuple[str, ...] = ()


class Sample(Record):
    kind: ClassVar[str] = "ck"
    number: float
    note: str | None = None
    inner: Inner = Inner()


class Recipe(Record):
    kind: ClassVar[str] = "run"
    recipe: dict[str, Any]


class Named(Sample):
    def identity(self) -> dict[str, Any]:
        return {"number": self.number}


@given(FINITE, st.none() | st.text(), st.lists(st.text(), max_size=3))
def test_a_record_comes_back_as_it_was(number: float, note: str | None, words: list[str]) -> None:
    record = Sample(number=number, note=note, inner=Inner(words=tuple(words)))
    back = Sample.from_json(record.to_json())
    assert (back, back.id, back.to_json()) == (record, record.id, record.to_json())


@given(FINITE | st.floats(min_value=2**53, allow_infinity=False) | st.integers(-(2**53) + 1, 2**53 - 1))
def test_a_number_without_a_declared_type_comes_back_under_the_same_id(number: float) -> None:
    record = Recipe(recipe={"hyperparameters": {"max_grad_norm": number}})
    assert Recipe.from_json(record.to_json()).id == record.id


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused_and_not_written_as_nothing(number: float) -> None:
    with pytest.raises(ValueError, match="not representable"):
        _ = Recipe(recipe={"hyperparameters": {"max_grad_norm": number}}).id


@given(FINITE, st.text(), st.text())
def test_identity_decides_the_id_and_nothing_else_does(number: float, first: str, second: str) -> None:
    assert Named(number=number, note=first).id == Named(number=number, note=second).id
    assert (Sample(number=number, note=first).id == Sample(number=number, note=second).id) == (first == second)


def test_the_id_is_that_of_the_canonical_content() -> None:
    record = Sample(number=1.0)
    assert record.id == make_id("ck", {"number": 1, "inner": {"words": []}})
    assert record.content_digest == digest_json(record.content())
    assert json.loads(record.to_json()) == record.content()


def test_what_is_none_is_not_said() -> None:
    assert "note" not in Sample(number=1.0).content()
    assert Sample(number=1.0).id == Sample(number=1.0, note=None).id


class Before(Growing):
    speed: float = 1.0


class After(Growing):
    speed: float = 1.0
    careful: Annotated[bool, LATER] = False


def test_a_field_that_came_later_leaves_the_name_of_what_was_said_before() -> None:
    assert After(speed=2.0).content() == Before(speed=2.0).content() == {"speed": 2.0}
    assert After(careful=False).content_digest == Before().content_digest
    assert After.model_validate(Before(speed=2.0).content()) == After(speed=2.0)


def test_a_field_that_came_later_and_says_something_is_said() -> None:
    class Whole(Record):
        kind: ClassVar[str] = "mf"
        inner: After = After()

    said = Whole(inner=After(careful=True))
    assert said.content() == {"inner": {"speed": 1.0, "careful": True}}
    assert Whole.from_json(said.to_json()) == said
    assert Whole().content() == {"inner": {"speed": 1.0}}
    assert said.id != Whole().id


def test_a_record_says_nothing_of_itself_that_its_room_did_not_say() -> None:
    record = Sample(number=1.0)
    assert (record.parents(), record.files(), record.key(), record.label()) == ({}, (), None, "")


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"number": "1"}, "float_type"),
        ({"number": True}, "float_type"),
        ({"number": float("nan")}, "finite_number"),
        ({"number": float("inf")}, "finite_number"),
        ({"number": 1.0, "extra": 1}, "extra_forbidden"),
        ({"number": 1.0, "inner": {"wrods": ()}}, "extra_forbidden"),
        ({"number": 1.0, "note": 5}, "string_type"),
        ({}, "missing"),
    ],
)
def test_a_record_refuses_what_it_does_not_mean(bad: dict[str, object], error: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Sample.model_validate(bad)
    assert [problem["type"] for problem in caught.value.errors()] == [error]


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", '{"number": NaN}', '{"number": 1, "extra": 1}'])
def test_a_stored_text_that_is_no_record_is_not_read_as_one(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (JSONDecodeError and ValidationError are both ValueError, as the registry expects)
        Sample.from_json(text)


@pytest.mark.parametrize("name", ["number", "note", "inner", "brand_new"])
def test_a_record_cannot_change(name: str) -> None:
    record = Sample(number=1.0)
    with pytest.raises(ValidationError):
        setattr(record, name, 2.0)
    with pytest.raises(ValidationError):
        record.inner.words = ("x",)
    assert record == Sample(number=1.0)


def test_an_attachment_is_path_digest_and_size() -> None:
    assert Attachment(path="a/b", digest="sha256:0", size_bytes=3).content() == {"path": "a/b", "digest": "sha256:0", "size_bytes": 3}


def test_a_stamp_is_utc_whatever_the_clock_says() -> None:
    assert stamp(datetime(2026, 1, 31, 1, 30, 59, 999_999, tzinfo=timezone(timedelta(hours=2)))) == "2026-01-30T23:30:59Z"
    assert now().tzinfo is UTC
