"""A model at an endpoint judges through `pe run`; its provider changes it under way, and neither its key nor its URL is left anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pe_training.evaluation.record import EvaluationReport, JudgeCalibration
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training_tests.e2e.chain import pe, smoke_with
from pe_training_tests.llm_server import KEY, LlmServer, by_rules, llm_server

pytestmark = pytest.mark.slow
WHOLE, SAFETY = "[accuracy, safety, fairness, therapeutic]", ", safety: 24, fairness: 4"
JUDGED = "llm_judge: {model: vendor/judge, labels: [interpretation]}"


def changing(server: LlmServer, *, after: int) -> None:
    """The provider puts another model behind the name once so many questions were asked."""

    def say(body: dict[str, Any]) -> str:
        if len(server.heard) > after:
            server.served = "judge-2"
        return by_rules(body)

    server.say = say


def files_with(home: Path, *secrets: str) -> list[str]:
    return [str(path) for path in home.rglob("*") if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets)]


def test_it_judges_a_report_and_another_one_from_what_is_kept(own_home: Path, tmp_path: Path) -> None:
    manifest = smoke_with(tmp_path, (WHOLE, f"[therapeutic]\n  {JUDGED}"), (f"accuracy: 20{SAFETY}, ", ""))
    refused = pe("run", manifest, "--json", home=own_home)
    assert refused.code == 2
    assert json.loads(refused.stdout)["error"]["where"] == "PE_LLM_JUDGE_URL"
    with llm_server() as server:
        changing(server, after=100)
        endpoint = {"PE_LLM_JUDGE_URL": server.url, "PE_LLM_JUDGE_KEY": KEY}
        ended = pe("run", manifest, "--json", home=own_home, **endpoint)
        assert ended.code in (0, 1), ended.stderr
    state = State(Settings(home=own_home))
    report = state.registry.get(ended.json["report"], EvaluationReport)
    name = "llm vendor/judge as judge-2 fp_1"
    worth = state.registry.get((report.calibrations or {})[name], JudgeCalibration)
    assert worth.replies == 120
    level = report.metric("therapeutic", "interpretation_level")
    assert level
    assert level.judge == name
    assert level.tuned  # of empty replies: the tiny model has learnt to say nothing, about which nobody is asked
    assert pe("verify", report.id, home=own_home).code == 0

    again = smoke_with(tmp_path, (WHOLE, f"[therapeutic, accuracy]\n  {JUDGED}"), (SAFETY, ""))
    second = pe("run", again, "--json", home=own_home, **endpoint)  # where nobody listens any more
    assert second.code in (0, 1), second.stderr
    other = state.registry.get(second.json["report"], EvaluationReport)
    assert other.id != report.id
    assert other.metric("therapeutic", "interpretation_level") == level
    assert files_with(own_home, KEY, server.url, server.url.removeprefix("http://")) == []
    state.registry.close()
