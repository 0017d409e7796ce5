"""Evaluation suites as data: a folder with ``suite.yaml`` and its examples. A new suite needs no code.

``<suite folder>/<name>/suite.yaml`` says of what kind the examples are, and the kind says how they are scored (one module a
kind). A suite is pinned by the digest of its files, so a threshold always means the questions it was set for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pe_training.core.config import load_config, suggest
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_file, digest_json
from pe_training.core.records import Frozen
from pe_training.datasets.suite_prompts import SuitePrompts
from pe_training.evaluation.examples import PLACEHOLDER, Asked, CrisisExample, Example, ReferenceExample, Scenario, read_examples
from pe_training.manifests.schema import SuiteName

SUITE_FILE = "suite.yaml"
SuiteKind = Literal["held_out", "crisis", "counterfactual", "reference"]
MODELS: dict[str, type[Example]] = {"crisis": CrisisExample, "counterfactual": Scenario, "reference": ReferenceExample}


class SuiteConfig(Frozen):
    """``suite.yaml``, ``apiVersion: pe-training/suite-v1``."""

    apiVersion: Literal["pe-training/suite-v1"]
    name: SuiteName
    kind: SuiteKind
    version: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")]
    description: Annotated[str, Field(min_length=1)]
    examples: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*\.jsonl$")] | None = Field(
        description="a file beside suite.yaml; null for held_out, whose examples are the dataset's test split"
    )
    min_cell_n: int = Field(default=10, ge=1, description="slices and groups with fewer examples are reported as insufficient")
    cluster_by: Literal["source_key"] | None = Field(
        default=None,
        description="held_out only: rows of one source hang together, as those of one conversation do anyway",
    )
    stratify_by: list[str] = Field(default=[], description="fields whose mix a part of the suite keeps")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if (self.kind == "held_out") != (self.examples is None):
            raise ValueError("a held_out suite has examples: null; every other kind names a file")
        if self.cluster_by and self.kind != "held_out":
            raise ValueError("cluster_by is for held_out suites; examples of other kinds have a field cluster")
        if self.kind in MODELS and (stray := sorted(set(self.stratify_by) - set(MODELS[self.kind].model_fields))):
            allowed = ", ".join(sorted(MODELS[self.kind].model_fields))
            raise ValueError(f"stratify_by names unknown fields: {', '.join(stray)} (allowed: {allowed})")
        return self


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A suite that was read: its definition, its examples in file order (none for held_out), the digest of its files."""

    config: SuiteConfig
    examples: tuple[Example, ...]
    digest: str


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One question to the model. ``group`` is set where a scenario is told once per group."""

    id: str
    example_id: str
    group: str | None
    messages: tuple[dict[str, str], ...]


def suite_names(folder: Path) -> list[str]:
    """The suites of a folder, by name."""
    return sorted(path.parent.name for path in folder.glob(f"*/{SUITE_FILE}"))


def load_suite(folder: Path, name: str) -> Suite:
    """Read and validate ``folder/name``. Raises not_found with the closest name, or input with the place."""
    known = suite_names(folder)
    if name not in known:
        raise PeError(Kind.NOT_FOUND, f"no suite {name!r} in {folder}", where="evaluation.suites", hint=suggest(name, known))
    path = folder / name / SUITE_FILE
    config = load_config(path, SuiteConfig)
    if config.name != name:
        raise PeError(Kind.INPUT, f"name is {config.name!r}, the folder is {name!r}", where=str(path), hint="make them equal")
    examples = read_examples(path.parent / config.examples, MODELS[config.kind]) if config.examples else ()
    return Suite(config=config, examples=examples, digest=suite_digest(folder, name))


def suite_digest(folder: Path, name: str) -> str:
    """Digest of a suite's YAML and JSON Lines files; equals ``ResolvedManifest.suites[name]`` for the same files."""
    files = sorted(path for path in (folder / name).iterdir() if path.suffix in (".yaml", ".jsonl") and path.is_file())
    return digest_json({f"suites/{name}/{path.name}": digest_file(path) for path in files})


def suite_prompts(folder: Path) -> SuitePrompts:
    """What the suites of a folder ask, for datasets to be kept free of. A held-out suite asks nothing of its own. Raises not_found."""
    if not folder.is_dir():
        raise PeError(Kind.NOT_FOUND, "no such folder of evaluation suites", where=str(folder), hint="correct PE_SUITES, or unset it")
    suites = {name: load_suite(folder, name) for name in suite_names(folder)}
    asked = {
        name: [message["content"] for prompt in prompts(suite.examples) for message in prompt.messages if message["role"] == "user"]
        for name, suite in suites.items()
        if suite.examples
    }
    return SuitePrompts(prompts=asked, digests={name: suites[name].digest for name in asked})


def prompts(examples: tuple[Example, ...]) -> tuple[Prompt, ...]:
    """The questions that examples ask: one each, or one per group of a scenario, in order (groups sorted)."""
    found: list[Prompt] = []
    for example in examples:
        if isinstance(example, Scenario):
            for group, words in sorted(example.groups.items()):
                message = {"role": "user", "content": example.text.replace(PLACEHOLDER, words)}
                found.append(Prompt(id=f"{example.id}/{group}", example_id=example.id, group=group, messages=(message,)))
        else:
            assert isinstance(example, Asked)
            turns = tuple({"role": message.role, "content": message.content} for message in example.messages)
            found.append(Prompt(id=example.id, example_id=example.id, group=None, messages=turns))
    return tuple(found)
