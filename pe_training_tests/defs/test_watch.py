"""The watch in Dagster: what is in doubt is proved at once, the rest once a day, and the cursor goes round."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from pe_training.datasets.recall import Selector
from pe_training.definitions import defs
from pe_training.lineage.recall import recall
from pe_training.promotion.pointers import current
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training_tests.promotion.standing import produced

pytestmark = pytest.mark.filterwarnings("ignore::dagster.PreviewWarning")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    for name in ("PE_ARTIFACTS_URL", "PE_DATABASE_URL", "PE_POLICIES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PE_HOME", str(tmp_path))
    return State(Settings())


def tick(instance: dg.DagsterInstance, cursor: str | None) -> tuple[list[dg.RunRequest], str | None]:
    from pe_training.defs.promotion import production_watch
    from pe_training.defs.resources import Store

    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        result = production_watch(context, store=Store())
    assert isinstance(result, dg.SensorResult)
    return list(result.run_requests or []), result.cursor


def test_lines_are_looked_at_page_by_page_and_those_in_doubt_more_often(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    from pe_training.defs import promotion

    monkeypatch.setattr(promotion, "LINES_A_TICK", 2)
    chains = {line: produced(state, 1, line=line) for line in ("a", "b", "c")}
    with dg.DagsterInstance.ephemeral() as instance:
        first, cursor = tick(instance, None)
        second, around = tick(instance, cursor)
        assert [request.tags["line"] for request in (*first, *second)] == ["a", "b", "c"]
        assert (cursor, around) == ("b", "")
        assert tick(instance, around) == (first, "b")  # the same keys: asked for once
        recall(state, Selector(kind="version", value=chains["a"].dataset.id), reason="consent", actor="ada")
        doubted, _ = tick(instance, "")
        assert [len(str(request.run_key).split(":", 2)[2]) for request in (first[0], doubted[0])] == [10, 15]


def test_the_job_takes_a_recalled_model_out_and_fails_its_check(state: State) -> None:
    chain = produced(state, 1, line="a")
    recall(state, Selector(kind="version", value=chain.dataset.id), reason="consent", actor="ada")
    with dg.DagsterInstance.ephemeral() as instance:
        (request,), _ = tick(instance, None)
        done = defs().resolve_job_def("watch_production").execute_in_process(instance=instance, run_config=request.run_config)
    (check,) = done.get_asset_check_evaluations()
    assert (check.passed, check.metadata["value"].value) == (False, 1)
    (pointer,) = [pointer for pointer in current(state, line="a") if pointer.stage == "production"]
    assert pointer.withdrawn == f"{pointer.checkpoint_id[:13]} comes from recalled data (recall 1)"
    (made,) = done.asset_materializations_for_node("served_models")
    assert "**a: 1 place served, 1 in doubt**" in str(made.metadata["summary"].value)
