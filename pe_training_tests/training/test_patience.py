"""Early stopping: when it gives up, what it keeps, and that a run which was killed after its last step knows that it has ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pe_training.manifests.hyperparameters import EarlyStopping
from pe_training.training.events import events
from pe_training.training.patience import gives_up
from pe_training_tests.training.runs import Prepared, prepare_run
from pe_training_tests.training.steps import smoke

LOSSES = st.lists(st.floats(0, 10), max_size=12)


def measured(losses: list[float]) -> list[dict[str, Any]]:
    """A history in which every second line was measured."""
    return [
        line for step, loss in enumerate(losses) for line in ({"step": 2 * step, "loss": 1.0}, {"step": 2 * step + 1, "val_loss": loss})
    ]


@pytest.mark.parametrize(
    ("losses", "patience", "min_delta", "expected"),
    [
        ([3.0, 2.0, 1.0], 1, 0.0, False),
        ([3.0, 2.0, 2.0], 1, 0.0, True),
        ([3.0, 2.0, 2.5, 1.9], 2, 0.0, False),
        ([3.0, 2.0, 2.5, 2.1], 2, 0.0, True),
        ([3.0, 2.95, 2.91], 2, 0.1, True),  # below the lowest, but not by enough, and not of the small steps together either
        ([3.0, 2.95, 2.85], 2, 0.1, False),
        ([], 1, 0.0, False),
        ([3.0], 1, 0.0, False),
    ],
)
def test_it_gives_up_after_so_many_measurements_without_a_lower_loss(
    losses: list[float], patience: int, min_delta: float, expected: bool
) -> None:
    assert gives_up(measured(losses), EarlyStopping(patience=patience, min_delta=min_delta)) == expected


@given(LOSSES, st.integers(1, 4))
def test_without_a_margin_it_is_that_the_lowest_loss_is_so_many_measurements_old(losses: list[float], patience: int) -> None:
    age = len(losses) - 1 - losses.index(min(losses)) if losses else 0
    assert gives_up(measured(losses), EarlyStopping(patience=patience)) == (age >= patience)
    assert not gives_up(measured(losses), None)


def stopping_early(home: Path) -> Prepared:
    """Learning stands still: no held-out loss is lower by a nat, so the second measurement after the first one ends it."""
    spec = smoke(
        ("packing: true", "packing: true\n  early_stopping: {patience: 2, min_delta: 1.0}"),
        ("learning_rate: 3.0e-3", "learning_rate: 1.0e-6"),
    )
    return prepare_run(home, spec)


@pytest.mark.slow
def test_a_run_that_gives_up_ends_with_a_model_and_says_why_and_so_does_one_killed_at_that_moment(tmp_path: Path) -> None:
    run = stopping_early(tmp_path / "home")
    made = run.finish()
    (event,) = [body for _, kind, body in events(run.state, run.run) if kind == "early_stopping"]
    assert event == {"step": 20, "of": 30, "kept_step": made.step}
    history = next(file.digest for file in made.content_files if file.path == "history.jsonl")
    assert json.loads(run.state.artifacts.get(history).splitlines()[-1])["step"] == 20

    killed = stopping_early(tmp_path / "killed")
    _forget_the_model(killed, after=run)
    assert killed.finish().id == made.id
    assert list(killed.happened()) == ["resumed", "early_stopping", "finished"]


def _forget_the_model(killed: Prepared, *, after: Prepared) -> None:
    """Give ``killed`` the states of ``after``, as if it had been killed between its last state and its model."""
    import sqlalchemy as sa

    from pe_training.storage import tables as t

    with after.state.registry.reading() as connection:
        rows = [dict(row._mapping) for row in connection.execute(sa.select(t.run_states))]
    with killed.state.registry.writing() as connection:
        for row in rows:
            connection.execute(sa.insert(t.run_states).values(**row))
    for row in rows:
        assert killed.state.artifacts.put_bytes(after.state.artifacts.get(row["digest"])) == row["digest"]
