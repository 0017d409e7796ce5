"""What a release may hold: the lists, limits and severities that validation judges by, as a file that people edit.

Unknown is denied. A waiver excuses one check of one dataset, names who answers for it and why, and lapses by itself.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from pe_training.core.config import load_config, suggest
from pe_training.core.records import Frozen
from pe_training.datasets.report import CHECKS
from pe_training.datasets.texts.personal_data import PhoneBook

Severity = Literal["error", "warn"]
Ratio = Annotated[float, Field(ge=0, le=1)]


def _in_order(ends: list[float]) -> list[float]:
    if ends[0] > ends[1]:
        raise ValueError("must be written from low to high")
    return ends


Range = Annotated[list[float], Field(min_length=2, max_length=2), AfterValidator(_in_order)]
Day = Annotated[date, BeforeValidator(lambda value: date.fromisoformat(value) if isinstance(value, str) else value)]


def _a_check(name: str) -> str:
    if name not in CHECKS:
        raise ValueError(f"no check is called {name!r}; {suggest(name, CHECKS)}")
    return name


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return text


CheckName = Annotated[str, AfterValidator(_a_check)]


class Waiver(Frozen):
    """One check of one dataset excused until a day."""

    check: CheckName
    dataset: str
    version: str | None = Field(default=None, description="only this version; without it every version")
    max_failing: int = Field(ge=1, description="excuses no more failing rows, files or counts than this")
    owner: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=10)]
    expires: Day = Field(description="the last day on which it holds")

    def covers(self, *, check: str, failing: int, dataset: str, version: str) -> bool:
        """Whether it excuses this."""
        about = self.check == check and self.dataset == dataset and self.version in (None, version)
        return about and failing <= self.max_failing


class Lengths(Frozen):
    """Range of a family's mean estimated tokens and mean turns a dialogue."""

    tokens: Range
    turns: Range


class ReleasePolicy(Frozen):
    """``apiVersion: pe-training/release-policy-v1``. Every report names the digest of the policy that judged."""

    apiVersion: Literal["pe-training/release-policy-v1"]
    warn_only: list[CheckName] = Field(default=[], description="checks that warn and do not refuse")
    waivers: list[Waiver] = Field(default=[])
    licences: list[str]
    pii_statuses: list[str]
    families: list[str]
    turns: dict[str, Annotated[str, AfterValidator(_pattern)]] = Field(
        description="purpose -> what a whole dialogue matches: S system, U user, A assistant, _ empty; 'default' for others"
    )
    min_distinct_ratio: Ratio = Field(description="distinct contents over rows, per file, per family and in all")
    min_quality: float
    max_quality: float
    tokens_per_word: float = Field(gt=0, description="how tokens are estimated from words")
    length_tolerance: float = Field(
        ge=1, description="a mean may leave its range by this factor before it counts as another kind of content"
    )
    min_family_rows: int = Field(ge=1, description="a family with fewer rows has no mean to speak of")
    lengths: dict[str, Lengths] = Field(description="family -> expected means")
    max_label_share: Ratio = Field(description="of one value of a label among the training rows that have it")
    mixture: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={}, description="family -> planned weight in training; empty: no plan"
    )
    mixture_tolerance: Ratio
    max_drift: Ratio = Field(description="total variation distance of the family mix to the version before")
    max_mean_drift: float = Field(gt=0, description="relative change of mean words and turns to the version before")

    near_duplicate_similarity: float = Field(
        gt=0, le=1, description="Jaccard similarity of five-word runs from which two rows, or a turn and an evaluation prompt, are copies"
    )
    phone_region: str = Field(pattern=r"^[A-Z]{2}$", description="ISO 3166 code by which telephone numbers without a country are read")
    hotlines: list[Annotated[str, Field(pattern=r"^[0-9]{3,15}$")]] = Field(
        description="public telephone numbers, as dialled and without country code: they are nobody's personal data"
    )
    max_redacted_share: Ratio = Field(description="of a row's words or sentences; a row above it counts as cut up")
    max_redacted_rows: Ratio = Field(description="share of rows of a family that may be cut up")
    language: str = Field(pattern=r"^[a-z]{2}$", description="ISO 639-1 code of rows that do not declare theirs")
    max_other_language: Ratio = Field(description="share of a family's rows that may be in another language than declared")

    @model_validator(mode="after")
    def _can_be_applied(self) -> Self:
        for name in (*self.lengths, *self.mixture):
            if name not in self.families:
                raise ValueError(f"{name!r} is not among the families; {suggest(name, self.families)}")
        if "default" not in self.turns:
            raise ValueError("turns needs an entry 'default', for rows that name no purpose")
        if self.min_quality > self.max_quality:
            raise ValueError("min_quality is above max_quality")
        return self

    def on(self, day: date) -> ReleasePolicy:
        """The policy as it holds on a day: without the waivers that have lapsed."""
        return self.model_copy(update={"waivers": [waiver for waiver in self.waivers if waiver.expires >= day]})

    @property
    def phone_book(self) -> PhoneBook:
        """How telephone numbers are read."""
        return PhoneBook(region=self.phone_region, hotlines=frozenset(self.hotlines))

    def severity(self, check: str) -> Severity:
        """What a failure of a check means."""
        return "warn" if check in self.warn_only else "error"


def load_release_policy(path: Path) -> ReleasePolicy:
    """A policy file. Raises input with file, line and column."""
    return load_config(path, ReleasePolicy)
