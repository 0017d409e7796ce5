"""The asset of judge calibrations: records, a check for each word list and one for all others, tables for people."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from pe_training.core.ids import short
from pe_training.definitions import defs
from pe_training.evaluation.calibration import calibrations, further_calibrations
from pe_training.evaluation.record import Agreement, Estimate, JudgeCalibration
from pe_training.settings import Settings
from pe_training.storage import tables as t
from pe_training.storage.state import State
from pe_training.storage.taints import spread_in


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    monkeypatch.setenv("PE_HOME", str(tmp_path / "home"))
    return State(Settings(home=tmp_path / "home"))


def calibration(line: str, kappa: float, *, checkpoint: str | None = "ck_" + "a" * 64) -> JudgeCalibration:
    """Of a judge that was trained here, or, without a checkpoint, of another. Agreement below 0.6 is too little."""
    lapse = None if kappa >= 0.6 else f"kappa {kappa:.2f}, and 0.60 is needed"
    value = Estimate(value=kappa, low=kappa - 0.1, high=kappa + 0.1, n=400, method="bca-5000")
    seen = Agreement(label="exploration", grades=2, n=400, positives=90, kappa=value, min_kappa=0.6, lapse=lapse)
    name = f"{line} {short(checkpoint)}" if checkpoint else line
    return JudgeCalibration(
        judge=name, judge_digest=checkpoint or "d", checkpoint_id=checkpoint, label_set="test split", rubric_digest="r",
        labels_digest=f"{kappa}", replies=400, consistency=value, agreements=(seen,),
    )  # fmt: skip


def materialised() -> tuple[dg.AssetMaterialization, dict[str, bool]]:
    result = defs().resolve_implicit_global_asset_job_def().execute_in_process(asset_selection=[dg.AssetKey("judge_calibration")])
    assert result.success
    (made,) = result.asset_materializations_for_node("judge_calibration")
    return made, {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


def test_the_asset_keeps_each_calibration_as_a_record_and_checks_every_judge(state: State) -> None:
    made, checks = materialised()
    for found in calibrations(state):
        assert state.registry.get(found.id, JudgeCalibration) == found
    assert checks == {"lexical_v3": False, "conduct_v1": True, "further_judges": True}
    assert "23 of 25 labels** may be relied on" in str(made.metadata["summary"].value)
    assert "no further judge** has spoken" in str(made.metadata["further judges"].value)


def test_the_asset_shows_the_latest_calibration_of_every_trained_judge_and_warns_of_a_lapse(state: State) -> None:
    before, _ = materialised()
    older, newer, good = calibration("judge-a", 0.7), calibration("judge-a", 0.45), calibration("judge-b", 0.72)
    others = calibration("llm some-model", 0.3, checkpoint=None), calibration("llm vast as vast-2", 0.8, checkpoint=None)
    for found in (older, newer, good, *others, calibration("lexical-v1", 0.2, checkpoint=None)):
        state.registry.put(found)
    made, checks = materialised()
    assert checks == {"lexical_v3": False, "conduct_v1": True, "further_judges": False}
    table = str(made.metadata["further judges"].value)
    assert "**2 of 4 labels** of further judges may be relied on" in table
    rows = [line for line in table.splitlines() if "judge-" in line]
    assert [short(newer.id) in rows[0], "0.45 (0.35 to 0.55)" in rows[0], "0.60 is needed" in rows[0]] == [True] * 3
    assert [short(good.id) in rows[1], "0.72 (0.62 to 0.82)" in rows[1], "yes" in rows[1]] == [True] * 3
    assert all(short(found.id) in table for found in others)
    assert short(older.id) not in table
    assert "lexical-v1" not in table  # nobody speaks by it any more
    assert newer.id in str(made.metadata["ids"].value)
    assert made.tags is not None
    assert before.tags is not None
    assert made.tags["dagster/data_version"] != before.tags["dagster/data_version"]


def test_a_judge_that_is_recalled_is_not_shown(state: State) -> None:
    kept, recalled = calibration("judge-a", 0.7), calibration("judge-b", 0.7, checkpoint="ck_" + "b" * 64)
    for found in (kept, recalled):
        state.registry.put(found)
    with state.registry.writing() as connection:
        row = {"kind": "record", "value": recalled.id, "reason": "withdrawn", "actor": "me", "at": "2026-01-01T00:00:00Z"}
        seq = connection.execute(sa.insert(t.recalls).values(**row)).inserted_primary_key
        assert seq is not None
        spread_in(connection, seq[0], [recalled.id])
    assert further_calibrations(state) == (kept,)


def test_what_is_looked_up_does_not_grow_with_what_was_judged(state: State) -> None:
    asked: list[str] = []

    def looked_up() -> int:
        asked.clear()
        assert len(further_calibrations(state)) == 1
        return len(asked)

    state.registry.put(calibration("judge-a", 0.7))
    sa.event.listen(sa.Engine, "before_cursor_execute", note := lambda *said: asked.append(said[2]))
    try:
        once = looked_up()
        for kappa in range(100):
            state.registry.put(calibration("judge-a", 0.6 + kappa / 1000))
        assert looked_up() == once
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    with state.registry.reading() as connection:
        (listing,) = [statement for statement in asked if "ORDER BY records.seq DESC" in statement]
        plan = [str(row[-1]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {listing}", ("jc", 200, 0))]
    assert any("records_by_kind (kind=?)" in step for step in plan), plan
