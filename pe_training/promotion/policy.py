"""The promotion policy as people write it: which measure must hold which bound before a model may enter a stage.

A rule names its evidence exactly (suite, metric, slice, unit), because a threshold of 0.9 that meets a perplexity or a
percentage by accident is a gate that nobody closed. A rule may be for some tasks only; a model of another task is then told
that the rule does not apply, which is not the same as having passed it.
"""

from __future__ import annotations

import math
from pathlib import Path, PurePath
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pe_training.core.config import parse_config, read_text
from pe_training.core.errors import Kind, PeError
from pe_training.core.records import Frozen
from pe_training.evaluation.record import Unit
from pe_training.manifests.schema import Name, SuiteName

Stage = Literal["training", "staging", "production"]
STAGES: tuple[Stage, ...] = ("training", "staging", "production")
Task = Literal["causal_lm", "text_classification"]
REQUIREMENTS = ("tries", "licences", "phases", "families", "fresh-report", "fresh-calibration", "fresh-dataset")


RoleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="lower-case letters, digits and underscores")]


class SignOff(Frozen):
    """A person who must approve the exact decision, in a role. Two of them are two people, in whatever roles."""

    role: RoleName
    valid_days: int = Field(ge=1, le=366, description="days after the day it was given on which an approval still opens the stage")


class Rule(Frozen):
    """One bound on one measure. The pessimistic end of its interval must hold it."""

    id: Name
    title: str = Field(min_length=3, max_length=80, description="how the measure is called in a sentence, for people")
    suite: SuiteName
    metric: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    slice: str = Field(default="all", min_length=1, description="e.g. crisis_type=self_harm")
    of: Literal["tuned", "difference"] = Field(
        default="tuned", description="the tuned model's value, or tuned minus base (or incumbent) on the same examples"
    )
    against: Literal["base", "incumbent"] = Field(
        default="base", description="of a difference: the base model, or the checkpoint that holds the policy's stage"
    )
    test: Literal["non_inferiority", "superiority"] | None = Field(
        default=None, description="against the incumbent: worse by less than the margin, or better by more than it"
    )
    margin: float | None = Field(default=None, ge=0, description="in the metric's own unit, with `test` and in the place of a threshold")
    judges: list[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]] = Field(
        default=[], description="whose word on replies counts: rules, trained, llm, or a trained judge's line; empty: anybody's"
    )
    tasks: list[Task] = Field(default=["causal_lm", "text_classification"], min_length=1)
    bound: Literal["at_least", "at_most"]
    threshold: float | None = Field(default=None, description="in the metric's own unit; a proportion is 0 to 1, never percent")
    unit: Unit
    min_n: int = Field(ge=1, description="fewer independent examples than this are no evidence")
    severity: Literal["block", "warn"] = "block"
    waivable_by: list[RoleName] = Field(
        default=[], description="roles of which a person may excuse the model from this rule; default: nobody"
    )

    @property
    def limit(self) -> float:
        """What the pessimistic end must hold: the threshold, or what the margin allows of a difference."""
        if self.threshold is not None:
            return self.threshold
        assert self.margin is not None
        allowed = -self.margin if self.test == "non_inferiority" else self.margin
        return (allowed if self.bound == "at_least" else -allowed) + 0.0

    @model_validator(mode="after")
    def _names_its_limit(self) -> Self:
        compared = self.against == "incumbent"
        given = {"test": self.test, "margin": self.margin}
        if compared and (self.of != "difference" or self.threshold is not None or None in given.values()):
            raise ValueError(f"rule {self.id!r} is against the incumbent: it has of: difference, a test and a margin, and no threshold")
        if stray := [name for name, value in given.items() if value is not None and not compared]:
            raise ValueError(f"{' and '.join(stray)} of rule {self.id!r}: only a rule with against: incumbent has them")
        if not compared and self.threshold is None:
            raise ValueError(f"rule {self.id!r} has no threshold")
        if self.test == "non_inferiority" and self.margin == 0:
            raise ValueError(f"rule {self.id!r} allows no loss at all, which is test: superiority")
        return self

    @model_validator(mode="after")
    def _within_its_unit(self) -> Self:
        low, high = scale(self.unit, of=self.of)
        if not low <= self.limit <= high:
            name = "threshold" if self.threshold is not None else "margin"
            raise ValueError(f"{name} {self.limit:g} of rule {self.id!r} is no {self.unit}: it must lie in {low:g} to {high:g}")
        return self


class Tries(Frozen):
    """What repeated tries cost. The k-th decision on a line for the stage is judged at a stricter level (see ``levels.py``)."""

    alpha: float = Field(
        gt=0, le=0.05, description="chance that a line ever passes whose true value only just misses, over all its tries together"
    )
    max: int | None = Field(default=None, ge=1, description="further tries are not judged; none: as many as you like")


class TrainingData(Frozen):
    """Which rows a model may have learnt from, itself and all the checkpoints that it started from."""

    licences: list[str] | None = Field(default=None, min_length=1, description="allowed; none: any that validation lets in")
    phases: list[Annotated[str, Field(pattern=r"^stage[0-7](_[a-z0-9_]{1,60})?$")]] | None = Field(
        default=None, min_length=1, description="allowed, by number (stage1) or by whole name; none: all"
    )
    excluded_families: list[str] = Field(default=[])

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.licences is None and self.phases is None and not self.excluded_families:
            raise ValueError("training_data asks nothing: name licences, phases or excluded_families")
        return self


class Calibrated(Frozen):
    """How far people must agree with whoever judged a label of the replies, at the lower end of kappa's 95 % interval."""

    label: str = Field(pattern=r"^[a-z][a-z_]{0,62}$")
    min_kappa: float = Field(ge=-1, le=1)
    min_n: int = Field(ge=1, description="replies that people labelled")

    @property
    def id(self) -> str:
        """What it is called in a decision."""
        return f"calibration-{self.label.replace('_', '-')}"


class Freshness(Frozen):
    """How old evidence may be, when it is judged and again when a stage is given away."""

    report_days: int | None = Field(default=None, ge=1)
    calibration_days: int | None = Field(default=None, ge=1)
    dataset_days: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not self.limits:
            raise ValueError("freshness asks nothing: give report_days, calibration_days or dataset_days")
        return self

    @property
    def limits(self) -> dict[str, int]:
        """What may be how many days old: report, calibration, dataset."""
        return {name.removesuffix("_days"): days for name, days in self.content().items()}


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
    tries: Tries | None = Field(default=None, description="without it every try is judged at 95 %")
    training_data: TrainingData | None = None
    calibrations: list[Calibrated] = Field(default=[])
    freshness: Freshness | None = None
    approvals: list[SignOff] = Field(default=[], description="who must approve a pass before it opens the stage, each another person")
    not_author: bool = Field(default=False, description="nobody approves a model whose training they asked for")
    max_waiver_days: int = Field(default=90, ge=1, le=366, description="a waiver lasts no longer than this")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        below = stage_below(self.stage)
        if self.requires_stage != below:
            wanted = f"requires_stage: {below}" if below else "no requires_stage"
            raise ValueError(f"a policy for {self.stage} has {wanted}: stages are not skipped")
        if self.approvals and below is None:
            raise ValueError(f"approvals would open nothing: {self.stage} is entered without a verdict")
        ids = [*(rule.id for rule in self.rules), *(asked.id for asked in self.calibrations)]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"rule ids are given twice: {', '.join(twice)}")
        if taken := sorted(set(ids) & set(REQUIREMENTS)):
            raise ValueError(f"rule ids stand for what a policy asks besides its rules: {', '.join(taken)}")
        return self

    @property
    def ids(self) -> list[str]:
        """The ids of all that it asks, as they stand in a decision: of rules, of judges, of everything else."""
        data = self.training_data
        besides = {
            "tries": self.tries is not None and self.tries.max is not None,
            "licences": data is not None and data.licences is not None,
            "phases": data is not None and data.phases is not None,
            "families": data is not None and bool(data.excluded_families),
            **{f"fresh-{kind}": True for kind in (self.freshness.limits if self.freshness else ())},
        }
        asked = [name for name in REQUIREMENTS if besides.get(name)]
        return [*(rule.id for rule in self.rules), *(one.id for one in self.calibrations), *asked]

    @property
    def compares(self) -> bool:
        """Whether a rule asks about the incumbent."""
        return any(rule.against == "incumbent" for rule in self.rules)

    def rules_for(self, task: str) -> list[Rule]:
        """The rules that apply to a model of ``task``."""
        return [rule for rule in self.rules if task in rule.tasks]


def scale(unit: str, *, of: str) -> tuple[float, float]:
    """The lowest and the highest number that a value of ``unit``, or a difference of two, can be."""
    if of == "difference":
        return (-1.0, 1.0) if unit == "proportion" else (-math.inf, math.inf)
    return {"proportion": (0.0, 1.0), "perplexity": (1.0, math.inf)}.get(unit, (-math.inf, math.inf))


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
