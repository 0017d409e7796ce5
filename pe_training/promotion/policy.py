"""The promotion policy as people write it: which measure must hold which bound before a model may enter a stage.

A rule names its evidence exactly (suite, metric, slice, unit), because a threshold of 0.9 that meets a perplexity or a
percentage by accident is a gate that nobody closed. A rule may be for some tasks only; a model of another task is then told
that the rule does not apply, which is not the same as having passed it.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Literal, Self

from pydantic import Field, model_validator

from pe_training.core.config import parse_config, read_text
from pe_training.core.errors import Kind, PeError
from pe_training.core.records import Frozen
from pe_training.evaluation.record import Unit
from pe_training.manifests.schema import Name, SuiteName

Stage = Literal["training", "staging", "production"]
STAGES: tuple[Stage, ...] = ("training", "staging", "production")
Task = Literal["causal_lm", "text_classification"]


class Rule(Frozen):
    """One bound on one measure. The pessimistic end of its 95 % interval must hold it."""

    id: Name
    title: str = Field(min_length=3, max_length=80, description="how the measure is called in a sentence, for people")
    suite: SuiteName
    metric: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    slice: str = Field(default="all", min_length=1, description="e.g. crisis_type=self_harm")
    of: Literal["tuned", "difference"] = Field(
        default="tuned", description="the tuned model's value, or tuned minus base on the same examples"
    )
    tasks: list[Task] = Field(default=["causal_lm", "text_classification"], min_length=1)
    bound: Literal["at_least", "at_most"]
    threshold: float = Field(description="in the metric's own unit; a proportion is 0 to 1, never percent")
    unit: Unit
    min_n: int = Field(ge=1, description="fewer independent examples than this are no evidence")
    severity: Literal["block", "warn"] = "block"

    @model_validator(mode="after")
    def _within_its_unit(self) -> Self:
        low, high = {"proportion": (0.0, 1.0), "perplexity": (1.0, float("inf"))}.get(self.unit, (float("-inf"), float("inf")))
        if self.of == "difference":
            low, high = (-1.0, 1.0) if self.unit == "proportion" else (float("-inf"), float("inf"))
        if not low <= self.threshold <= high:
            raise ValueError(f"threshold {self.threshold:g} of rule {self.id!r} is no {self.unit}: it must lie in {low:g} to {high:g}")
        return self


class Policy(Frozen):
    """What a model must show before it may enter ``stage``, ``apiVersion: pe-training/policy-v1``."""

    apiVersion: Literal["pe-training/policy-v1"]
    name: Name
    stage: Stage = Field(description="where a pass allows the model to go")
    requires_stage: Stage | None = Field(default=None, description="where the model must be now; stages are not skipped")
    description: str = Field(min_length=1)
    canary: Literal["required", "none"] = Field(
        default="required", description="whether the model must load from the store and answer the canaries before a pointer moves to it"
    )
    on_watch: Literal["rollback", "alert"] = Field(
        default="alert", description="what the watch does when what holds the stage may not be served: act by itself, or call people only"
    )
    rules: list[Rule] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        below = stage_below(self.stage)
        if self.requires_stage != below:
            wanted = f"requires_stage: {below}" if below else "no requires_stage"
            raise ValueError(f"a policy for {self.stage} has {wanted}: stages are not skipped")
        ids = [rule.id for rule in self.rules]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"rule ids are given twice: {', '.join(twice)}")
        return self

    def rules_for(self, task: str) -> list[Rule]:
        """The rules that apply to a model of ``task``."""
        return [rule for rule in self.rules if task in rule.tasks]


def stage_below(stage: Stage) -> Stage | None:
    """The stage that a model must hold to enter ``stage``; ``None`` below training."""
    position = STAGES.index(stage)
    return STAGES[position - 1] if position else None


def known_stage(text: str) -> Stage:
    """``text`` as a stage. Raises input with the stages there are."""
    for stage in STAGES:
        if text == stage:
            return stage
    raise PeError(Kind.INPUT, f"no stage {text!r}", hint=f"the stages are {', '.join(STAGES)}")


def load_policy(path: Path) -> Policy:
    """The policy in a file. Raises input with ``file:line:column``, or not_found."""
    return parse_policy(read_text(path), name=str(path))


def parse_policy(text: str, *, name: str) -> Policy:
    """The policy in YAML ``text``. ``name`` is its file, real or pinned, which must be called as the policy is."""
    policy = parse_config(text, Policy, name=name)
    stem = PurePath(name).stem
    if policy.name != stem:
        message = f"the policy in {stem}.yaml is named {policy.name!r}"
        raise PeError(Kind.INPUT, message, where=name, hint=f"manifests find it by its file name: write `name: {stem}`")
    return policy
