"""What an operator types about stages that serve: resolve, export, withdraw, roles, drills, and the past."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pe_training.cli.main import main
from pe_training.core.ids import short
from pe_training.promotion.pointers import current, history
from pe_training.promotion.stages import apply_decision
from pe_training.storage.state import State
from pe_training_tests.promotion import factory
from pe_training_tests.promotion.living import living_chain
from pe_training_tests.promotion.standing import produced

Pe = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    for name in ("PE_ARTIFACTS_URL", "PE_DATABASE_URL", "PE_POLICIES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PE_ACTOR", "ada")
    monkeypatch.setenv("COLUMNS", "160")
    return factory.new_state(tmp_path / "home")


@pytest.fixture
def pe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pe:
    """``pe`` in this process: exit code, standard output, standard error."""

    def run(line: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pe", *shlex.split(line)])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    return run


def answer(pe: Pe, line: str, *, code: int = 0) -> Any:
    ended = pe(f"{line} --json")
    assert ended[0] == code, ended
    return json.loads(ended[1])


def test_resolve_names_files_decision_and_version_in_every_form(state: State, pe: Pe) -> None:
    chain = produced(state, 1)
    found = answer(pe, "resolve empathy")
    assert found["checkpoint"] == chain.checkpoint.id
    assert (found["line"], found["place"], found["version"]) == ("empathy", "production", 1)
    assert answer(pe, "resolve empathy production") == answer(pe, "resolve empathy@production") == found
    assert answer(pe, "resolve empathy@staging")["place"] == "staging"
    for file, stored in zip(found["files"], chain.checkpoint.files(), strict=True):
        assert (file["path"], file["digest"]) == (stored.path, stored.digest)
        assert Path(file["url"].removeprefix("file://")).stat().st_size == stored.size_bytes
    published = json.loads(Path(found["file"]).read_text())
    assert published == {name: value for name, value in found.items() if name != "file"}
    code, out, _ = pe("resolve empathy")
    assert code == 0
    assert "production of empathy, version 1" in out


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        ("resolve nobody", 2, "not_found"),
        ("resolve empathy prod", 2, "input"),
        ("resolve empathy --role boss", 2, "input"),
        ("resolve empathy --role crisis", 2, "not_found"),
        ("resolve empathy@staging production", 2, "input"),
        ("resolve empathy@staging --role crisis", 2, "input"),
        ("rollback production --line empathy --under-pinned-policy", 2, "input"),
        ("rollback production --line empathy", 1, "refused"),
        ("withdraw production --line empathy --reason ''", 2, "input"),
        ("stages --at yesterday", 2, "input"),
        ("export empathy@training DIR", 1, "refused"),
    ],
)
def test_what_cannot_be_answered_is_one_error(state: State, pe: Pe, words: str, code: int, kind: str) -> None:
    produced(state, 1)
    if "training" in words:
        factory_enter(state)
    assert answer(pe, words.replace("DIR", str(state.settings.root / "out")), code=code)["error"]["kind"] == kind


def factory_enter(state: State) -> None:
    """A candidate that nobody has judged holds training."""
    from pe_training.promotion.stages import enter_training

    enter_training(factory.make_chain(state, seed=9).checkpoint.id, actor="ada", reason="a look", state=state)


def test_a_role_is_set_shown_resolved_and_withdrawn(state: State, pe: Pe) -> None:
    chain = produced(state, 1)
    words = f"role set empathy crisis {short(chain.checkpoint.id)} --reason calm"
    assert answer(pe, f"{words} --dry-run")["applied"] is False
    assert [pointer.stage for pointer in current(state)] == ["training", "staging", "production"]
    made = answer(pe, words)
    assert (made["action"], made["actor"], made["reason"], made["applied"]) == ("assign", "ada", "calm", True)
    assert answer(pe, "resolve empathy --role crisis")["checkpoint"] == chain.checkpoint.id
    assert "crisis" in pe("stages --line empathy")[1]
    assert answer(pe, "withdraw crisis --line empathy --reason 'heard nonsense' --dry-run")["applied"] is False
    code, out, _ = pe("withdraw crisis --line empathy --reason 'heard nonsense'")
    assert (code, "withdrew" in out) == (0, True)
    error = answer(pe, "resolve empathy --role crisis", code=1)["error"]
    assert (error["kind"], error["message"]) == ("refused", "crisis of empathy was withdrawn: heard nonsense")
    assert "was withdrawn (heard nonsense)" in " ".join(pe("stages --line empathy")[1].split())


def test_a_drill_says_how_long_and_moves_nothing(state: State, pe: Pe) -> None:
    first, second = produced(state, 1), produced(state, 2)
    found = answer(pe, "rollback production --line empathy --drill")
    assert (found["from_id"], found["to_id"], found["problem"]) == (second.checkpoint.id, first.checkpoint.id, None)
    assert found["duration_s"] == pytest.approx(sum(step["duration_s"] for step in found["steps"]))
    assert [move.action for move in history(state, line="empathy", stage="production")] == ["promote", "promote"]
    assert "nothing was moved" in pe("rollback production --line empathy --drill")[1]
    factory.damage(state, first.checkpoint.content_files[0])
    assert answer(pe, "rollback production --line empathy --drill", code=1)["problem"].startswith("corrupt: ")
    assert "has no way back" in pe("rollback production --line empathy --drill")[1]


def test_the_past_of_every_line_is_asked_by_day_or_second_and_paged(state: State, pe: Pe) -> None:
    for line in ("a", "b"):
        produced(state, 1, line=line)
    assert answer(pe, "stages --at 2020-01-01") == {"at": "2020-01-01T00:00:00Z", "stages": [], "next_after": None}
    page = answer(pe, "stages --at 2999-01-01T00:00:00+02:00 --limit 1")
    assert (page["at"], page["next_after"]) == ("2998-12-31T22:00:00Z", "a")
    assert [(move["line"], move["stage"]) for move in page["stages"]] == [("a", "training"), ("a", "staging"), ("a", "production")]
    assert {move["line"] for move in answer(pe, "stages --at 2999-01-01 --after a")["stages"]} == {"b"}
    assert {move["line"] for move in answer(pe, "stages --at 2999-01-01 --line b")["stages"]} == {"b"}
    assert "no model line held a stage" in pe("stages --at 2020-01-01")[1]
    assert "promote by policy production" in pe("stages --at 2999-01-01")[1]
    assert "more lines: --after a" in pe("stages --at 2999-01-01 --limit 1")[1]


def test_the_history_of_a_line_is_paged(state: State, pe: Pe) -> None:
    produced(state, 1)
    page = answer(pe, "stages --line empathy --limit 2")
    assert [move["stage"] for move in page["history"]] == ["production", "training"]
    rest = answer(pe, f"stages --line empathy --before {page['next_before']}")
    assert ([move["stage"] for move in rest["history"]], rest["next_before"]) == (["staging", "training"], None)


def test_export_writes_a_folder_or_says_what_it_would(state: State, pe: Pe, tmp_path: Path) -> None:
    apply_decision(factory.judged(state, living_chain(state)), state=state)
    words = f"export empathy@staging {tmp_path / 'out'}"
    plan = answer(pe, f"{words} --dry-run")
    assert (plan["applied"], (tmp_path / "out").exists()) == (False, False)
    assert {"model.safetensors", "README.md", "SHA256SUMS", "evidence/"} <= set(plan["files"])
    made = answer(pe, words)
    assert (made["applied"], made["form"], made["place"]) == (True, "as_trained", "staging")
    assert {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()} == set(made["files"])
    assert answer(pe, words, code=2)["error"]["message"] == "something is there already"
