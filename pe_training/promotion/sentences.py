"""A rule's finding as one plain sentence, for a clinician and not for a statistician.

Numbers are rounded as far as they can be without lying: 89.6 % against a bound of 90 % never reads "90 %".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pe_training.core.ids import short
from pe_training.evaluation.record import Comparison, Estimate
from pe_training.promotion.levels import PLAIN, Level
from pe_training.promotion.policy import Rule

MAX_DECIMALS = 6
_START_DECIMALS = {"proportion": 0, "nats": 2, "perplexity": 1, "score": 2, "tokens": 0, "words": 1, "ratio": 2}
_OTHER = {"base": "base model", "incumbent": "incumbent"}
_TESTS = {"non_inferiority": "not worse than", "superiority": "better than"}
_BECAUSE = {
    ("at_least", "pass"): "even the lower end reaches it",
    ("at_most", "pass"): "even the upper end keeps it",
    ("at_least", "fail"): "even the upper end is below",
    ("at_most", "fail"): "even the lower end is above",
}


def decided(rule: Rule, found: Estimate | Comparison, verdict: str, *, policy_name: str, level: Level = PLAIN) -> str:
    """Why a rule passed or failed."""
    return f"{_measured(rule, found, level)}; {_needs(rule, policy_name)}: {_BECAUSE[rule.bound, verdict]}"


def undecided(rule: Rule, found: Estimate | Comparison, more: int | None, *, policy_name: str, level: Level = PLAIN) -> str:
    """The interval holds the threshold."""
    unit = _units(found, more or 2)
    wait = f"about {more:,} more {unit} would decide" if more is not None else f"no number of {unit} at this value would decide"
    return f"{_measured(rule, found, level)}; {_needs(rule, policy_name)}, which lies inside the interval: {wait}{_next_time(more, level)}"


def too_few(rule: Rule, found: Estimate | Comparison, more: int | None, *, policy_name: str, level: Level = PLAIN) -> str:
    """Fewer examples than the rule asks for, whatever they show. ``more``: how many would decide, where that can be said."""
    gap = rule.min_n - found.n
    then = f", and at this value {more:,} would decide{_next_time(more, level)}" if more is not None and more > gap else ""
    return (
        f"{_measured(rule, found, level)}; {policy_name} judges from {rule.min_n:,} {_units(found, rule.min_n)} on: "
        f"{gap:,} more {'is' if gap == 1 else 'are'} needed{then}"
    )


def not_measured(rule: Rule, *, policy_name: str) -> str:
    """The report does not have the metric."""
    return f"{rule.title} was not measured: the report has no {_metric(rule)}; {_needs(rule, policy_name)}"


def no_evidence(rule: Rule, note: str | None, *, policy_name: str) -> str:
    """The report has the metric, without a value."""
    missing = f"no comparison with the {_OTHER[rule.against]}" if rule.of == "difference" else "no value"
    because = f" ({note})" if note else ""
    return f"{rule.title} has {missing}{because}; {_needs(rule, policy_name)} from {rule.min_n:,} {_examples(rule.min_n)} or more"


def wrong_unit(rule: Rule, unit: str) -> str:
    """The report and the rule speak of different things."""
    return f"{rule.title} was measured as {unit}, and the rule is written for {rule.unit}: the two cannot be compared"


def unusable(rule: Rule) -> str:
    """The numbers are no interval."""
    return f"{rule.title} has numbers that are no interval, so nothing can be said about it"


def not_applicable(rule: Rule, task: str) -> str:
    """The rule is for other tasks."""
    return f"{rule.title} is judged for {' and '.join(rule.tasks)} only, and this model's task is {task}"


def unknown_holder(rule: Rule, *, policy_name: str) -> str:
    """Nobody looked who holds the stage."""
    return f"{rule.title} is judged against what holds the stage of {policy_name}, and nobody looked what that is"


def first_of_its_line(rule: Rule) -> str:
    """Nothing holds the stage."""
    return f"{rule.title} is judged against what holds the stage, and nothing does: this is the first model of its line there"


def holds_it_itself(rule: Rule) -> str:
    """The incumbent is this model."""
    return f"{rule.title} is judged against what holds the stage, and this model holds it itself"


def recalled_holder(rule: Rule, holder: str) -> str:
    """The incumbent may not be asked."""
    return f"{rule.title} is judged against what holds the stage, and {holder} comes from recalled data: nothing is asked of it any more"


def not_asked(rule: Rule, holder: str, asked: str | None, *, policy_name: str) -> str:
    """The report was not compared with the incumbent that there is."""
    other = f"the report was compared with {asked}" if asked else "the report was compared with no incumbent"
    return (
        f"{rule.title} has no comparison with {holder}, which holds the stage ({other}); {_needs(rule, policy_name)}: "
        "a run with `evaluation.incumbent` set to the stage would decide"
    )


def nameless_judge(rule: Rule, *, policy_name: str) -> str:
    """The report does not say who judged."""
    return f"{rule.title} does not say who judged the replies; {policy_name} believes {_any_of(rule.judges)}: a new report would decide"


def other_judge(rule: Rule, judges: Sequence[str], *, policy_name: str) -> str:
    """Somebody judged whose word does not count here."""
    return (
        f"{rule.title} was judged by {_and(judges)}; {policy_name} believes {_any_of(rule.judges)}: "
        "the same replies judged by one of those would decide"
    )


def listed(identifiers: Sequence[str]) -> str:
    """Ids in few words, the first three by name."""
    named = [short(one) for one in identifiers[:3]]
    return _and(named) if len(identifiers) <= len(named) else f"{', '.join(named)} and {len(identifiers) - len(named):,} more"


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _any_of(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _metric(rule: Rule) -> str:
    return f"metric {rule.metric} of suite {rule.suite}" + (f", slice {rule.slice}" if rule.slice != "all" else "")


def _measured(rule: Rule, found: Estimate | Comparison, level: Level) -> str:
    numbers = (found.value, found.low, found.high)
    decimals = _decimals(rule, numbers)
    value, low, high = (_number(rule, number, decimals) for number in numbers)
    return f"{rule.title} is {value}{_unit(rule)} ({percent_of(level.confidence)} interval {low} to {high}, n {_behind(found)})"


def percent_of(confidence: float) -> str:
    """``95 %``, ``99.17 %``: cut and not rounded, so that no interval claims more than it has."""
    cut = math.floor(confidence * 10_000 + 1e-6) / 100
    return f"{cut:g} %"


def _next_time(more: int | None, level: Level) -> str:
    return f" at the {percent_of(1 - level.ahead)} of the next try" if more is not None and level.ahead != PLAIN.ahead else ""


def _needs(rule: Rule, policy_name: str) -> str:
    needed = f"{policy_name} needs {rule.bound.replace('_', ' ')} {_number(rule, rule.limit, _decimals(rule, ()))}{_unit(rule)}"
    if rule.test is None:
        return needed
    return f"{needed} ({_TESTS[rule.test]} the incumbent)"


def amount(number: float, rule: Rule) -> str:
    """A number that stands in a policy or follows from one, with its unit: ``96.3 %``, ``-2 points``."""
    scaled = _scaled(rule, number)
    short_form = f"{scaled:.4g}"
    return f"{short_form if float(short_form) not in (0, 100, -100) else f'{scaled:.10g}'}{_unit(rule)}"


def _unit(rule: Rule) -> str:
    if rule.unit == "proportion":
        return " points" if rule.of == "difference" else " %"
    return f" {rule.unit}" if rule.unit in ("nats", "tokens") else ""


def _scaled(rule: Rule, number: float) -> float:
    return number * 100 if rule.unit == "proportion" else number


def _number(rule: Rule, number: float, decimals: int) -> str:
    return f"{round(_scaled(rule, number), decimals) + 0.0:.{decimals}f}"


def _decimals(rule: Rule, numbers: tuple[float, ...]) -> int:
    """The fewest decimals that show the threshold as it is, and no other number as the threshold."""
    start = _START_DECIMALS[rule.unit]
    threshold = _scaled(rule, rule.limit)
    for decimals in range(start, MAX_DECIMALS):
        exact = abs(round(threshold, decimals) - threshold) < 1e-9
        apart = all(_number(rule, n, decimals) != _number(rule, rule.limit, decimals) for n in numbers if n != rule.limit)
        if apart and (numbers or exact):
            return decimals
    return MAX_DECIMALS


def _behind(found: Estimate | Comparison) -> str:
    """``60``, or ``12 clusters of 60 examples`` where examples hang together."""
    return f"{found.n:,}" if found.examples is None else f"{found.n:,} {_units(found, found.n)} of {found.examples:,} examples"


def _units(found: Estimate | Comparison, count: int) -> str:
    """What ``n`` counts."""
    return _examples(count) if found.examples is None else "cluster" if count == 1 else "clusters"


def _examples(count: int) -> str:
    return "example" if count == 1 else "examples"
