"""Object stores behind fsspec: how they are opened, and what they say no with as one error that repeats no credential."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pe_training.core.errors import Kind, PeError

CREDENTIALS = "credentials come from the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
OPTIONS: dict[str, dict[str, Any]] = {  # by protocol; a store that does not answer is told to the operator, not waited for
    "s3": {"config_kwargs": {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 3, "mode": "standard"}}}
}


@contextmanager
def store_errors(where: str, *, nothing: str) -> Iterator[None]:
    """What a store says no with, as one error; ``nothing``: what to do where there is nothing. Its own words may hold a signed URL."""
    try:
        yield
    except FileNotFoundError as error:
        cause = error.__cause__  # fsspec calls a web server that is away, or refuses, a file that is not there
        if isinstance(cause, _web_failures()) and getattr(cause, "status", None) not in (404, 410):
            raise _failed(cause, where) from None
        raise PeError(Kind.NOT_FOUND, "nothing is there", where=where, hint=nothing) from None
    except PermissionError:
        raise PeError(Kind.INFRASTRUCTURE, "the store refuses access", where=where, hint=CREDENTIALS) from None
    except _failures() as error:
        raise _failed(error, where) from None


def _failed(error: BaseException, where: str) -> PeError:
    name = type(error).__name__
    hint = CREDENTIALS if "Credential" in name or "Profile" in name else "check AWS_ENDPOINT_URL and the network, then run this again"
    return PeError(Kind.INFRASTRUCTURE, f"the store failed ({name})", where=where, hint=hint)


def _failures() -> tuple[type[BaseException], ...]:
    """The base classes of errors of those stores that are loaded."""
    known = (("botocore.exceptions", "BotoCoreError"), ("botocore.exceptions", "ClientError"))
    loaded = [getattr(sys.modules[module], name) for module, name in known if module in sys.modules]
    return (OSError, TimeoutError, *loaded, *_web_failures())


def _web_failures() -> tuple[type[BaseException], ...]:
    return (sys.modules["aiohttp"].ClientError,) if "aiohttp" in sys.modules else ()
