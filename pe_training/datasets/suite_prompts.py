"""What evaluation asks, as the room above hands it down: no row that is trained on may repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SuitePrompts:
    """The prompts of each evaluation suite, and the digest that names the version of each."""

    prompts: Mapping[str, Sequence[str]]
    digests: Mapping[str, str]
