"""A language model behind an OpenAI-compatible endpoint that grades replies: what a manifest says of it, and what must be there for it.

Where the endpoint is and what it wants as a key are settings of the machine, and stand in no manifest, record or log. Without them, or
with two judges for one label, a manifest is refused when it is resolved, and not hours after the money for the training was spent.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Self

from pydantic import Field, model_validator

from pe_training.core.config import suggest
from pe_training.core.errors import Kind, PeError
from pe_training.core.records import Growing
from pe_training.settings import Settings

WHERE, URL = "evaluation.llm_judge", "PE_LLM_JUDGE_URL"


class LlmJudge(Growing):
    """Who grades there, and what. Replies leave this machine for it."""

    model: str = Field(
        pattern=r"^@?[A-Za-z0-9_]([A-Za-z0-9_.@+-]|[:/][A-Za-z0-9_.-])*$",  # no URL
        max_length=128,
        description="its name at the endpoint; best one that stays, with a date or a version",
    )
    labels: list[Annotated[str, Field(pattern=r"^[a-z_]+$")]] = Field(min_length=1, description="what it grades in the place of rules")

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a label is named twice")
        return self


def pin_llm_judge(asked: LlmJudge | None, *, known: Collection[str], taken: Collection[str], settings: Settings) -> LlmJudge | None:
    """The judge that is asked for, its labels in one order. ``known``: what may be graded; ``taken``: what a trained judge speaks for.

    Raises input.
    """
    if asked is None:
        return None
    where = f"{WHERE}.labels"
    for label in asked.labels:
        if label not in known:
            raise PeError(Kind.INPUT, f"no judge may be asked about {label!r}", where=where, hint=suggest(label, known))
        if label in taken:
            message = f"the model {asked.model} and a trained judge both judge {label!r}"
            raise PeError(Kind.INPUT, message, where=where, hint="leave it out here, or the judge out of evaluation.judges")
    endpoint_url(settings)
    return asked.model_copy(update={"labels": sorted(asked.labels)})


def endpoint_url(settings: Settings) -> str:
    """Where the endpoint is, without the path of one request. Raises input, which does not say the URL: it may hold a secret."""
    url = settings.llm_judge_url.get_secret_value() if settings.llm_judge_url else ""
    if not url:
        hint = "set it to the endpoint's URL up to /v1, or leave evaluation.llm_judge out"
        raise PeError(Kind.INPUT, "it is not set, and evaluation.llm_judge asks a model there", where=URL, hint=hint)
    if not url.startswith(("https://", "http://")):
        raise PeError(Kind.INPUT, "it is no http or https URL", where=URL, hint="such as https://HOST/v1")
    return url.rstrip("/")
