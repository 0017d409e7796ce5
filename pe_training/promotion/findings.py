"""What one rule finds in a report: the pessimistic end of the interval against the limit, at the level of this try.

The order of the questions is the order in which evidence is doubted: whether the rule is for this model, whether the measure was taken,
who spoke, whether there is somebody to compare with, whether the numbers are numbers, and only then what they say.
"""

from __future__ import annotations

import math
import re

from pe_training.core.ids import short
from pe_training.evaluation.judges import labels_behind
from pe_training.evaluation.record import Comparison, Estimate, EvaluationReport, Metric
from pe_training.evaluation.statistics import ALPHA, examples_needed
from pe_training.promotion import sentences
from pe_training.promotion.facts import NOTHING, Facts
from pe_training.promotion.levels import PLAIN, Level, widened
from pe_training.promotion.policy import Rule
from pe_training.promotion.record import Finding, Holder, Outcome, Verdict
from pe_training.promotion.requirements import is_word_list

_TRAINED = re.compile(r"(\S+) ck_[0-9a-f]+")


def outcome_of(
    rule: Rule, report: EvaluationReport, *, task: str, policy_name: str, facts: Facts = NOTHING, level: Level = PLAIN
) -> Outcome:
    """What one rule finds in a report about a model of ``task``."""
    if task not in rule.tasks:
        return _written(rule, "not_applicable", sentences.not_applicable(rule, task))
    if rule.against == "incumbent" and (said := _without_incumbent(rule, report, facts.holder, policy_name=policy_name)):
        return _written(rule, *said)
    metric = report.metric(rule.suite, rule.metric, rule.slice)
    return found_in(metric, rule, task=task, policy_name=policy_name, level=level)


def calibration_outcome(rule: Rule, kappa: Metric, *, task: str, policy_name: str) -> Outcome:
    """What a rule about a judge finds: always at 95 %, since a judge is no try of the model's."""
    if task not in rule.tasks:
        return _written(rule, "not_applicable", sentences.not_applicable(rule, task))
    return found_in(kappa, rule, task=task, policy_name=policy_name)


def found_in(metric: Metric | None, rule: Rule, *, task: str, policy_name: str, level: Level = PLAIN) -> Outcome:
    """What a rule that applies finds in its measure."""
    if metric is None:
        return _written(rule, "inconclusive", sentences.not_measured(rule, policy_name=policy_name))
    if metric.unit != rule.unit:
        return _written(rule, "inconclusive", sentences.wrong_unit(rule, metric.unit))
    if said := _unheard(rule, metric, task=task, policy_name=policy_name):
        return _written(rule, "inconclusive", said)
    stored = _evidence(rule, metric)
    if stored is None:
        return _written(rule, "inconclusive", sentences.no_evidence(rule, metric.note, policy_name=policy_name))
    if not _usable(rule, stored):
        return _written(rule, "inconclusive", sentences.unusable(rule))
    found, ahead = (_at(alpha, rule, metric, stored) for alpha in (level.alpha, level.ahead))
    verdict, more = compare(rule, found, ahead=ahead, alpha=level.ahead)
    if found.n < rule.min_n:
        reason = sentences.too_few(rule, found, more, policy_name=policy_name, level=level)
    elif verdict == "inconclusive":
        reason = sentences.undecided(rule, found, more, policy_name=policy_name, level=level)
    else:
        reason = sentences.decided(rule, found, verdict, policy_name=policy_name, level=level)
    return _written(rule, verdict, reason, found=found, more=more, level=level)


def compare(
    rule: Rule, found: Estimate | Comparison, *, ahead: Estimate | Comparison | None = None, alpha: float = ALPHA
) -> tuple[Verdict, int | None]:
    """The verdict of one rule on one interval, and how many more examples would decide (``None``: decided, or none would).

    ``ahead``: the same evidence at the level ``alpha`` of the next try, which is where more examples would be judged.
    """
    limit = rule.limit
    if found.n < rule.min_n:
        return "inconclusive", max(rule.min_n - found.n, _needed(rule, ahead or found, alpha) or 1)
    if rule.bound == "at_least":
        passes, fails = found.low >= limit, found.high < limit
    else:
        passes, fails = found.high <= limit, found.low > limit
    if rule.test == "superiority" and limit in (found.low, found.high):
        passes = False  # better means better, and not as good
    if passes or fails:
        return ("pass" if passes else "fail"), None
    return "inconclusive", _needed(rule, ahead or found, alpha)


def _needed(rule: Rule, found: Estimate | Comparison, alpha: float) -> int | None:
    point = Estimate(value=found.value, low=found.low, high=found.high, n=found.n, method=found.method, examples=found.examples)
    needed = examples_needed(point, threshold=rule.limit, bound=rule.bound, alpha=alpha)
    return needed if needed is None else max(needed, 1)  # an interval that was rounded to 6 decimals can miss by less than one


def _at(alpha: float, rule: Rule, metric: Metric, found: Estimate | Comparison) -> Estimate | Comparison:
    shares = (metric.tuned, metric.base if rule.against == "base" else metric.incumbent)
    return widened(found, unit=rule.unit, of=rule.of, alpha=alpha, shares=shares)


def _without_incumbent(rule: Rule, report: EvaluationReport, holder: Holder | None, *, policy_name: str) -> tuple[Finding, str] | None:
    """What a rule against the incumbent says where the report was not compared with the one there is; ``None`` where it was."""
    if holder is None:
        return "inconclusive", sentences.unknown_holder(rule, policy_name=policy_name)
    if holder.checkpoint_id is None:
        return "not_applicable", sentences.first_of_its_line(rule)
    if holder.checkpoint_id == report.checkpoint_id:
        return "not_applicable", sentences.holds_it_itself(rule)
    if holder.recalled:
        return "not_applicable", sentences.recalled_holder(rule, short(holder.checkpoint_id))
    if report.incumbent != holder.checkpoint_id:
        asked = short(report.incumbent) if report.incumbent else None
        return "inconclusive", sentences.not_asked(rule, short(holder.checkpoint_id), asked, policy_name=policy_name)
    return None


def _unheard(rule: Rule, metric: Metric, *, task: str, policy_name: str) -> str | None:
    """Why the word of those who judged does not count for this rule. A measure that nobody judges, such as a loss, is what it is."""
    if not rule.judges or task == "text_classification":
        return None
    try:
        judged = bool(labels_behind(rule.metric, rule.slice))
    except KeyError:
        judged = False
    if metric.judge is None:
        return sentences.nameless_judge(rule, policy_name=policy_name) if judged else None
    strangers = [name for name in metric.judge.split(", ") if not _names_of(name).intersection(rule.judges)]
    return sentences.other_judge(rule, strangers, policy_name=policy_name) if strangers else None


def _names_of(judge: str) -> set[str]:
    """What a rule may call a judge."""
    if found := _TRAINED.fullmatch(judge):
        return {"trained", found[1]}
    if is_word_list(judge):
        return {"rules", judge}
    return {"llm"} if judge.startswith("llm ") else set()


def _evidence(rule: Rule, metric: Metric) -> Estimate | Comparison | None:
    """What the rule is about. A difference without a value of the tuned model itself is no evidence either."""
    if rule.of == "tuned" or metric.tuned is None:
        return metric.tuned
    return metric.difference if rule.against == "base" else metric.over_incumbent


def _usable(rule: Rule, found: Estimate | Comparison) -> bool:
    numbers = (found.value, found.low, found.high)
    if not all(math.isfinite(number) for number in numbers) or found.low > found.high or found.n < 1:
        return False
    floor = -1.0 if rule.of == "difference" else 0.0
    return rule.unit != "proportion" or all(floor <= number <= 1 for number in numbers)


def _written(
    rule: Rule,
    verdict: Finding,
    reason: str,
    *,
    found: Estimate | Comparison | None = None,
    more: int | None = None,
    level: Level = PLAIN,
) -> Outcome:
    numbers = {} if found is None else {"value": found.value, "low": found.low, "high": found.high, "confidence": level.confidence}
    return Outcome(
        rule=rule.id,
        title=rule.title,
        verdict=verdict,
        severity=rule.severity,
        reason=reason,
        suite=rule.suite,
        metric=rule.metric,
        slice=rule.slice,
        of=rule.of,
        against=rule.against,
        test=rule.test,
        margin=rule.margin,
        bound=rule.bound,
        threshold=rule.limit,
        min_n=rule.min_n,
        unit=rule.unit,
        **numbers,
        n=None if found is None else found.n,
        more_examples=more,
    )
