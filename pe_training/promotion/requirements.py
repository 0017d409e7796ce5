"""What a policy asks besides its rules: training data, judges' calibrations, the age of evidence, the number of tries.

Each becomes an outcome like a rule's, with a count against a bound, so that verdicts, pages and checks need not know of them. A count
that nobody could take is inconclusive, and so is evidence that is too old: neither says anything against the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pe_training.evaluation.judges import rules
from pe_training.evaluation.record import Agreement, JudgeCalibration, Metric
from pe_training.promotion import sentences
from pe_training.promotion.facts import Facts, Rows
from pe_training.promotion.policy import Calibrated, Policy, Rule, TrainingData
from pe_training.promotion.record import Finding, Outcome

_OLD = {"report": "the report", "calibration": "calibrations of judges", "dataset": "the training data"}


def required(policy: Policy, facts: Facts, *, task: str) -> Iterator[Outcome]:
    """One outcome for each thing that the policy asks, in the order of its keys; calibrations are rules (:func:`calibration_rules`)."""
    if policy.tries and policy.tries.max is not None:
        yield _tries(policy, policy.tries.max, facts.attempt)
    if policy.training_data:
        yield from _data(policy, policy.training_data, facts)
    for kind, days in (policy.freshness.limits if policy.freshness else {}).items():
        yield _fresh(policy, kind, days, facts, task=task)


def _tries(policy: Policy, most: int, attempt: int | None) -> Outcome:
    if attempt is None:
        verdict: Finding = "inconclusive"
        reason = f"nobody counted the tries for {policy.stage}; {policy.name} allows {most}"
    elif attempt > most:
        verdict, reason = "inconclusive", (
            f"this is try {attempt} of the line for {policy.stage}, and {policy.name} allows {most}: no further evidence decides, "
            f"whoever answers for {policy.name} has to allow more"
        )  # fmt: skip
    else:
        verdict, reason = "pass", f"this is try {attempt} of the line for {policy.stage}, and {policy.name} allows {most}"
    return _counted("tries", "Number of tries", verdict, reason, unit="tries", found=attempt, most=most)


def _data(policy: Policy, asked: TrainingData, facts: Facts) -> Iterator[Outcome]:
    known = None if facts.trained_on is None else [one.rows for one in facts.trained_on]
    questions: list[tuple[str, str, dict[str, int] | None]] = []
    if asked.licences is not None:
        allowed = asked.licences
        questions.append(
            ("licences", "Training rows under a licence that is not allowed", _outside(known, 2, lambda name: name in allowed))
        )
    if asked.phases is not None:
        phases = asked.phases
        questions.append(
            ("phases", "Training rows of a phase that is not allowed", _outside(known, 0, lambda name: _in_phase(name, phases)))
        )
    if asked.excluded_families:
        excluded = asked.excluded_families
        questions.append(("families", "Training rows of an excluded family", _outside(known, 1, lambda name: name not in excluded)))
    imported = [one.source_id for one in facts.trained_on or () if one.rows is None]
    total = None if known is None else sum(_rows(rows) for rows in known if rows is not None)
    for identifier, title, outside in questions:
        yield _rows_outside(identifier, title, outside, total, imported, policy_name=policy.name)


def _rows_outside(
    identifier: str, title: str, outside: dict[str, int] | None, total: int | None, imported: Sequence[str], *, policy_name: str
) -> Outcome:
    if outside is None or total is None:
        reason = f"nobody looked at what the model was trained on; {policy_name} needs to know"
        return _counted(identifier, title, "inconclusive", reason, unit="rows", found=None, most=0)
    found = sum(outside.values())
    if found:
        named = ", ".join(f"{name} ({rows:,})" for name, rows in sorted(outside.items()))
        reason = f"{found:,} of {total:,} training rows are not allowed by {policy_name}: {named}"
        return _counted(identifier, title, "fail", reason, unit="rows", found=found, most=0, n=total)
    if imported:
        reason = f"it started from {imported[0]}, which was imported: nobody knows what that learnt from, and {policy_name} needs to know"
        return _counted(identifier, title, "inconclusive", reason, unit="rows", found=None, most=0)
    if not total:
        reason = f"no training rows are known, and {policy_name} needs to know them"
        return _counted(identifier, title, "inconclusive", reason, unit="rows", found=None, most=0)
    reason = f"all {total:,} training rows are such as {policy_name} allows"
    return _counted(identifier, title, "pass", reason, unit="rows", found=0, most=0, n=total)


def _outside(known: Sequence[Rows | None] | None, position: int, allowed: Any) -> dict[str, int] | None:
    """Phase, family or licence (``position`` 0, 1, 2) -> rows, of those that are not allowed; ``None`` where nobody looked."""
    if known is None:
        return None
    found: dict[str, int] = {}
    for names, rows in ((names, rows) for one in known if one is not None for names, rows in _flat(one)):
        if not allowed(names[position]):
            found[names[position]] = found.get(names[position], 0) + rows
    return found


def _flat(rows: Rows) -> Iterator[tuple[tuple[str, str, str], int]]:
    for phase, families in rows.items():
        for family, licences in families.items():
            for licence, count in licences.items():
                yield (phase, family, licence), count


def _rows(rows: Rows) -> int:
    return sum(count for _, count in _flat(rows))


def _in_phase(name: str, phases: Sequence[str]) -> bool:
    """``stage1`` allows stage1_foundation; a whole name allows itself alone."""
    return name in phases or name.partition("_")[0] in phases


def _fresh(policy: Policy, kind: str, days: int, facts: Facts, *, task: str) -> Outcome:
    identifier, title = f"fresh-{kind}", f"Records older than {days} days: {_OLD[kind]}"
    asked = None if facts.evidence is None else facts.evidence[kind]
    if asked is None:
        reason = f"nobody looked how old {_OLD[kind]} is; {policy.name} allows {days} days"
        return _counted(identifier, title, "inconclusive", reason, unit="records", found=None, most=0)
    if not asked and kind == "calibration":
        if task == "text_classification":
            reason = "no judge was asked, since the model itself names labels"
            return _counted(identifier, title, "not_applicable", reason, unit="records", found=None, most=0)
        reason = f"the report names no calibration of a judge; {policy.name} needs one that is no older than {days} days"
        return _counted(identifier, title, "inconclusive", reason, unit="records", found=None, most=0)
    old = [one for one in asked if one in facts.stale]
    if old:
        reason = f"{sentences.listed(old)} {'was' if len(old) == 1 else 'were'} not of the last {days} days when this was judged: "
        reason += "new evidence would decide, from an evaluation with newer suites, judges or code" if kind != "dataset" else (
            "a model trained on a newer dataset version would decide"
        )  # fmt: skip
        return _counted(identifier, title, "inconclusive", reason, unit="records", found=len(old), most=0, n=len(asked))
    reason = f"when this was judged it was no older than {days} days" if len(asked) == 1 else (
        f"when this was judged all {len(asked)} were no older than {days} days"
    )  # fmt: skip
    return _counted(identifier, title, "pass", reason, unit="records", found=0, most=0, n=len(asked))


def _counted(
    rule: str, title: str, verdict: Finding, reason: str, *, unit: str, found: int | None, most: int, n: int | None = None
) -> Outcome:
    number = None if found is None else float(found)
    return Outcome(
        rule=rule, title=title, verdict=verdict, reason=reason, suite="policy", metric=rule.replace("-", "_"), slice="all", bound="at_most",
        threshold=float(most), min_n=1, unit=unit, value=number, low=number, high=number, n=None if found is None else n or 1,
    )  # fmt: skip


def calibration_rules(policy: Policy) -> list[Rule]:
    """What the policy asks of judges, as rules about kappa."""
    return [calibration_rule(asked) for asked in policy.calibrations]


def calibration_rule(asked: Calibrated) -> Rule:
    """The lower end of kappa, of whoever judged the label in the replies."""
    return Rule(
        id=asked.id, title=f"Agreement with people on {asked.label.replace('_', ' ')}",
        suite="calibration", metric="kappa", slice=f"label={asked.label}", tasks=["causal_lm"], bound="at_least", threshold=asked.min_kappa,
        unit="score", min_n=asked.min_n,
    )  # fmt: skip


def kappa_of(label: str, calibrations: Sequence[JudgeCalibration]) -> Metric:
    """Kappa of whoever judged ``label``: the others where they know it, in whose place the word lists stand, and the lowest of several."""
    name, others = f"label={label}", [one for one in calibrations if not is_word_list(one.judge)]
    known = _agreements(label, others) or _agreements(label, calibrations)
    metric = Metric(suite="calibration", name="kappa", slice=name, unit="score", better="higher")
    if not known:
        return metric.model_copy(update={"note": "no judge of the report was compared with people on it"})
    judge, found = min(known, key=lambda one: (-2.0 if one[1].kappa is None else one[1].kappa.low, one[0]))
    if found.kappa is None:
        return metric.model_copy(update={"note": f"of {judge}: a person saw it everywhere or nowhere", "judge": judge})
    return metric.model_copy(update={"tuned": found.kappa, "judge": judge})


def _agreements(label: str, calibrations: Sequence[JudgeCalibration]) -> list[tuple[str, Agreement]]:
    return [(one.judge, found) for one in calibrations for found in one.agreements if found.label == label]


def is_word_list(judge: str) -> bool:
    """Whether a judge is one of the word lists, of whatever version."""
    return judge.rpartition("-v")[0] in {one.name.rpartition("-v")[0] for one in rules()}
