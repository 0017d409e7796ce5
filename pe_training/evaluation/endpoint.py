"""A language model behind an OpenAI-compatible endpoint, asked for one completion at a time, patiently and without telling its secrets.

What may be well in a moment (no connection, no answer in time, 408, 425, 429, 5xx, a body that is no completion) is tried again, after as
long as the server says or twice as long as before. What a person must mend is one error. No URL, key, header or body is ever part of
an error or a log: they may hold secrets, and replies of a model to clients.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_json
from pe_training.manifests.llm_judge import URL, WHERE, endpoint_url
from pe_training.settings import Settings

KEY = "PE_LLM_JUDGE_KEY"
_AGAIN = "run the same command again: it goes on with the answers that it has"
_PASSING = frozenset({408, 425, 429})
_MAX_BYTES, _MAX_TEXT, _MAX_NAME = 1_000_000, 4_000, 200
_LOGGERS = ("httpx2", *(f"httpcore2.{name}" for name in ("connection", "http11", "http2", "proxy", "socks")))


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long and how often an endpoint is waited for."""

    timeout_s: float = 60.0
    tries: int = 6
    wait_s: float = 1.0  # before the second try, where the server does not say how long
    longest_wait_s: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Served:
    """Which model the server says that it used, and a digest of where that is. Two that say the same there cannot be told apart."""

    model: str
    fingerprint: str | None = None
    at: str | None = None

    def __str__(self) -> str:
        return f"{_shown(self.model, 64)} {_shown(self.fingerprint, 32)}".strip()


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What was said, and by whom."""

    text: str
    by: Served


class _PassingError(Exception):
    """What went wrong may be well in a moment. ``wait_s``: as long as the server asks for."""

    def __init__(self, what: str, *, wait_s: float | None = None) -> None:
        super().__init__(what)
        self.what, self.wait_s = what, wait_s


@contextmanager
def open_endpoint(settings: Settings, *, patience: Patience) -> Iterator[Endpoint]:
    """The endpoint that the settings name. Raises input where they do not, or where what they say is no URL or key."""
    url = endpoint_url(settings)
    key = settings.llm_judge_key.get_secret_value() if settings.llm_judge_key else None
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise PeError(Kind.INPUT, "it holds characters that no key has", where=KEY, hint="look for a blank or a line end in it")
    headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {})
    with _unlogged():
        try:
            client = httpx2.Client(base_url=url, headers=headers, timeout=patience.timeout_s, trust_env=False)
        except (httpx2.InvalidURL, ValueError):
            raise PeError(Kind.INPUT, "it is no URL", where=URL, hint="such as https://HOST/v1") from None
        with client:
            yield Endpoint(client, patience)


class Endpoint:
    """Asked by several threads at once."""

    def __init__(self, client: httpx2.Client, patience: Patience) -> None:
        self._client, self._patience = client, patience
        url = client.base_url  # without a password or a query: two places may serve two models under one name
        self._place = digest_json([url.scheme, url.host, url.port, url.path.rstrip("/")])

    def complete(self, body: Mapping[str, Any]) -> Completion:
        """The answer to one request for a chat completion. Raises input, and infrastructure once patience is at its end."""
        wait_s = self._patience.wait_s
        for left in range(self._patience.tries - 1, -1, -1):
            try:
                return self._once(body)
            except _PassingError as error:
                failed = error
            if not left or (failed.wait_s or 0) > self._patience.longest_wait_s:
                break
            time.sleep(min(self._patience.longest_wait_s, wait_s) if failed.wait_s is None else failed.wait_s)
            wait_s *= 2
        hint = f"see that {URL} names it and that it is up; then {_AGAIN}"
        raise PeError(Kind.INFRASTRUCTURE, f"the endpoint {failed.what}", where=WHERE, hint=hint) from None

    def _once(self, body: Mapping[str, Any]) -> Completion:
        deadline, read = time.monotonic() + self._patience.timeout_s, bytearray()
        try:
            with self._client.stream("POST", "/chat/completions", json=dict(body)) as response:
                _check(response, model=str(body["model"]))
                for chunk in response.iter_bytes():
                    read += chunk
                    if len(read) > _MAX_BYTES or time.monotonic() > deadline:
                        raise _PassingError("did not come to the end of its answer")
        except httpx2.TimeoutException:
            raise _PassingError(f"gave no answer within {self._patience.timeout_s:g} s") from None
        except httpx2.HTTPError as error:
            raise _PassingError(f"could not be talked to ({type(error).__name__})") from None
        return _completion(bytes(read), at=self._place)


def _check(response: httpx2.Response, *, model: str) -> None:
    """Raises what a status other than 200 means."""
    status = response.status_code
    if status in _PASSING or status >= 500:
        raise _PassingError(f"answers {status}", wait_s=_asked_to_wait(response.headers.get("Retry-After")))
    if status in {401, 403}:
        message = f"the endpoint answers {status}: it does not take this key"
        raise PeError(Kind.INPUT, message, where=KEY, hint=f"set it to a key that may ask {model} there; then {_AGAIN}")
    if status in {301, 302, 303, 307, 308, 404, 405}:
        message = f"the endpoint answers {status}: it is not where it should be, or knows no model {model}"
        hint = f"{URL} ends before /chat/completions, often in /v1; model is spelled as it is spelled there"
        raise PeError(Kind.INPUT, message, where=WHERE, hint=hint)
    if status != 200:
        hint = "name a model that takes temperature, seed and max_tokens, and texts as long as a reply"
        raise PeError(Kind.INPUT, f"the endpoint answers {status}: it refuses the request to {model}", where=WHERE, hint=hint)


def _completion(data: bytes, *, at: str) -> Completion:
    try:
        found = json.loads(data)
        text, model, fingerprint = found["choices"][0]["message"]["content"], found["model"], found.get("system_fingerprint")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise _PassingError("answers what is no chat completion") from None
    if not isinstance(model, str) or not isinstance(fingerprint, str | None) or not isinstance(text, str | None):
        raise _PassingError("answers what is no chat completion")
    if len(model) > _MAX_NAME or len(fingerprint or "") > _MAX_NAME:
        raise _PassingError("names its model in more letters than a name has")
    return Completion(text=(text or "")[:_MAX_TEXT], by=Served(model=model, fingerprint=fingerprint, at=at))


def _asked_to_wait(given: str | None) -> float | None:
    """Seconds from a Retry-After header, which holds them or a date; ``None`` where it says neither."""
    try:
        return max(0.0, float(given or ""))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(given or "")
    except (ValueError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _shown(name: str | None, most: int) -> str:
    """What a server calls itself, as far as it is fit to be read."""
    return "".join(character for character in name or "" if character.isascii() and character.isprintable())[:most]


@contextmanager
def _unlogged() -> Iterator[None]:
    """Without the client library's own log, which names the URL of every request."""

    nothing = logging.Filter("nothing of that name")
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(nothing)
    try:
        yield
    finally:
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(nothing)
