"""Every kind of run, killed a few times; ``python -m pe_training_tests.faults.kill_sweep`` kills each fifty times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pe_training_tests.faults.kill_sweep import kind_of_run, sweep
from pe_training_tests.faults.nursery import Nursery

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as open_one:
        yield open_one


@pytest.mark.parametrize(
    ("kind", "kills"),  # task, workers, ranks
    [(("causal_lm", 0, 1), 5), (("causal_lm", 2, 1), 3), (("text_classification", 0, 1), 4), (("causal_lm", 2, 2), 2)],
)
def test_whatever_is_killed_the_run_ends_with_the_same_bits(
    nursery: Nursery, tmp_path: Path, kind: tuple[str, int, int], kills: int
) -> None:
    task, workers, ranks = kind
    done = sweep(kind_of_run(task, workers=workers, ranks=ranks), kills=kills, folder=tmp_path, nursery=nursery, seed=17)
    assert done.kills == kills
