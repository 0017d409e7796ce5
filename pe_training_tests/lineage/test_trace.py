"""Traces: both ways, capped and saying so, by indexes only, and past damage."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from rich.console import Console
from sqlalchemy.dialects import sqlite

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import is_digest
from pe_training.lineage.trace import Tree, children_query, node_query, parents_query, release_query, trace_down, trace_up
from pe_training.storage.state import State
from pe_training.training.events import record_event
from pe_training.views.console import lineage_tree
from pe_training_tests.lineage import factory
from pe_training_tests.promotion import factory as promotion


@pytest.fixture
def state(tmp_path: Path) -> State:
    return promotion.new_state(tmp_path / "home")


def drawn(tree: Tree, indent: int = 0) -> list[str]:
    lines = [f"{'  ' * indent}{tree.role}:{tree.kind}:{tree.label}"]
    for child in tree.children:
        lines += drawn(child, indent + 1)
    return lines


def test_a_decision_traces_up_to_the_release_of_its_data(state: State, tmp_path: Path) -> None:
    _, decision = factory.whole_chain(state, tmp_path)
    tree = trace_up(state, decision.id)
    data = ["dataset:ds:tiny", "  release:release:tiny v1 (accepted)"]
    checkpoint = ["checkpoint:ck:empathy", "  run:run:empathy", *("    " + line for line in data)]
    assert drawn(tree) == [
        ":pd:empathy",
        *("  " + line for line in checkpoint),
        "  manifest:mf:empathy", *("    " + line for line in data),
        "  report:ev:empathy", *("    " + line for line in checkpoint),
    ]  # fmt: skip
    release = tree.children[0].children[0].children[0].children[0]
    assert is_digest(release.id)


def test_what_a_run_went_on_from_stands_in_the_trace_of_its_model(state: State, tmp_path: Path) -> None:
    chain, decision = factory.whole_chain(state, tmp_path)
    for kind in ("rollback", "saved", "rollback", "out_of_memory"):
        record_event(state, chain.run.id, kind, {"to_step": 3})
    run = trace_up(state, decision.id).children[0].children[0]
    assert run.recoveries == ("rollback", "rollback", "out_of_memory")
    screen = Console(width=200, file=StringIO())
    screen.print(lineage_tree(trace_up(state, decision.id)))
    assert "(went on after rollback x 2, out of memory x 1: see pe show)" in screen.file.getvalue()  # type: ignore[attr-defined]


def test_a_dataset_traces_down_to_every_decision(state: State, tmp_path: Path) -> None:
    chain, decision = factory.whole_chain(state, tmp_path)
    tree = trace_down(state, chain.dataset.id)
    assert sorted(child.kind for child in tree.children) == ["mf", "run"]
    ends = {line.strip() for line in drawn(tree)}
    assert {"checkpoint:ev:empathy", "report:pd:empathy", "manifest:pd:empathy", "checkpoint:pd:empathy"} <= ends
    assert decision.id in str(tree)


def test_a_wide_tree_is_capped_and_says_so(state: State) -> None:
    first = promotion.make_chain(state, seed=0)
    for seed in range(1, 4):
        promotion.make_chain(state, seed=seed, dataset=first.dataset)
    tree = trace_down(state, first.dataset.id, depth=1, limit=3)
    assert (len(tree.children), tree.truncated) == (3, True)
    everything = trace_down(state, first.dataset.id, depth=1, limit=8)
    assert (len(everything.children), everything.truncated) == (8, False)
    assert all(child.children == () and child.truncated for child in everything.children if child.kind == "run")


def test_a_record_that_is_gone_shows_as_missing(state: State) -> None:
    chain = promotion.make_chain(state)
    with state.registry.writing() as connection:
        connection.exec_driver_sql("DELETE FROM records WHERE id = ?", (chain.run.id,))
    tree = trace_up(state, chain.checkpoint.id)
    assert [(child.missing, child.label) for child in tree.children] == [(True, "(not in the registry)")]


def test_links_in_a_circle_end_at_the_depth(state: State) -> None:
    chain = promotion.make_chain(state)
    with state.registry.writing() as connection:
        connection.exec_driver_sql("UPDATE edges SET parent = ? WHERE child = ?", (chain.checkpoint.id, chain.run.id))
    lines = drawn(trace_up(state, chain.checkpoint.id, depth=5))
    assert len(lines) == 6


def test_tracing_what_does_not_exist_is_not_found(state: State) -> None:
    with pytest.raises(PeError) as caught:
        trace_up(state, "ck_" + "0" * 32)
    assert caught.value.kind == Kind.NOT_FOUND
    assert str(caught.value) == "no record ck_0000000000 (`pe ls` lists the kinds)"


@pytest.mark.parametrize(
    "query", [node_query("ck_1"), parents_query("ck_1"), children_query("ck_1", limit=3), release_query("tiny", "ds_1")], ids=str
)
def test_every_look_of_a_trace_uses_an_index(state: State, query: sa.Select[Any]) -> None:
    text = str(query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    with state.registry.reading() as connection:
        plan = [str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
    assert any("USING" in step and "INDEX" in step for step in plan)
    assert not any(step.startswith("SCAN") for step in plan)
