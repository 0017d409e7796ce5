"""Links in few looks: the same whichever way they are read, capped with counts, and by indexes on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pe_training.lineage import graph, held, impact, runs, trace
from pe_training.lineage.horizon import ALWAYS, Horizon, newest_query
from pe_training.lineage.trace import Tree, trace_down, trace_up
from pe_training.settings import Settings
from pe_training.storage import tables as t
from pe_training.storage import taints
from pe_training.storage.state import State
from pe_training_tests.lineage import factory
from pe_training_tests.postgres_server import PostgresServer
from pe_training_tests.promotion import factory as promotion
from pe_training_tests.tampering import past_the_ledger


@pytest.fixture
def state(tmp_path: Path) -> State:
    return promotion.new_state(tmp_path / "home")


def test_many_looks_and_one_look_tell_the_same(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain, decision = factory.whole_chain(state, tmp_path)
    seen = Horizon(seq=999, at=ALWAYS)
    one = trace_up(state, decision.id), trace_down(state, chain.dataset.id), trace_down(state, chain.dataset.id, seen=seen)
    monkeypatch.setattr(graph, "MOST_LINKS", 0)
    assert trace_up(state, decision.id) == one[0]
    monkeypatch.setattr(graph, "MOST_LINKS", 9)
    assert (trace_down(state, chain.dataset.id), trace_down(state, chain.dataset.id, seen=seen)) == one[1:]


@pytest.mark.parametrize("most_links", [500, 20])
def test_what_is_left_out_is_counted_by_kind_and_no_kind_hides_another(
    state: State, monkeypatch: pytest.MonkeyPatch, most_links: int
) -> None:
    monkeypatch.setattr(graph, "MOST_LINKS", most_links)
    first = promotion.make_chain(state, seed=0)
    for seed in range(1, 12):
        promotion.make_chain(state, seed=seed, dataset=first.dataset)
    tree = trace_down(state, first.dataset.id, limit=4)
    assert sorted(child.kind for child in tree.children) == ["mf", "mf", "run", "run"]
    assert (tree.truncated, tree.hidden, tree.uncounted) == (True, {"mf": 10, "run": 10}, False)
    monkeypatch.setattr(graph, "MOST_COUNTED", 7)
    again = trace_down(state, first.dataset.id, limit=4)
    assert (again.hidden, again.uncounted) == (({"mf": 10, "run": 10}, False) if most_links == 500 else ({"mf": 5, "run": 5}, True))


def test_the_newest_are_shown_of_many(state: State) -> None:
    first = promotion.make_chain(state, seed=0)
    others = [promotion.make_chain(state, seed=seed, dataset=first.dataset) for seed in range(1, 5)]
    tree = trace_down(state, first.dataset.id, limit=2)
    assert {child.id for child in tree.children} == {others[-1].run.id, others[-1].manifest.id}


def test_a_link_to_a_record_that_is_gone_does_not_hide_the_others(state: State) -> None:
    chain = promotion.make_chain(state)
    decision = promotion.judged(state, chain)
    with past_the_ledger(state.registry) as connection:
        connection.execute(sa.delete(t.records).where(t.records.c.id == chain.report.id))
    children = {child.id: child for child in trace_down(state, chain.checkpoint.id).children}
    assert (children[chain.report.id].missing, children[decision.id].missing) == (True, False)


def test_a_decision_whose_text_is_damaged_is_shown_without_a_verdict(state: State) -> None:
    chain = promotion.make_chain(state)
    decision = promotion.judged(state, chain)
    assert trace_up(state, decision.id).verdict == "pass"
    for text in ('{"verdict": ', "[]", '{"verdict": 7}'):
        with past_the_ledger(state.registry) as connection:
            connection.execute(sa.update(t.records).where(t.records.c.id == decision.id).values(body=text))
        assert trace_up(state, decision.id).verdict is None


QUERIES: dict[str, tuple[sa.Select[Any], dict[str, Any]]] = {
    "up": (graph.UP, {"id": "pd_1", "most": 501}),
    "down": (graph.DOWN, {"id": "ds_1", "most": 501}),
    "listed": (graph.LISTED, {"ids": ["ck_1", "ck_2"]}),
    "children": (graph.children_query("ds_1", limit=51), {}),
    "children then": (graph.children_query("ds_1", limit=51, seen=Horizon(seq=9, at=ALWAYS)), {}),
    "below": (impact.BELOW, {"ids": ["ds_1"]}),
    "held now": (held.HELD_NOW, {"lines": ["a", "b"]}),
    "held then": (held.HELD_THEN, {"lines": ["a", "b"], "at": "2026-01-01T00:00:00Z"}),
    "releases": (trace.RELEASES, {"ids": ["ds_1"], "at": ALWAYS}),
    "verdicts": (trace.BODIES, {"ids": ["pd_1"]}),
    "events": (runs.EVENTS, {"ids": ["run_1"], "at": ALWAYS}),
    "taints": (taints.TAINTED_NOW, {"ids": ["ck_1"]}),
    "taints then": (taints.TAINTED_THEN, {"ids": ["ck_1"], "at": "2026-01-01T00:00:00Z"}),
    "newest then": (newest_query("2026-01-01T00:00:00Z"), {}),
}
PLENTY, MORE = 2_000, 30_000


def fill(state: State) -> None:
    """Enough rows in each table that an index is worth its look, and statistics of them."""
    numbers, more = range(PLENTY), range(MORE)
    rows: dict[sa.Table, list[dict[str, Any]]] = {
        t.records: [
            {"id": f"ck_{n}", "kind": "ck", "key": str(n), "label": f"line {n}", "body": "{}", "created_at": "2026-01-01T00:00:00Z"}
            for n in more
        ],
        t.edges: [{"child": f"ck_{n}", "role": "run", "parent": f"run_{n}"} for n in more],
        t.stages: [{"line": f"line {n}", "stage": "staging", "checkpoint_id": f"ck_{n}", "version": 1} for n in numbers],
        t.stage_moves: [
            {"line": f"line {n}", "stage": "staging", "action": "promote", "to_id": f"ck_{n}", "actor": "a", "reason": "r", "at": ALWAYS}
            for n in numbers
        ],
        t.releases: [
            {"digest": str(n), "name": "n", "version": "v", "outcome": "accepted", "dataset_id": f"ds_{n}", "report_digest": "d", "at": "t"}
            for n in numbers
        ],
        t.run_events: [{"run_id": f"run_{n}", "kind": "rollback", "body": "{}", "at": "t"} for n in numbers],
        t.recalls: [{"kind": "family", "value": "v", "reason": "r", "actor": "a", "at": "t"} for _ in numbers],
        t.taints: [{"record_id": f"ck_{n}", "recall_seq": n} for n in numbers],
    }
    with past_the_ledger(state.registry) as connection:
        for table, values in rows.items():
            connection.execute(sa.insert(table), values)
        connection.exec_driver_sql("ANALYZE")


def plan(connection: sa.Connection, query: sa.Select[Any], values: dict[str, Any]) -> list[str]:
    """The database's own account of how it would answer."""
    if values:
        query = query.params(**values)
    text = str(query.compile(connection.engine, compile_kwargs={"literal_binds": True}))
    how = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    return [str(row[-1]) for row in connection.exec_driver_sql(f"{how} {text}".replace("%", "%%"))]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> State:
    state = promotion.new_state(tmp_path_factory.mktemp("full"))
    fill(state)
    return state


@pytest.fixture(scope="module")
def full_on_postgres(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    home = tmp_path_factory.mktemp("full")
    state = State(Settings(home=home, artifacts_url="", database_url=postgres.new_database("lineage_plans")))
    fill(state)
    yield state
    state.registry.close()


@pytest.mark.parametrize("name", QUERIES)
def test_every_look_searches_an_index_on_sqlite_with_statistics_too(full: State, name: str) -> None:
    with full.registry.reading() as connection:
        steps = plan(connection, *QUERIES[name])
    assert any(step.startswith("SEARCH") and ("INDEX" in step or "PRIMARY KEY" in step) for step in steps), steps
    scans = [step for step in steps if step.startswith("SCAN") and step.split()[1] in t.metadata.tables]
    assert scans == []
    assert [step for step in steps if "(rowid<" in step or "(rowid>" in step] == []  # a walk along half of a table is called a search, too


@pytest.mark.parametrize("name", QUERIES)
def test_every_look_searches_an_index_on_postgres(full_on_postgres: State, name: str) -> None:
    with full_on_postgres.registry.reading() as connection:
        steps = plan(connection, *QUERIES[name])
    assert any("Index" in step for step in steps), steps
    assert [step for step in steps if "Seq Scan" in step] == []


def test_the_account_of_a_look_without_an_index_would_be_noticed(full: State, full_on_postgres: State) -> None:
    query = sa.select(t.records.c.id).where(t.records.c.body == "x")
    with full.registry.reading() as connection:
        assert plan(connection, query, {}) == ["SCAN records"]
    with full_on_postgres.registry.reading() as connection:
        assert "Seq Scan on records" in plan(connection, query, {})[0]


def test_a_trace_on_postgres_is_the_same(postgres: PostgresServer, state: State, tmp_path: Path) -> None:
    other = State(Settings(home=tmp_path / "other", artifacts_url="", database_url=postgres.new_database("lineage_trace")))
    trees: list[tuple[Tree, Tree, impact.Impact]] = []
    for one in (state, other):
        chain, decision = factory.whole_chain(one, tmp_path / str(len(trees)))
        found = impact.impact_of(one, chain.dataset.id)
        trees.append((_timeless(trace_up(one, decision.id)), _timeless(trace_down(one, chain.dataset.id)), found))
    other.registry.close()
    assert trees[0] == trees[1]


def _timeless(tree: Tree) -> Tree:
    return replace(tree, made_at=None, children=tuple(map(_timeless, tree.children)))
