"""Whether a policy can do its work: rules that can never pass or never fail, and what else it asks that nothing can answer.

A rule that never fails is a gate painted on a wall; one that never passes is found out when the first good model waits before it. Both
can be told from the policy, from what suites measure and from the formulas of the intervals, without any model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import get_args

from pe_training.core.config import suggest
from pe_training.datasets.policy import ReleasePolicy
from pe_training.evaluation.catalogue import CATALOGUE, JUDGES, Measured, examples_behind
from pe_training.evaluation.statistics import wilson
from pe_training.evaluation.suites import Suite
from pe_training.promotion.policy import Policy, Rule, Task, scale
from pe_training.promotion.sentences import amount

_MOST = 10_000_000  # examples; what needs more is never measured
_NO_RATES = (
    "largest_gap",
    "demographic_parity_difference",
    "equalized_odds_difference",
    "distinct_1",
    "distinct_2",
)  # with other intervals
_NEVER_COMPARED = ("leak", "overlap")  # in the names of measures that are not taken of an incumbent, which learnt from other rows


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """What is wrong with a policy. ``steps``: the way to the value in its file. ``certain``: whatever the evidence and its n."""

    rule: str
    message: str
    hint: str
    steps: tuple[str | int, ...]
    certain: bool = True


def doubts(
    policy: Policy, *, suites: Mapping[str, Suite], releases: ReleasePolicy | None = None, labels: Sequence[str] | None = None
) -> Iterator[Doubt]:
    """Everything that is wrong, rule by rule. ``suites``: those there are; ``labels``: of replies that people labelled."""
    for number, rule in enumerate(policy.rules):
        steps = ("rules", number)
        known = _measured(rule, suites)
        if isinstance(known, Doubt):
            yield _at(known, steps)
            continue
        found = [*_unanswerable(rule, known), *_pointless(rule, known)] or [*_direction(rule, known)]
        yield from (_at(doubt, steps) for doubt in found)
        if not any(doubt.certain for doubt in found):
            yield from (_at(doubt, steps) for doubt in _numbers(rule, suites.get(rule.suite)))
    yield from _pairs(policy)
    for task in get_args(Task):
        if policy.rules_for(task) and not any(rule.severity == "block" for rule in policy.rules_for(task)):
            message = f"no rule for {task} blocks, so no model of that task can pass"
            yield Doubt(rule="", message=message, hint="leave out `severity: warn` in one of them", steps=("rules",), certain=False)
    yield from _data(policy, releases)
    for number, asked in enumerate(policy.calibrations):
        steps, name = ("calibrations", number), asked.id
        if labels is not None and asked.label not in labels:
            message = f"people have labelled no replies for {asked.label!r}, so it can never pass"
            yield Doubt(rule=name, message=message, hint=suggest(asked.label, labels), steps=(*steps, "label"))
        if abs(asked.min_kappa) == 1:
            never = "pass: the lower end of an interval is below 1" if asked.min_kappa == 1 else "fail: kappa is never lower"
            message = f"min_kappa {asked.min_kappa:g} can never {never}"
            yield Doubt(rule=name, message=message, hint="0.4 is moderate, 0.6 substantial agreement", steps=(*steps, "min_kappa"))


def _measured(rule: Rule, suites: Mapping[str, Suite]) -> Measured | Doubt:
    """What the catalogue says about a rule's measure; a doubt where nobody takes it."""
    if rule.suite != JUDGES and rule.suite not in suites:
        return _doubt(rule, f"can never pass: there is no suite {rule.suite!r}", suggest(rule.suite, [*suites, JUDGES]), at="suite")
    kind = JUDGES if rule.suite == JUDGES else suites[rule.suite].config.kind
    known = CATALOGUE[kind].get(rule.metric)
    if known is None:
        message = f"can never pass: suite {rule.suite} does not measure {rule.metric!r}"
        return _doubt(rule, message, suggest(rule.metric, CATALOGUE[kind]), at="metric")
    if known.unit != rule.unit:
        message = f"can never pass: {rule.metric} is measured as {known.unit}, and the rule says {rule.unit}"
        return _doubt(rule, message, f"write `unit: {known.unit}` and the threshold in it", at="unit")
    wanted = {"replies": "causal_lm", "labels": "text_classification"}.get(known.of)
    if wanted and (stray := [task for task in rule.tasks if task != wanted]):
        message = f"can never pass for {stray[0]}: {rule.metric} is measured of {known.of} only"
        return _doubt(rule, message, f"write `tasks: [{wanted}]`", at="tasks")
    return _slice(rule, known, suites.get(rule.suite)) or known


def _slice(rule: Rule, known: Measured, suite: Suite | None) -> Doubt | None:
    field, _, value = rule.slice.partition("=")
    allowed = [f"{name}=..." for name in known.slices] + (["all"] if known.whole else [])
    found: tuple[str, str] | None = None
    if rule.slice == "all":
        if not known.whole:
            found = f"{rule.metric} is measured by {' and '.join(known.slices)} only", f"write `slice: {next(iter(known.slices))}=...`"
    elif "*" in known.slices:
        if suite and not examples_behind(suite, rule.metric, rule.slice):
            found = f"suite {rule.suite} has no {rule.slice}", "look into its examples"
    elif field not in known.slices:
        found = f"{rule.metric} is not measured by {field!r}", f"slices: {', '.join(allowed)}"
    elif known.slices[field] and value not in known.slices[field]:
        found = f"there is no {field} {value!r}", suggest(value, known.slices[field])
    return _doubt(rule, f"can never pass: {found[0]}", found[1], at="slice") if found else None


def _unanswerable(rule: Rule, known: Measured) -> Iterator[Doubt]:
    """A limit that no pessimistic end reaches, or a comparison that is never made."""
    if rule.against == "incumbent" and any(word in rule.metric for word in _NEVER_COMPARED):
        yield _doubt(rule, f"can never pass: {rule.metric} is not compared with the incumbent", "judge the tuned model's own", at="against")
    low, high = _ends(rule, known)
    best = high if rule.bound == "at_least" else low
    beyond = rule.limit > best if rule.bound == "at_least" else rule.limit < best
    if beyond:
        message = f"can never pass: no {_called(rule)} is {_side(rule)} {amount(rule.limit, rule)}, it lies in {_range(rule, low, high)}"
        yield _doubt(rule, message, "set the limit within what can be measured", at=_limit_key(rule))
    elif rule.limit == best and (rule.of == "difference" or rule.unit == "proportion"):
        message = f"can never pass: the pessimistic end of an interval never reaches {amount(best, rule)} itself, whatever n"
        yield _doubt(rule, message, "leave room for an interval", at=_limit_key(rule))


def _pointless(rule: Rule, known: Measured) -> Iterator[Doubt]:
    """A limit that everything holds."""
    low, high = _ends(rule, known)
    held = rule.limit <= low if rule.bound == "at_least" else rule.limit >= high
    if held:
        message = f"can never fail: every {_called(rule)} is {rule.bound.replace('_', ' ')} {amount(rule.limit, rule)}"
        yield _doubt(rule, message, "set a limit that some model would miss, or remove the rule", at=_limit_key(rule))


def _direction(rule: Rule, known: Measured) -> Iterator[Doubt]:
    wrong = {"higher": "at_most", "lower": "at_least"}.get(known.better)
    if rule.bound == wrong:
        message = f"asks for {_side(rule)} {amount(rule.limit, rule)} of a measure of which {known.better} is better"
        yield _doubt(rule, message, "is the bound the right way round?", at="bound", certain=False)


def _numbers(rule: Rule, suite: Suite | None) -> Iterator[Doubt]:
    """What n can reach: with the best conceivable answers to min_n examples, and to all that the suite has."""
    there = examples_behind(suite, rule.metric, rule.slice) if suite else None
    if there is not None and there < rule.min_n:
        message = f"can never pass with suite {rule.suite} as it is: it asks for {rule.min_n:,} examples, and there are {there:,}"
        yield _doubt(rule, message, "add examples, or judge with another suite", at="min_n", certain=False)
        return
    if rule.unit != "proportion" or rule.of != "tuned" or rule.suite == JUDGES or rule.metric in _NO_RATES:
        return
    end = _best_end(rule, rule.min_n)
    reached = end >= rule.limit if rule.bound == "at_least" else end <= rule.limit
    if reached:
        return
    needed = _needed(rule)
    faultless = "all of them right" if rule.bound == "at_least" else "none of them wrong"
    side = "lower" if rule.bound == "at_least" else "upper"
    message = f"can never pass at its min_n of {rule.min_n:,}, where the best {side} end is {amount(end, rule)}"
    if needed is None:
        yield _doubt(rule, f"can never pass: not even {_MOST:,} examples with {faultless} reach {amount(rule.limit, rule)}",
                     "leave more room for an interval", at=_limit_key(rule))  # fmt: skip
        return
    tail = f": it takes {needed:,} examples with {faultless}"
    if there is not None and there < needed:
        tail += f", and suite {rule.suite} has {there:,}"
    yield _doubt(rule, message + tail, "mean it, or raise min_n, or leave more room", at="min_n", certain=False)


def _best_end(rule: Rule, n: int) -> float:
    low, high = wilson(n if rule.bound == "at_least" else 0, n)
    return low if rule.bound == "at_least" else high


def _needed(rule: Rule) -> int | None:
    """The fewest examples with which faultless answers pass, at the first try."""
    few, many = 0, _MOST

    def passes(n: int) -> bool:
        end = _best_end(rule, n)
        return end >= rule.limit if rule.bound == "at_least" else end <= rule.limit

    if not passes(many):
        return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if passes(middle) else (middle, many)
    return many


def _pairs(policy: Policy) -> Iterator[Doubt]:
    """Two rules about the same number that no number holds, or of which one says nothing beyond the other."""
    for (_, one), (second, other) in combinations(enumerate(policy.rules), 2):
        same = all(getattr(one, name) == getattr(other, name) for name in ("suite", "metric", "slice", "of", "against", "unit"))
        if not same or not set(one.tasks).intersection(other.tasks):
            continue
        if one.bound == other.bound:
            if set(one.tasks) == set(other.tasks) and one.severity == other.severity:
                hint = "keep the stricter one"
                yield _doubt(other, f"bounds what rule {one.id!r} bounds the same way", hint, steps=("rules", second), certain=False)
            continue
        floor, ceiling = (one, other) if one.bound == "at_least" else (other, one)
        if floor.limit >= ceiling.limit:
            message = (
                f"can never pass together with rule {one.id!r}: {_called(floor)} would be {amount(floor.limit, floor)} or more "
                f"and {amount(ceiling.limit, ceiling)} or less over a whole interval"
            )
            yield _doubt(other, message, "remove one, or set them apart", steps=("rules", second))


def _data(policy: Policy, releases: ReleasePolicy | None) -> Iterator[Doubt]:
    asked = policy.training_data
    if asked is None or releases is None:
        return
    if asked.licences is not None and not set(asked.licences) & set(releases.licences):
        message = f"can never pass: of the licences that releases may have, none is allowed ({', '.join(releases.licences)})"
        yield Doubt(rule="licences", message=message, hint="allow one of them", steps=("training_data", "licences"))
    if asked.excluded_families and set(asked.excluded_families) >= set(releases.families):
        message = "can never pass: it excludes every family that releases may have"
        yield Doubt(rule="families", message=message, hint="exclude fewer", steps=("training_data", "excluded_families"))
    for number, family in enumerate(asked.excluded_families):
        if family not in releases.families:
            message = f"excludes {family!r}, which no release may have"
            steps = ("training_data", "excluded_families", number)
            yield Doubt(rule="families", message=message, hint=suggest(family, releases.families), steps=steps, certain=False)


def _ends(rule: Rule, known: Measured) -> tuple[float, float]:
    """The lowest and highest number that the rule can be about."""
    if rule.of == "tuned":
        return known.low, known.high
    width = known.high - known.low
    return (-width, width) if math.isfinite(width) else scale(rule.unit, of="difference")


def _called(rule: Rule) -> str:
    return f"change of {rule.metric}" if rule.of == "difference" else rule.metric


def _side(rule: Rule) -> str:
    return "at least" if rule.bound == "at_least" else "at most"


def _range(rule: Rule, low: float, high: float) -> str:
    ends = (f"{amount(low, rule)} or more", f"{amount(high, rule)} or less")
    return f"{amount(low, rule)} to {amount(high, rule)}" if math.isfinite(high - low) else ends[0] if math.isfinite(low) else ends[1]


def _limit_key(rule: Rule) -> str:
    return "margin" if rule.against == "incumbent" else "threshold"


def _doubt(rule: Rule, message: str, hint: str, *, at: str | None = None, steps: tuple[str | int, ...] = (), certain: bool = True) -> Doubt:
    return Doubt(rule=rule.id, message=f"rule {rule.id!r} {message}", hint=hint, steps=(*steps, *([at] if at else [])), certain=certain)


def _at(doubt: Doubt, steps: tuple[str | int, ...]) -> Doubt:
    return Doubt(rule=doubt.rule, message=doubt.message, hint=doubt.hint, steps=(*steps, *doubt.steps), certain=doubt.certain)
