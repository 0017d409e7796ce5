"""A real HTTP server that speaks the OpenAI chat-completions path, judges what it is shown by our word rules, and fails as it is told."""

from __future__ import annotations

import json
import re
import socketserver
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import SecretStr

from pe_training.evaluation.judges import Exchange, rules
from pe_training.settings import Settings

KEY = "sk-very-secret-5d1f"
_MARKED = re.compile(r"(=== [0-9a-f]{24} ===)\n(.*)\n\1", re.DOTALL)
_KEYS = re.compile(r"Its keys are (.+?); each")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to one request in the place of an answer. ``hang_s``: before the answer; ``drip_s``: between its bytes."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None  # of the response
    text: str | None = None  # of the completion
    served: str | None = None  # another model's name
    hang_s: float = 0.0
    drip_s: float = 0.0


def reply_in(body: dict[str, Any]) -> str:
    """The reply that a request puts to judgement."""
    found = _MARKED.fullmatch(body["messages"][-1]["content"])
    assert found
    return found.group(2)


def by_rules(body: dict[str, Any]) -> str:
    """Grades of the reply, for the labels that were asked for."""
    asked = _KEYS.search(body["messages"][0]["content"])
    assert asked
    grades = {**rules()[0].grade([Exchange(reply=reply_in(body))])[0]}
    return json.dumps({label: grades[label] for label in json.loads(f"[{asked.group(1)}]")})


class LlmServer:
    """What it serves, to be changed while it serves, and what it heard."""

    def __init__(self, port: int) -> None:
        self.url, self.key = f"http://127.0.0.1:{port}/v1", KEY
        self.served, self.fingerprint = "judge-1", "fp_1"
        self.say: Callable[[dict[str, Any]], str] = by_rules
        self.faults: deque[Fault] = deque()  # of the next requests, one each
        self.always: Fault | None = None  # of every request that has no fault of its own
        self.heard: list[dict[str, Any]] = []
        self.at: list[float] = []  # when each was heard
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def settings(self, **given: Any) -> Settings:
        """Settings that name this server."""
        return Settings(llm_judge_url=SecretStr(self.url), llm_judge_key=SecretStr(KEY), **given)

    def replies(self) -> list[str]:
        """What was put to judgement, in order."""
        return [reply_in(body) for body in self.heard]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    known: LlmServer

    def do_POST(self) -> None:
        known = self.known
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with known.lock:
            known.at_once += 1
            known.most_at_once = max(known.most_at_once, known.at_once)
            known.heard.append(body)
            known.at.append(time.monotonic())
            fault = known.faults.popleft() if known.faults else known.always or Fault()
        try:
            if self.path != "/v1/chat/completions":
                fault = Fault(status=404)
            elif self.headers.get("Authorization") != f"Bearer {known.key}":
                fault = Fault(status=401)
            time.sleep(fault.hang_s)
            self._answer(fault, body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # whoever asked has gone
        finally:
            with known.lock:
                known.at_once -= 1

    def _answer(self, fault: Fault, body: dict[str, Any]) -> None:
        data = (self._completion(fault, body) if fault.body is None else fault.body).encode()
        self.send_response(fault.status)
        for name, value in {"Content-Length": str(len(data)), **fault.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        for start in range(0, len(data), 40 if fault.drip_s else len(data)):
            self.wfile.write(data[start : start + 40] if fault.drip_s else data)
            time.sleep(fault.drip_s)

    def _completion(self, fault: Fault, body: dict[str, Any]) -> str:
        if fault.status != 200:  # as servers do, it says whom it refuses what
            return json.dumps({"error": {"message": f"{self.headers.get('Authorization')} asked {body['messages'][-1]['content']}"}})
        text = self.known.say(body) if fault.text is None else fault.text
        found = {"choices": [{"message": {"role": "assistant", "content": text}}], "model": fault.served or self.known.served}
        return json.dumps(found | {"system_fingerprint": self.known.fingerprint})

    def log_message(self, format: str, *args: object) -> None:
        """Nothing to the terminal."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # without asking a name server who this is


@contextmanager
def llm_server() -> Iterator[LlmServer]:
    """Serve on a free port of this machine."""
    handler = type("Handler", (_Handler,), {})
    with _Server(("127.0.0.1", 0), handler) as server:
        handler.known = known = LlmServer(server.server_address[1])  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield known
        finally:
            server.shutdown()
            thread.join()
