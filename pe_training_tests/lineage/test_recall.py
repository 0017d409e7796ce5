"""Recalls: exactly what was made from the data is tainted, in one transaction, for as long as a recall holds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.datasets.gate import acceptances_query, attempts
from pe_training.datasets.recall import Selector, parse_selector
from pe_training.lineage.recall import impact, lift, lift_impact, lifted_query, recall, recalls, taints_of
from pe_training.lineage.substitutes import TaintedStage
from pe_training.lineage.trace import trace_up
from pe_training.promotion.candidates import decision_for_stage
from pe_training.promotion.stages import apply_decision, enter_training, promote, rollback
from pe_training.settings import Settings
from pe_training.storage import tables as t
from pe_training.storage.state import State
from pe_training.storage.taints import downstream_query, inherit_query, taints_query
from pe_training_tests.e2e.chain import environment
from pe_training_tests.lineage import recalling
from pe_training_tests.lineage.recalling import SHARED, World, make_world
from pe_training_tests.promotion import factory as promotion
from pe_training_tests.storage.things import in_a_child

WHO = {"actor": "ada", "reason": "consent was withdrawn"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def tainted(world: World) -> set[str]:
    return {identifier for identifier in world.everything() if taints_of(world.state, identifier)}


def refused(act: Callable[[], object]) -> PeError:
    with pytest.raises(PeError) as caught:
        act()
    assert caught.value.kind == Kind.REFUSED, caught.value
    return caught.value


def count(state: State, table: sa.Table) -> int:
    with state.registry.reading() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def content_hash(world: World, name: str) -> str:
    return str(recalling.rows_of(name)[3]["metadata"]["content_hash"])


SELECTORS: dict[str, tuple[Callable[[World], str], tuple[str, ...]]] = {
    "a whole version by its id": (lambda world: world.datasets["two"].id, ("two",)),
    "the beginning of an id": (lambda world: short(world.datasets["two"].id), ("two",)),
    "a version by its name": (lambda world: "three@v1", ("three",)),
    "a family": (lambda world: "family:cptsd", ("one",)),
    "a licence": (lambda world: "licence:reddit_cc", ("two",)),
    "a row": (lambda world: recalling.row_digest(world, "one"), ("one",)),
    "a dialogue by its content": (lambda world: content_hash(world, "three"), ("three",)),
    "a source key": (lambda world: "source_key:s3://two/part.jsonl", ("two",)),
    "a source key that two versions hold": (lambda world: f"source_key:{SHARED}", ("one", "two")),
}


@pytest.mark.parametrize("name", SELECTORS)
def test_a_recall_taints_exactly_what_was_made_from_the_data(world: World, name: str) -> None:
    text, datasets = SELECTORS[name]
    selector = parse_selector(text(world), state=world.state)
    before = impact(world.state, selector, **WHO)
    assert tainted(world) == set()
    assert count(world.state, t.recalls) == count(world.state, t.owed_alerts) == 0
    outcome = recall(world.state, selector, **WHO)
    assert tainted(world) == world.below(*datasets)
    assert {i for ids in outcome.tainted.values() for i in ids} == world.below(*datasets)
    assert (outcome.tainted, outcome.stages) == (before.tainted, before.stages)
    assert {kind: len(ids) for kind, ids in outcome.tainted.items()} == {
        kind: len(datasets) * (1 if kind == "ds" else 2) for kind in ("ds", "mf", "run", "ck", "ev", "pd")
    }


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("cptsd", Kind.INPUT),
        ("family:", Kind.INPUT),
        ("sha256:12", Kind.INPUT),
        ("family:cptds", Kind.NOT_FOUND),
        ("sha256:" + "0" * 64, Kind.NOT_FOUND),
        ("source_key:s3://nowhere", Kind.NOT_FOUND),
        ("one@v9", Kind.NOT_FOUND),
        ("ds_0000", Kind.NOT_FOUND),
    ],
)
def test_what_no_version_holds_is_not_recalled(world: World, text: str, kind: Kind) -> None:
    with pytest.raises(PeError) as caught:
        recall(world.state, parse_selector(text, state=world.state), **WHO)
    assert caught.value.kind == kind
    assert caught.value.hint
    assert count(world.state, t.recalls) == count(world.state, t.taints) == 0


def test_a_recall_needs_a_reason(world: World) -> None:
    with pytest.raises(PeError) as caught:
        recall(world.state, Selector(kind="family", value="cptsd"), reason=" ", actor="ada")
    assert caught.value.kind == Kind.INPUT


def test_lifting_a_recall_restores_everything_and_keeps_the_history(world: World) -> None:
    outcome = recall(world.state, Selector(kind="family", value="cptsd"), **WHO)
    assert outcome.seq is not None
    planned = lift_impact(world.state, outcome.seq, reason="wrong file", actor="bea")
    assert tainted(world) == world.below("one")
    lifted = lift(world.state, outcome.seq, reason="wrong file", actor="bea")
    assert lifted == planned
    assert lifted.restored == outcome.tainted
    assert lifted.still_tainted == {}
    assert tainted(world) == set()
    (row,) = recalls(world.state)
    assert (row.reason, row.lifted_by, row.lift_reason) == ("consent was withdrawn", "bea", "wrong file")
    chain = world.models["one"][1].chain
    enter_training(chain.checkpoint.id, state=world.state, **WHO)
    with pytest.raises(PeError) as caught:
        lift(world.state, outcome.seq, reason="again", actor="bea")
    assert caught.value.kind == Kind.CONFLICT
    with pytest.raises(PeError) as caught:
        lift(world.state, 99, reason="again", actor="bea")
    assert caught.value.kind == Kind.NOT_FOUND


def test_of_two_recalls_of_one_record_the_other_goes_on_tainting(world: World) -> None:
    first = recall(world.state, parse_selector(recalling.row_digest(world, "one"), state=world.state), **WHO)
    second = recall(world.state, Selector(kind="source_key", value=SHARED), **WHO)
    assert first.seq is not None
    assert second.seq is not None
    lifted = lift(world.state, second.seq, reason="wrong key", actor="bea")
    assert {i for ids in lifted.restored.values() for i in ids} == world.below("two")
    assert {i for ids in lifted.still_tainted.values() for i in ids} == world.below("one")
    assert tainted(world) == world.below("one")
    assert [found.seq for found in taints_of(world.state, world.datasets["one"].id)] == [first.seq]


def test_a_record_that_is_made_from_a_tainted_one_is_tainted_at_birth(world: World) -> None:
    outcome = recall(world.state, Selector(kind="family", value="cptsd"), **WHO)
    assert outcome.seq is not None
    chain = promotion.make_chain(world.state, seed=9, line="one", dataset=world.datasets["one"])
    clean = promotion.make_chain(world.state, seed=9, line="three", dataset=world.datasets["three"])
    made = (chain.manifest, chain.run, chain.checkpoint, chain.report)
    assert all(len(taints_of(world.state, record.id)) == 1 for record in made)
    assert not any(taints_of(world.state, record.id) for record in (clean.manifest, clean.run, clean.checkpoint, clean.report))
    assert chain.report.id in lift(world.state, outcome.seq, reason="wrong", actor="bea").restored["ev"]
    again = promotion.make_chain(world.state, seed=10, line="one", dataset=world.datasets["one"])
    assert taints_of(world.state, again.checkpoint.id) == ()


def test_every_door_to_a_stage_is_shut_for_a_tainted_model_and_each_attempt_is_kept(world: World) -> None:
    state, (old, new) = world.state, world.models["one"]
    rollback("one", stage="staging", state=state, **WHO)
    recall(state, Selector(kind="family", value="cptsd"), **WHO)
    checkpoint, decision = new.chain.checkpoint.id, new.decision
    doors: dict[str, Callable[[], object]] = {
        "promotion": lambda: promote(checkpoint, stage="staging", decision_id=decision.id, state=state, **WHO),
        "rollback": lambda: rollback("one", stage="staging", to=checkpoint, state=state, **WHO),
        "enter": lambda: enter_training(checkpoint, state=state, **WHO),
        "promotion by its decision": lambda: apply_decision(decision, state=state),
        "promotion by hand": lambda: decision_for_stage(checkpoint, "production", state=state),
        "judge": lambda: promotion.judged(state, new.chain),
    }
    for number, (door, act) in enumerate(doors.items(), start=1):
        error = refused(act)
        assert error.message == f"{short(checkpoint)} comes from recalled data: recall 1 of family cptsd (consent was withdrawn)"
        assert error.hint is not None
        assert "pe recall --lift 1 --reason WHY" in error.hint
        (attempt, *_) = attempts(state)
        assert (attempt.seq, attempt.route, attempt.subject, attempt.message) == (number, door.split()[0], checkpoint, error.message)
    with state.registry.reading() as connection:
        held = connection.execute(
            sa.select(t.stages.c.checkpoint_id).where(t.stages.c.line == "one", t.stages.c.stage == "staging")
        ).scalar()
    assert held == old.chain.checkpoint.id


def test_the_evaluation_process_refuses_a_tainted_model_when_it_is_called_directly(world: World) -> None:
    state, chain = world.state, world.models["one"][1].chain
    recall(state, Selector(kind="family", value="cptsd"), **WHO)
    command = [sys.executable, "-m", "pe_training.evaluation", chain.checkpoint.id, chain.manifest.id]
    done = subprocess.run(command, env=environment(state.settings.root), capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == Kind.REFUSED.exit_code
    (attempt,) = attempts(state)
    assert (attempt.route, attempt.subject) == ("evaluation", chain.checkpoint.id)
    assert len(state.registry.rows("ev")) == 6


def test_a_recall_between_the_look_and_the_move_still_stops_the_move(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from pe_training.promotion import targets

    state, (old, new) = world.state, world.models["one"]
    look, looked = targets.proved_decision, []

    def recalled_meanwhile(*arguments: Any) -> Any:
        found = look(*arguments)
        if not looked:
            looked.append(recall(state, Selector(kind="family", value="cptsd"), **WHO))
        return found

    monkeypatch.setattr(targets, "proved_decision", recalled_meanwhile)
    refused(lambda: rollback("one", stage="staging", state=state, **WHO))
    assert looked
    with state.registry.reading() as connection:
        held = connection.execute(
            sa.select(t.stages.c.checkpoint_id).where(t.stages.c.line == "one", t.stages.c.stage == "staging")
        ).scalar()
    assert held == new.chain.checkpoint.id != old.chain.checkpoint.id
    assert [attempt.route for attempt in attempts(state)] == ["rollback"]


def test_the_newest_untainted_model_of_each_stage_is_named_and_its_command_works(tmp_path: Path) -> None:
    world = make_world(tmp_path, lines=lambda name: "empathy")  # one, then two, then three hold the stages
    state = world.state
    last, before = (world.models[name][1].chain.checkpoint.id for name in ("three", "two"))
    recall(state, Selector(kind="family", value="addiction"), **WHO)  # of two: no stage holds it
    outcome = recall(state, Selector(kind="family", value="sarcasm"), **WHO)
    wanted = world.models["one"][1].chain.checkpoint.id
    assert outcome.stages == tuple(
        TaintedStage(
            line="empathy", stage=stage, checkpoint_id=last, replacement=wanted, command=f"pe rollback {stage} --line empathy --to {wanted}"
        )
        for stage in ("training", "staging")
    )
    refused(lambda: rollback("empathy", stage="staging", state=state, **WHO))  # without --to it would be the one before, also recalled
    refused(lambda: rollback("empathy", stage="staging", to=before, state=state, **WHO))
    for stage in outcome.stages:
        assert rollback("empathy", stage=stage.stage, to=stage.replacement, state=state, **WHO).checkpoint_id == wanted
    third = recall(state, Selector(kind="family", value="cptsd"), **WHO)
    assert [(stage.stage, stage.replacement, stage.command) for stage in third.stages] == [
        ("training", None, None),
        ("staging", None, None),
    ]


def test_a_stage_without_a_clean_past_takes_what_has_passed_and_will_hold_the_stage_below(tmp_path: Path) -> None:
    world = make_world(tmp_path, lines=lambda name: "empathy")
    state, first, last = world.state, world.models["one"][1], world.models["three"][1]
    for model in (first, last):
        promotion.judged(state, promotion.again_under(state, model.chain, "production"))
    apply_decision(promotion.judged(state, promotion.again_under(state, last.chain, "production")), state=state)
    recall(state, Selector(kind="family", value="addiction"), **WHO)
    outcome = recall(state, Selector(kind="family", value="sarcasm"), **WHO)
    wanted = first.chain.checkpoint.id
    assert {stage.stage: stage.command for stage in outcome.stages} == {
        "training": f"pe rollback training --line empathy --to {wanted}",
        "staging": f"pe rollback staging --line empathy --to {wanted}",
        "production": f"pe promote {wanted} --to production",
    }


def test_an_alert_is_owed_that_repeats_no_reason(world: World) -> None:
    recall(world.state, Selector(kind="family", value="cptsd"), **WHO)
    lift(world.state, 1, reason="wrong file", actor="bea")
    with world.state.registry.reading() as connection:
        rows = connection.execute(sa.select(t.owed_alerts).order_by(t.owed_alerts.c.seq)).all()
    assert [(row.kind, row.severity, row.delivered_at) for row in rows] == [
        ("recall", "critical", None),
        ("recall_lifted", "warning", None),
    ]
    body = json.loads(rows[0].body)
    assert body["tainted"] == {"ds": 1, "mf": 2, "run": 2, "ck": 2, "ev": 2, "pd": 2}
    assert [(stage["line"], stage["stage"]) for stage in body["stages"]] == [("one", "training"), ("one", "staging")]
    assert WHO["reason"] not in rows[0].body


def test_a_trace_marks_what_is_tainted(world: World) -> None:
    recall(world.state, Selector(kind="family", value="cptsd"), **WHO)
    tree = trace_up(world.state, world.models["one"][0].decision.id)
    assert tree.recalls == (1,)
    assert {child.recalls for child in tree.children} == {(1,)}
    assert trace_up(world.state, world.models["two"][0].decision.id).recalls == ()


def test_a_recall_that_is_killed_at_any_statement_leaves_all_of_it_or_nothing(world: World) -> None:
    code = """
import sqlalchemy as sa
from pe_training.datasets.recall import Selector
from pe_training.lineage.recall import recall
def attempt(n):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    state, calls = State(Settings(home=Path(sys.argv[1]), artifacts_url="", database_url="")), [0]
    state.registry
    def count(*_):
        calls[0] += 1
        if calls[0] == n:
            os.kill(os.getpid(), signal.SIGKILL)
    for event in ("before_cursor_execute", "after_cursor_execute", "commit"):
        sa.event.listen(sa.Engine, event, count)
    recall(state, Selector(kind="family", value="cptsd"), reason="r", actor="a")
    os._exit(0)
def facts():
    state = State(Settings(home=Path(sys.argv[1]), artifacts_url="", database_url=""))
    with state.registry.reading() as connection:
        found = [connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar() for name in ("recalls", "taints", "owed_alerts")]
    state.registry.close()
    return found
seen, step = [], 0
while True:
    step += 1
    code = attempt(step)
    seen.append([code, facts()])
    if code == 0:
        break
sys.stdout.write(json.dumps(seen))
"""
    seen = in_a_child(code, Path(world.state.settings.root))
    assert len(seen) > 12
    assert all(entry == [-9, [0, 0, 0]] for entry in seen[:-1]), seen
    assert seen[-1] == [0, [1, 11, 1]]


@pytest.mark.parametrize(
    "query",
    [downstream_query(["ds_1"]), taints_query(["ck_1"]), inherit_query("ck_1"), lifted_query(1), acceptances_query("ds_1")],
    ids=["downstream", "taints", "inherit", "lifted", "accepted"],
)
def test_no_question_about_taints_reads_a_whole_table(world: World, query: Any) -> None:
    text = str(query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    with world.state.registry.reading() as connection:
        plan = [str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
    steps = [step for step in plan if step.startswith(("SCAN", "SEARCH"))]
    assert all(step.startswith("SEARCH") or step == "SCAN down" for step in steps), plan  # the walk's own queue is read once
    assert any(step.startswith("SEARCH") and ("INDEX" in step or "PRIMARY KEY" in step) for step in steps)


def test_a_number_beyond_the_database_is_an_input_error(tmp_path: Path) -> None:
    state = State(Settings(home=tmp_path))
    for ask in (lambda: lift(state, 10**30, reason="x", actor="ada"), lambda: recalls(state, before=10**30)):
        with pytest.raises(PeError, match="larger than any") as caught:
            ask()
        assert caught.value.kind == Kind.INPUT
