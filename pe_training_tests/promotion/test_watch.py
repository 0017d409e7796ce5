"""The watch: what may not be served any more leaves if the policy lets it, is told once, and nothing moves while the world is silent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.datasets.recall import Selector
from pe_training.lineage.recall import recall
from pe_training.promotion import watch
from pe_training.promotion.events import events
from pe_training.promotion.pointers import current, history
from pe_training.promotion.roles import set_role
from pe_training.promotion.serving import place_file, resolve_place
from pe_training.promotion.watch import Watched, quick_findings, watch_line, watched_lines
from pe_training.settings import SAMPLES, Settings
from pe_training.storage import tables as t
from pe_training.storage.state import State
from pe_training_tests.promotion import factory
from pe_training_tests.promotion.standing import WHO, judged_again, produced, stricter


@pytest.fixture
def state(tmp_path: Path) -> State:
    return factory.new_state(tmp_path)


def calling(home: Path) -> State:
    """A home whose policy lets the watch call people only."""
    folder = home / "policies"
    folder.mkdir()
    for path in (SAMPLES / "policies").glob("*.yaml"):
        (folder / path.name).write_text(path.read_text().replace("on_watch: rollback", "on_watch: alert"))
    return State(Settings(home=home, artifacts_url="", database_url="", policies=folder))


def told(state: State) -> list[dict[str, Any]]:
    """The alerts that are owed by the watch, oldest first."""
    a = t.owed_alerts.c
    with state.registry.reading() as connection:
        rows = connection.execute(sa.select(a.body, a.severity).where(a.kind == "production_watch").order_by(a.seq)).all()
    assert {row.severity for row in rows} <= {"critical"}
    return [json.loads(row.body) for row in rows]


def seen(found: tuple[Watched, ...]) -> list[tuple[str, list[str], str, str | None]]:
    return [(one.place, [finding.kind for finding in one.findings], one.action, one.to_id) for one in found]


def test_what_is_sound_stays_and_its_file_is_healed(state: State) -> None:
    chain = produced(state, 1)
    place_file(state, "empathy", "production").unlink()
    assert seen(watch_line("empathy", state=state)) == [("production", [], "none", chain.checkpoint.id)]
    assert json.loads(place_file(state, "empathy", "production").read_bytes())["checkpoint"] == chain.checkpoint.id
    assert told(state) == []
    assert quick_findings("empathy", state=state) == ()


def test_a_recalled_model_goes_back_to_one_that_is_not(state: State, tmp_path: Path) -> None:
    first, second = produced(state, 1), produced(state, 2)
    recalled_alone(state, second)
    ((pointer, finding),) = quick_findings("empathy", state=state)
    assert (pointer.checkpoint_id, finding.message) == (
        second.checkpoint.id, f"{short(second.checkpoint.id)} comes from recalled data (recall 1)",
    )  # fmt: skip
    assert seen(watch_line("empathy", state=state)) == [("production", ["recalled"], "rollback", first.checkpoint.id)]
    move = history(state, line="empathy", stage="production")[0]
    assert (move.action, move.actor, move.to_id) == ("rollback", "watch", first.checkpoint.id)
    body = {
        "line": "empathy", "place": "production", "checkpoint": second.checkpoint.id, "action": "rollback", "to": first.checkpoint.id,
        "findings": ["recalled"],
    }  # fmt: skip
    assert told(state) == [body]
    assert [event.body for event in events(state, line="empathy", place="production", kind="watch")] == [body]
    assert resolve_place("empathy", "production", state=state).checkpoint == first.checkpoint
    assert seen(watch_line("empathy", state=state)) == [("production", [], "none", first.checkpoint.id)]


def recalled_alone(state: State, chain: factory.Chain) -> None:
    """Taint one model, as a recall of data that only it saw would."""
    with state.registry.writing() as connection:
        values = {"kind": "record", "value": "x", "reason": "said in confidence", "actor": "ada", "at": "2026-01-01T00:00:00Z"}
        made = connection.execute(sa.insert(t.recalls).values(**values)).inserted_primary_key
        assert made
        connection.execute(sa.insert(t.taints).values(record_id=chain.checkpoint.id, recall_seq=made[0]))


def test_where_nothing_sound_came_before_it_is_withdrawn_and_resolve_says_why(state: State) -> None:
    first, second = produced(state, 1), produced(state, 2)
    set_role("empathy", role="crisis", checkpoint_id=second.checkpoint.id, state=state, **WHO)
    recall(state, Selector(kind="version", value=first.dataset.id), reason="said in confidence", actor="ada")
    assert seen(watch_line("empathy", state=state)) == [
        ("production", ["recalled"], "withdraw", None), ("crisis", ["recalled"], "withdraw", None),
    ]  # fmt: skip
    for place in ("production", "crisis"):
        with pytest.raises(PeError) as caught:
            resolve_place("empathy", place, state=state)
        assert caught.value.kind == Kind.REFUSED
        assert caught.value.message.startswith(f"{place} of empathy was withdrawn: {short(second.checkpoint.id)} comes from recalled data")
        assert "confidence" not in place_file(state, "empathy", place).read_text()  # nobody's words leave
    assert [body["action"] for body in told(state)] == ["withdraw", "withdraw"]
    assert watch_line("empathy", state=state) == ()


def test_a_damaged_model_leaves_and_so_does_one_that_failed_again(state: State) -> None:
    first, second, third = produced(state, 1), produced(state, 2), produced(state, 3)
    factory.damage(state, third.checkpoint.content_files[0])
    assert quick_findings("empathy", state=state) == ()
    assert seen(watch_line("empathy", state=state)) == [("production", ["unproved"], "rollback", second.checkpoint.id)]
    judged_again(state, second, good=False)
    assert [finding.kind for _, finding in quick_findings("empathy", state=state)] == ["failed_again"]
    assert seen(watch_line("empathy", state=state)) == [("production", ["failed_again"], "rollback", first.checkpoint.id)]
    assert "not back to" in history(state, line="empathy", stage="production")[0].reason


def test_a_row_that_somebody_edited_is_found_and_put_back(state: State) -> None:
    first, second = produced(state, 1), produced(state, 2)
    stranger = factory.make_chain(state, seed=3, metrics=())
    with state.registry.writing() as connection:
        s = t.stages.c
        query = sa.update(t.stages).where(s.line == "empathy", s.stage == "production").values(checkpoint_id=stranger.checkpoint.id)
        connection.execute(query)
    with pytest.raises(PeError) as caught:
        resolve_place("empathy", "production", state=state)
    assert (caught.value.kind, caught.value.message) == (
        Kind.CORRUPT,
        f"production of empathy is said to be held by {short(stranger.checkpoint.id)}, and no move of the log put it there",
    )
    assert seen(watch_line("empathy", state=state)) == [("production", ["unearned"], "rollback", second.checkpoint.id)]
    assert first.checkpoint.id != resolve_place("empathy", "production", state=state).checkpoint.id == second.checkpoint.id


def test_a_policy_that_says_alert_moves_nothing_and_is_told_once(tmp_path: Path) -> None:
    state = calling(tmp_path)
    produced(state, 1)
    second = produced(state, 2)
    recalled_alone(state, second)
    for _ in range(3):
        assert seen(watch_line("empathy", state=state)) == [("production", ["recalled"], "alert", second.checkpoint.id)]
    assert len(told(state)) == 1
    factory.damage(state, second.checkpoint.content_files[0])
    watch_line("empathy", state=state)
    assert [body["findings"] for body in told(state)] == [["recalled"], ["recalled", "unproved"]]
    assert [p.checkpoint_id for p in current(state) if p.stage == "production"] == [second.checkpoint.id]
    with pytest.raises(PeError, match="comes from recalled data"):
        resolve_place("empathy", "production", state=state)  # nothing moved, and yet it is not served


def test_a_stricter_policy_takes_nothing_out_of_service(tmp_path: Path) -> None:
    state = State(Settings(home=tmp_path, artifacts_url="", database_url="", policies=tmp_path / "policies"))
    stricter(state, "dev")
    chain = produced(state, 1)
    stricter(state, "production")
    assert seen(watch_line("empathy", state=state)) == [("production", [], "none", chain.checkpoint.id)]


def test_a_policy_that_cannot_be_read_lets_nothing_move(tmp_path: Path) -> None:
    state = calling(tmp_path)
    recalled_alone(state, produced(state, 1))
    (state.settings.policy_folder / "production.yaml").write_text("name: [")
    assert [one.action for one in watch_line("empathy", state=state)] == ["alert"]


def test_a_store_that_does_not_answer_is_no_finding(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    produced(state, 1)
    silent = PeError(Kind.INFRASTRUCTURE, "the store failed", hint="wait")

    def nobody(*_: object) -> None:
        raise silent

    monkeypatch.setattr(watch, "proved_decision", nobody)
    with pytest.raises(PeError, match="the store failed"):
        watch_line("empathy", state=state)
    assert (told(state), len(history(state, line="empathy", stage="production"))) == ([], 1)


def test_the_move_the_event_and_the_alert_are_one_transaction(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    produced(state, 1)
    recalled_alone(state, produced(state, 2))

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("the last write of it")

    monkeypatch.setattr(watch, "owe_in", fails)
    with pytest.raises(RuntimeError):
        watch_line("empathy", state=state)
    assert events(state, line="empathy", place="production", kind="watch") == ()
    assert [move.action for move in history(state, line="empathy", stage="production")] == ["promote", "promote"]


def test_lines_that_serve_something_are_named_page_by_page(state: State) -> None:
    for line in ("a", "b", "c"):
        produced(state, 1, line=line)
    factory.make_chain(state, line="nothing-served")
    assert watched_lines(state, limit=2) == ["a", "b"]
    assert watched_lines(state, after="b", limit=2) == ["c"]
