"""Config files: every complaint points at the place and says what was probably meant."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from pe_training.core.config import MAX_FILE_BYTES, load_config, parse_config
from pe_training.core.errors import Kind, PeError
from pe_training.core.records import Frozen


class Inner(Frozen):
    rate: float = Field(gt=0)
    name: str = "x"


class Sample(Frozen):
    kind: Literal["a", "b"]
    inner: Inner
    many: tuple[Inner, ...] = Field(default=(), strict=False)


GOOD = "kind: a\ninner: {rate: 1e-4, name: no}\n"


def error_of(text: str) -> str:
    with pytest.raises(PeError) as caught:
        parse_config(text, Sample, name="f.yaml")
    assert caught.value.kind is Kind.INPUT
    return str(caught.value)


def test_yaml_is_1_2() -> None:
    found = parse_config(GOOD, Sample, name="f.yaml")
    assert found.inner == Inner(rate=1e-4, name="no")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("kind: a\ninner: {rte: 1.0}\n", "f.yaml:2:9: unknown key 'inner.rte' (did you mean 'rate'?; 1 more after this one)"),
        ("kind: a\n", "f.yaml:1:1: missing key 'inner' (add it)"),
        ("kind: c\ninner: {rate: 1.0}\n", "f.yaml:1:7: kind: input should be 'a' or 'b' (got 'c')"),
        ("kind: a\ninner: {rate: -1.0}\n", "f.yaml:2:15: inner.rate: input should be greater than 0 (got -1.0)"),
        ("kind: a\ninner: {rate: '1'}\n", "f.yaml:2:15: inner.rate: input should be a valid number (got '1')"),
        ("kind: a\ninner: {rate: .nan}\n", "f.yaml:2:15: inner.rate: input should be a finite number (got nan)"),
        (
            "kind: a\ninner: {rate: 1.0}\nmany:\n  - {rate: 1.0}\n  - {rate: 1.0, nme: z}\n",
            "f.yaml:5:17: unknown key 'many.1.nme' (did you mean 'name'?)",
        ),
        (
            "kind: a\nkind: b\n",
            'f.yaml:2:1: found duplicate key "kind" with value "b" (original value: "a") (fix the YAML syntax here)',
        ),
        ("kind: !!python/object:os.system a\n", "f.yaml:1:7: YAML tags are not allowed (write plain values)"),
        ("- a\n", "f.yaml:1:1: must be a mapping of keys to values (see `pe schema --help`)"),
        ("kind: [a\n", "f.yaml:2:1: expected ',' or ']', but got '<stream end>' (fix the YAML syntax here)"),
    ],
)  # fmt: skip
def test_the_error_is_exactly_this(text: str, error: str) -> None:
    assert error_of(text) == error


def test_bombs_are_refused_before_they_are_built() -> None:
    assert "too deeply nested or too many aliases" in error_of("kind: " + "[" * 60)
    assert "too deeply nested or too many aliases" in error_of("kind: &a x\nmany: [" + "*a, " * 30 + "*a]")


def test_files_that_are_no_config_files(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text(GOOD)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "large.yaml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    messages = {}
    for name in ("rael.yaml", "binary.yaml", "large.yaml", "."):
        with pytest.raises(PeError) as caught:
            load_config(tmp_path / name, Sample)
        messages[name] = (caught.value.message, caught.value.hint)
    assert messages["rael.yaml"] == ("no such file", f"did you mean '{tmp_path / 'real.yaml'}'?")
    assert messages["binary.yaml"][0] == "is not UTF-8 text (byte 0)"
    assert messages["large.yaml"][0] == "is larger than 1,000,000 bytes"
    assert messages["."][0] == "is not a file"


@given(st.text(max_size=200))
def test_any_text_is_a_value_or_one_of_our_errors(text: str) -> None:
    try:
        parse_config(text, Sample, name="f.yaml")
    except PeError as error:
        assert error.where is not None  # noqa: PT017 (either outcome is right)
