"""The registry as it was: by moments and by numbers, with everything that came later left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.recall import Selector
from pe_training.lineage.horizon import Horizon, horizon
from pe_training.lineage.impact import impact_of
from pe_training.lineage.recall import lift, tainted_by
from pe_training.lineage.recall import recall as take_back
from pe_training.lineage.trace import trace_down, trace_up
from pe_training.promotion.stages import apply_decision, rollback
from pe_training.storage import tables as t
from pe_training.storage.state import State
from pe_training_tests.lineage import factory, recalling
from pe_training_tests.promotion import factory as promotion
from pe_training_tests.tampering import past_the_ledger

TABLES = {t.records: "created_at", t.stage_moves: "at", t.recalls: "at", t.releases: "at"}


@pytest.fixture
def state(tmp_path: Path) -> State:
    return promotion.new_state(tmp_path / "home")


def date(state: State, day: str) -> None:
    """Everything that was written since the last call was written on this day."""
    with past_the_ledger(state.registry) as connection:
        for table, column in TABLES.items():
            connection.execute(sa.update(table).where(table.c[column] > "2026").values({column: f"{day}T12:00:00Z"}))


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2021-03-04", "2021-03-04T23:59:59Z"),
        ("2021-03-04T05:06", "2021-03-04T05:06:00Z"),
        ("2021-03-04t05:06:07z", "2021-03-04T05:06:07Z"),
        ("2021-03-04T05:06:07+02:00", "2021-03-04T03:06:07Z"),
        ("2021-03-04 05:06:07", "2021-03-04T05:06:07Z"),
    ],
)
def test_a_moment_is_read_as_people_write_it(state: State, text: str, at: str) -> None:
    assert horizon(state, text) == Horizon(seq=0, at=at)


@pytest.mark.parametrize("text", ["", "yesterday", "2021-13-01", "-1", "1.5", "0001-01-01T00:00:00+23:59", "\u0663"])
def test_what_is_no_moment_is_refused_with_the_forms(state: State, text: str) -> None:
    with pytest.raises(PeError) as caught:
        horizon(state, text)
    assert caught.value.kind == Kind.INPUT
    assert "write 2026-01-31T12:00:00Z" in (caught.value.hint or "")


def test_a_seq_is_a_horizon_and_one_that_is_not_there_is_not_found(state: State) -> None:
    chain = promotion.make_chain(state)
    (row,) = state.registry.rows("run")
    assert horizon(state, str(row.seq)) == Horizon(seq=row.seq, at=row.created_at)
    with pytest.raises(PeError, match="no record has the seq 999"):
        horizon(state, "999")
    assert trace_down(state, chain.dataset.id, seen=horizon(state, str(row.seq))).children != ()


def test_a_trace_down_ends_where_the_registry_ended_then(state: State, tmp_path: Path) -> None:
    dataset, _ = factory.sealed_dataset(state, tmp_path)
    date(state, "2020-01-01")
    first = promotion.make_chain(state, seed=1, dataset=dataset)
    date(state, "2020-02-01")
    second = promotion.make_chain(state, seed=2, dataset=dataset)
    date(state, "2020-03-01")
    day = {month: str(trace_down(state, dataset.id, seen=horizon(state, f"2020-0{month}-15"))) for month in (1, 2, 3)}
    assert first.run.id not in day[1]
    assert first.report.id in day[2]
    assert second.run.id not in day[2]
    assert second.report.id in day[3]
    assert impact_of(state, dataset.id, seen=horizon(state, "2020-02-15")).counts == {"ds": 1, "mf": 1, "run": 1, "ck": 1, "ev": 1}


def test_what_was_not_there_yet_is_not_found_then(state: State, tmp_path: Path) -> None:
    chain, decision = factory.whole_chain(state, tmp_path)
    early = horizon(state, "2019-01-01")
    for look in (trace_up, trace_down):
        with pytest.raises(PeError, match=r"was made at 20.*, after 2019-01-01T23:59:59Z") as caught:
            look(state, decision.id, seen=early)
        assert caught.value.kind == Kind.NOT_FOUND
    with pytest.raises(PeError, match=r"nothing held dataset version ds_.* at 2019-01-01"):
        impact_of(state, chain.dataset.id, seen=early)


def test_taints_and_stages_are_those_of_then(tmp_path: Path) -> None:
    world = recalling.make_world(tmp_path)
    state, (old, new) = world.state, world.models["one"]
    date(state, "2020-01-01")
    selector = recalling_selector(world)
    seq = take_back(state, selector, reason="consent", actor="ada").seq
    date(state, "2020-02-01")
    assert seq is not None
    lift(state, seq, reason="a mistake", actor="ada")
    with past_the_ledger(state.registry) as connection:
        connection.execute(sa.update(t.recalls).values(lifted_at="2020-03-01T12:00:00Z"))
    rollback("one", stage="staging", actor="ada", reason="drill", state=state)
    date(state, "2020-04-01")
    seen = {month: horizon(state, f"2020-0{month}-15") for month in (1, 2, 3, 4)}
    taints = {month: trace_up(state, new.decision.id, seen=then).recalls for month, then in seen.items()}
    assert taints == {1: (), 2: (seq,), 3: (), 4: ()}
    assert {month: tainted_by(state, [new.decision.id], at=then.at) for month, then in seen.items()}[2] == {new.decision.id: (seq,)}

    def holder(month: int) -> set[str]:
        found = impact_of(state, world.datasets["one"].id, seen=seen[month]).stages
        return {held.checkpoint_id for held in found if held.stage == "staging"}

    assert (holder(3), holder(4)) == ({new.chain.checkpoint.id}, {old.chain.checkpoint.id})
    assert "staging" in trace_up(state, new.decision.id, seen=seen[3]).children[0].stages
    assert "staging" not in trace_up(state, new.decision.id, seen=seen[4]).children[0].stages


def test_a_release_that_came_later_is_not_told_of_then(state: State, tmp_path: Path) -> None:
    chain, decision = factory.whole_chain(state, tmp_path)
    date(state, "2020-01-01")
    with past_the_ledger(state.registry) as connection:
        again = {"digest": "sha256:" + "9" * 64, "name": "tiny", "version": "v2", "outcome": "accepted", "dataset_id": chain.dataset.id}
        connection.execute(sa.insert(t.releases).values(**again, report_digest="sha256:" + "8" * 64, at="2020-02-01T12:00:00Z"))
    apply_decision(decision, state=state)
    assert "tiny v2" in str(trace_up(state, chain.dataset.id))
    assert "tiny v2" not in str(trace_up(state, chain.dataset.id, seen=horizon(state, "2020-01-15")))


def recalling_selector(world: recalling.World) -> Selector:
    return Selector(kind="version", value=world.datasets["one"].id)
