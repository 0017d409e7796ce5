"""The error that people see: four facts, one exit code, and a journey between processes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pe_training.core.errors import Kind, PeError

EXIT_CODES = {
    "refused": 1, "corrupt": 1, "conflict": 1, "budget": 1,
    "input": 2, "not_found": 2, "data": 2,
    "busy": 3, "stopped": 3, "divergence": 3, "out_of_memory": 3, "infrastructure": 3, "bug": 3,
}  # fmt: skip
WORDS = st.text()


def test_every_kind_of_failure_has_its_exit_code() -> None:
    assert {kind.value: kind.exit_code for kind in Kind} == EXIT_CODES


@pytest.mark.parametrize(
    ("where", "hint", "line"),
    [
        (None, None, "it failed"),
        ("m.yaml:1:2", None, "m.yaml:1:2: it failed"),
        (None, "do this", "it failed (do this)"),
        ("m.yaml:1:2", "do this", "m.yaml:1:2: it failed (do this)"),
    ],
)
def test_an_error_reads_as_place_message_and_advice(where: str | None, hint: str | None, line: str) -> None:
    assert str(PeError(Kind.INPUT, "it failed", where=where, hint=hint)) == line


@given(st.sampled_from(list(Kind)), WORDS, st.none() | WORDS, st.none() | WORDS)
def test_an_error_survives_its_journey_from_a_child_process(kind: Kind, message: str, where: str | None, hint: str | None) -> None:
    error = PeError(kind, message, where=where, hint=hint)
    back = PeError.from_json(json.loads(json.dumps(error.to_json())))
    assert (back.kind, back.message, back.where, back.hint) == (kind, message, where, hint)
    assert set(error.to_json()) == {"kind", "message", "where", "hint"}
