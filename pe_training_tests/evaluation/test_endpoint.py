"""An endpoint that is slow, busy, wrong or gone: what is tried again, what is told, and what is never told."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import SecretStr

from pe_training.core.errors import Kind, PeError
from pe_training.evaluation.endpoint import Completion, Patience, _asked_to_wait, open_endpoint
from pe_training.evaluation.llm_judge import DECODING, shown
from pe_training.settings import Settings
from pe_training_tests.llm_server import KEY, Fault, LlmServer, llm_server

PATIENCE = Patience(timeout_s=0.25, tries=3, wait_s=0.01, longest_wait_s=0.5)
SAID = "She told me about her brother."
BODY: dict[str, Any] = {
    "model": "judge",
    "messages": [{"role": "system", "content": 'Its keys are "exploration"; each'}, {"role": "user", "content": shown(SAID)}],
    **DECODING,
}
GOOD = ('{"exploration": 0}', "judge-1", "fp_1")


@pytest.fixture
def server() -> Iterator[LlmServer]:
    with llm_server() as running:
        yield running


def ask(settings: Settings, patience: Patience = PATIENCE) -> Completion:
    with open_endpoint(settings, patience=patience) as endpoint:
        return endpoint.complete(BODY)


def told(found: Completion) -> tuple[str, str, str | None]:
    """What was said and by whom, wherever that is."""
    return found.text, found.by.model, found.by.fingerprint


def refusal(settings: Settings, patience: Patience = PATIENCE) -> PeError:
    with pytest.raises(PeError) as caught:
        ask(settings, patience)
    told = "".join(traceback.format_exception(caught.value))
    assert not [secret for secret in (KEY, "127.0.0.1", "/v1/chat", "brother") if secret in told]
    return caught.value


def test_an_answer_comes_with_who_gave_it(server: LlmServer) -> None:
    assert told(ask(server.settings())) == GOOD
    assert server.heard == [BODY]


@pytest.mark.parametrize("faults", [
    [Fault(status=500), Fault(status=503)],
    [Fault(hang_s=0.4), Fault(body="<html>try later</html>")],
    [Fault(drip_s=0.1), Fault(body='{"choices": []}')],
    [Fault(body='{"choices": [{"message": {"content": 3}}], "model": "x"}'), Fault(body="[" * 9_000)],
])  # fmt: skip
def test_what_may_be_well_in_a_moment_is_tried_again(server: LlmServer, faults: list[Fault]) -> None:
    server.faults.extend(faults)
    assert told(ask(server.settings())) == GOOD
    assert len(server.heard) == 3
    server.faults.extend([*faults, faults[0]])
    found = refusal(server.settings())
    assert (found.kind, found.where) == (Kind.INFRASTRUCTURE, "evaluation.llm_judge")
    assert "PE_LLM_JUDGE_URL" in str(found.hint)
    assert len(server.heard) == 6


def test_a_server_that_asks_for_time_is_given_it_and_one_that_asks_for_too_much_is_not_waited_for(server: LlmServer) -> None:
    server.faults.append(Fault(status=429, headers={"Retry-After": "0.3"}))
    assert told(ask(server.settings())) == GOOD
    assert server.at[1] - server.at[0] >= 0.3
    server.always = Fault(status=429, headers={"Retry-After": "3600"})
    assert refusal(server.settings()).message == "the endpoint answers 429"
    assert len(server.heard) == 3


@pytest.mark.parametrize(("status", "where", "words"), [
    (401, "PE_LLM_JUDGE_KEY", "it does not take this key"), (403, "PE_LLM_JUDGE_KEY", "it does not take this key"),
    (404, "evaluation.llm_judge", "knows no model judge"), (301, "evaluation.llm_judge", "not where it should be"),
    (400, "evaluation.llm_judge", "refuses the request to judge"), (204, "evaluation.llm_judge", "refuses the request to judge"),
])  # fmt: skip
def test_what_a_person_must_mend_is_said_at_once(server: LlmServer, status: int, where: str, words: str) -> None:
    server.always = Fault(status=status, headers={"Location": "http://127.0.0.1/elsewhere"})
    found = refusal(server.settings())
    assert (found.kind, found.where, len(server.heard)) == (Kind.INPUT, where, 1)
    assert words in found.message


def test_a_server_without_a_key_is_sent_none_and_another_key_is_refused(server: LlmServer) -> None:
    for key in (None, SecretStr("sk-other")):
        found = refusal(Settings(llm_judge_url=SecretStr(server.url), llm_judge_key=key))
        assert found.where == "PE_LLM_JUDGE_KEY"


def test_a_server_that_is_gone_is_said_to_be() -> None:
    with llm_server() as server:
        settings = server.settings()
    found = refusal(settings)
    assert (found.kind, found.where) == (Kind.INFRASTRUCTURE, "evaluation.llm_judge")
    assert found.message == "the endpoint could not be talked to (ConnectError)"


@pytest.mark.parametrize(("url", "key", "where"), [
    ("", KEY, "PE_LLM_JUDGE_URL"), ("ftp://127.0.0.1/v1", KEY, "PE_LLM_JUDGE_URL"), ("http://127.0.0.1:port/v1", KEY, "PE_LLM_JUDGE_URL"),
    ("http://127.0.0.1/v1", f"{KEY}\n", "PE_LLM_JUDGE_KEY"), ("http://127.0.0.1/v1", f"{KEY} \u2603", "PE_LLM_JUDGE_KEY"),
])  # fmt: skip
def test_a_slip_in_a_variable_is_told_by_its_name(url: str, key: str, where: str) -> None:
    found = refusal(Settings(llm_judge_url=SecretStr(url), llm_judge_key=SecretStr(key)))
    assert (found.kind, found.where) == (Kind.INPUT, where)


def test_nothing_of_it_is_logged_and_settings_do_not_show_it(server: LlmServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    settings = server.settings()
    ask(settings)
    server.always = Fault(status=401)
    refusal(settings)
    assert not [record.name for record in caplog.records if record.name.startswith("httpx2") or record.name.startswith("httpcore2")]
    for secret in (KEY, server.url):
        assert secret not in caplog.text
        assert secret not in repr(settings) + str(settings.model_dump())


def test_the_time_to_wait_is_a_number_or_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < (_asked_to_wait(later) or 0) <= 30
    far = "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=30), usegmt=True)
    assert [_asked_to_wait(given) for given in ("2", "-1", past, "soon", "", None, far)] == [2.0, 0.0, 0.0, None, None, None, None]
