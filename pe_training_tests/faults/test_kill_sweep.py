"""Every kind of run, killed a few times; ``python -m pe_training_tests.faults.kill_sweep`` kills each fifty times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pe_training_tests.faults.kill_sweep import Outcome, eventful_run, kind_of_run, sweep
from pe_training_tests.faults.nursery import Nursery
from pe_training_tests.training.runs import Prepared

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as open_one:
        yield open_one


@pytest.mark.parametrize(
    ("kind", "kills"),  # task, workers, ranks
    [(("causal_lm", 0, 1), 3), (("causal_lm", 2, 1), 2), (("text_classification", 0, 1), 2), (("causal_lm", 2, 2), 1)],
)
def test_whatever_is_killed_the_run_ends_with_the_same_bits(
    nursery: Nursery, tmp_path: Path, kind: tuple[str, int, int], kills: int
) -> None:
    task, workers, ranks = kind
    done = sweep(kind_of_run(task, workers=workers, ranks=ranks), kills=kills, folder=tmp_path, nursery=nursery, seed=17)
    assert done.kills == kills


def test_a_run_that_goes_back_and_goes_on_in_smaller_parts_ends_with_the_same_bits_too(tmp_path: Path) -> None:
    with Nursery(eventful=True) as nursery:
        done = sweep(eventful_run("causal_lm", workers=0), kills=3, folder=tmp_path, nursery=nursery, seed=18)
    assert done.kills == 3
    (run,) = (tmp_path / "undisturbed" / "runs").iterdir()
    undisturbed = Prepared(tmp_path / "undisturbed", run.name, manifest="")
    assert [kind for kind, _ in Outcome.of(undisturbed).events] == ["rollback", "out_of_memory"]
