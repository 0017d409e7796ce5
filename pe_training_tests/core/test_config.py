"""Config files: every complaint points at the place and says what was probably meant."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import Field

from pe_training.core.config import MAX_FILE_BYTES, api_version, load_config, parse_config, suggest
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import MAX_INTEGER
from pe_training.core.records import Frozen


class Inner(Frozen):
    rate: float = Field(gt=0)
    name: str = "x"


class Sample(Frozen):
    kind: Literal["a", "b"]
    inner: Inner
    many: tuple[Inner, ...] = Field(default=(), strict=False)


INEXACT = "an integer beyond 9,007,199,254,740,991 is not exact in JSON"
BOMB = "too deeply nested or too many aliases"
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
        ("\tkind: a\n", "f.yaml:1:1: found character '\\t' that cannot start any token (fix the YAML syntax here)"),
        ("", "f.yaml:1:1: must be a mapping of keys to values (see `pe schema --help`)"),
        ("kind: a\n---\nkind: a\n", "f.yaml:2:1: but found another document (fix the YAML syntax here)"),
        ("kind: a\ninner: {name: no}\n", "f.yaml:2:8: missing key 'inner.rate' (add it)"),
        (GOOD + "xyzzy: 1\n", "f.yaml:3:1: unknown key 'xyzzy' (allowed here: inner, kind, many)"),
        (GOOD + "<<: {nmae: 1}\n", "f.yaml:1:1: unknown key 'nmae' (allowed here: inner, kind, many)"),
        ("1: 2\n" + GOOD, "f.yaml:1:4: 1: keys should be strings (got 1)"),
        ("kind: a\ninner: {rate: yes}\n", "f.yaml:2:15: inner.rate: input should be a valid number (got 'yes')"),
        ("kind: a\ninner: 5\n", "f.yaml:2:8: inner: input should be a valid dictionary or instance of Inner (got 5)"),
        (f"kind: {'x' * 200}\ninner: {{rate: 1.0}}\n", f"f.yaml:1:7: kind: input should be 'a' or 'b' (got '{'x' * 59}...)"),
        (
            "kind: a\ninner: {rate: 1.0, rate: 2.0}\n",
            'f.yaml:2:20: found duplicate key "rate" with value "2.0" (original value: "1.0") (fix the YAML syntax here)',
        ),
        ("? [a, {b: c}]\n: d\n", "f.yaml:1:3: a key must be a plain word (fix the YAML syntax here)"),
        ("kind: a\ninner: {rate: .inf}\n", "f.yaml:2:15: inner.rate: input should be a finite number (got inf)"),
        ("kind: 2026-02-30\n", "f.yaml:1:7: not a date (fix the YAML syntax here)"),
        ("kind: 9007199254740992\n", f"f.yaml:1:7: {INEXACT} (fix the YAML syntax here)"),
        ("kind: 0x" + "f" * 5000 + "\n", f"f.yaml:1:7: {INEXACT} (fix the YAML syntax here)"),
        ("kind: " + "9" * 5000 + "\n", "f.yaml:1:7: not a value that can be read (fix the YAML syntax here)"),
        ('kind: "\\ud800"\n', "f.yaml:1:7: half of a surrogate pair is not text (fix the YAML syntax here)"),
        ('kind: "\\UFFFFFFFF"\n', "f.yaml: an escape stands for no character (fix the \\U escape)"),
        ("kind: \x07\n", "f.yaml: unacceptable character #x0007: special characters are not allowed (fix the YAML syntax)"),
        ("kind: &a {<<: *a}\n", "f.yaml:1:7: not a value that can be read (fix the YAML syntax here)"),
        ("%YAML 1.1\n---\nkind: a\n", "f.yaml:1:1: YAML directives are not allowed (remove this line; files are read as YAML 1.2)"),
        ("kind: " + "[" * 60, f"f.yaml:1:46: {BOMB} (write the values out)"),
        ("- " * 45 + "a\n", f"f.yaml:1:81: {BOMB} (write the values out)"),
        ("kind: &a x\nmany: [" + "*a, " * 21 + "*a]\n", f"f.yaml:2:88: {BOMB} (write the values out)"),
        (
            "a: &a [" + "0, " * 30_000 + "]\nb: [*a, *a, *a, *a]\n",
            "f.yaml: holds more than 100,000 values (is this really a config file?)",
        ),
    ],
)  # fmt: skip
def test_the_error_is_exactly_this(text: str, error: str) -> None:
    assert error_of(text) == error


def test_what_is_within_the_limits_is_read() -> None:
    text = "%YAML 1.2\n---\nkind: &k a\ninner: &i {rate: 1.0, name: *k}\nmany: [" + "*i, " * 19 + "]\n"
    found = parse_config(text, Sample, name="f.yaml")
    assert found.many == (Inner(rate=1.0, name="a"),) * 19
    assert parse_config("kind: a\ninner: {rate: 9007199254740991}\n", Sample, name="f.yaml").inner.rate == MAX_INTEGER


def test_a_default_and_an_override_are_merged() -> None:
    found = parse_config("kind: a\ninner: &i {rate: 1.0}\nmany: [{<<: *i, name: z}]\n", Sample, name="f.yaml")
    assert found.many == (Inner(rate=1.0, name="z"),)


@pytest.mark.parametrize(
    ("name", "kind", "error"),
    [
        ("rael.yaml", Kind.NOT_FOUND, "{folder}/rael.yaml: no such file (did you mean '{folder}/real.yaml'?)"),
        ("far/away.yaml", Kind.NOT_FOUND, "{folder}/far/away.yaml: no such file (check the path)"),
        ("binary.yaml", Kind.INPUT, "{folder}/binary.yaml: is not UTF-8 text (byte 6) (save it as UTF-8)"),
        ("large.yaml", Kind.INPUT, "{folder}/large.yaml: is larger than 1,000,000 bytes (is this really a config file?)"),
        ("folder.yaml", Kind.INPUT, "{folder}/folder.yaml: is not a file (give the path of a YAML file)"),
    ],
)
def test_files_that_are_no_config_files(tmp_path: Path, name: str, kind: Kind, error: str) -> None:
    (tmp_path / "real.yaml").write_text(GOOD)
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "binary.yaml").write_bytes(b"kind: \xff\n")
    (tmp_path / "large.yaml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(PeError) as caught:
        load_config(tmp_path / name, Sample)
    assert (caught.value.kind, str(caught.value)) == (kind, error.format(folder=tmp_path))


def test_an_error_in_a_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text(GOOD + "knid: b\n")
    with pytest.raises(PeError) as caught:
        load_config(tmp_path / "real.yaml", Sample)
    assert str(caught.value) == f"{tmp_path}/real.yaml:3:1: unknown key 'knid' (did you mean 'kind'?)"


@pytest.mark.parametrize("text", ["", "- apiVersion: x\n", "kind: a\n", "apiVersion: 3\n"])
def test_a_file_that_does_not_say_what_it_is_is_refused(text: str) -> None:
    with pytest.raises(PeError) as caught:
        api_version(text, name="f.yaml")
    assert str(caught.value) == "f.yaml:1:1: missing key 'apiVersion' (its value says what kind of file this is)"


def test_the_kind_of_a_file_is_read_without_the_rest() -> None:
    assert api_version("apiVersion: x/v1\nunknown: 1\n", name="f.yaml") == "x/v1"


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [("tset", ["test", "val"], "did you mean 'test'?"), ("q", ["b", "a"], "allowed here: a, b"), ("q", [], "there are none yet")],
)
def test_a_suggestion_is_the_closest_name_or_all_of_them(word: str, known: list[str], hint: str) -> None:
    assert suggest(word, known) == hint


# Pieces that YAML gives a meaning to, so that examples reach the corners of the reader and not only its first line.
PIECES = st.sampled_from(
    ["kind", "inner", "rate", "name", "many", ": ", ":", "- ", "? ", "\n", "\n  ", "\n    ", " ", ", ", "{", "}", "[", "]", "&a ", "*a",
     "<<: ", "'", '"', "|", ">", "#", "!", "!!int ", "%YAML 1.1\n", "---\n", "...\n", "\t", "~", "=", "@", "`", "\\",
     '"\\ud83d"', '"\\x0"', '"\\U00110000"',
     "a", "1e-4", "1e999", "-0", "0x", "0o9", ".nan", "-.inf", "1_0", "2026-02-30", "2026-01-01T25:00:00Z", "9" * 400, "\u2028", "\ufeff"]
)  # fmt: skip
YAML_LIKE = st.lists(PIECES | st.text(max_size=3), max_size=40).map("".join)


@given(st.text(max_size=200) | YAML_LIKE | YAML_LIKE.map(lambda text: GOOD + text) | st.text(st.characters(), max_size=50))
@example("kind: a\ninner: {rate: " + "9" * 4301 + "}\n")
@example("kind: &a [*a]\n")
@example("kind: &a a\ninner: &a {rate: 1.0}\n")
@settings(max_examples=600)
def test_any_text_is_a_value_or_one_of_our_errors(text: str) -> None:
    try:
        found = parse_config(text, Sample, name="f.yaml")
    except PeError as error:
        assert error.kind is Kind.INPUT  # noqa: PT017 (either outcome is right)
        assert error.where is not None  # noqa: PT017
        assert error.where.startswith("f.yaml")  # noqa: PT017
        assert "\n" not in str(error).replace(text, "")  # noqa: PT017 (one line, for logs)
    else:
        assert found.content_digest.startswith("sha256:")  # what is accepted can be named


@given(st.integers(0, len(GOOD)), st.integers(0, 3), st.text(max_size=3))
def test_one_slip_of_the_hand_is_a_value_or_one_of_our_errors(place: int, removed: int, typed: str) -> None:
    text = GOOD[:place] + typed + GOOD[place + removed :]
    try:
        parse_config(text, Sample, name="f.yaml")
    except PeError as error:
        assert error.hint  # noqa: PT017 (either outcome is right)
