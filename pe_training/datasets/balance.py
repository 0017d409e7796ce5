"""Checks of the mix: what a release is made of, against what its families, labels, plan and earlier version promise.

Each looks at counts and means only. A check that has nothing to compare passes and says so in its note; it never invents a plan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pe_training.datasets.complaints import shown
from pe_training.datasets.policy import ReleasePolicy
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.release_manifest import MANIFEST
from pe_training.datasets.report import Check, Problem, check_result
from pe_training.datasets.row_table import RowTable, having


def balance_checks(rows: RowTable, policy: ReleasePolicy, *, previous: DatasetVersion | None) -> Iterator[Check]:
    """Lengths per family, labels, mixture and drift."""
    yield _family_lengths(rows, policy)
    yield _label_balance(rows, policy)
    yield _mixture(rows, policy)
    yield _drift(rows, policy, previous)


def _family_lengths(rows: RowTable, policy: ReleasePolicy) -> Check:
    """Families whose mean dialogue is not what such a family holds: content is not what its name says."""
    chosen = {family: rows.mask(having(family=family)) for family in policy.lengths}
    large = {family: mask for family, mask in chosen.items() if mask.sum() >= policy.min_family_rows}
    if not large:
        note = f"no family with an expected length has {policy.min_family_rows} rows"
        return _nothing("family_lengths", note, unit="family")
    problems = []
    for family, mask in large.items():
        words, turns = rows.means(mask)
        expected = policy.lengths[family]
        for unit, value, (low, high) in (("tokens", words * policy.tokens_per_word, expected.tokens), ("turns", turns, expected.turns)):
            if not low / policy.length_tolerance <= value <= high * policy.length_tolerance:
                message = f"{family}: about {value:.0f} {unit} a dialogue, expected {low:g} to {high:g}"
                problems.append(Problem(check="family_lengths", where=MANIFEST, field=f"source_families.{family}", message=message))
    return check_result("family_lengths", problems, unit="family", failing=len({problem.field for problem in problems}))


def _label_balance(rows: RowTable, policy: ReleasePolicy) -> Check:
    """Labels of which nearly every training row says the same, and values held out for testing that training never shows."""
    skipped = f"not looked at, as free text: {len(rows.free_text)}" if rows.free_text else None
    if not rows.labels:
        return _nothing("label_balance", skipped or "no row has a label", unit="label")
    problems = [
        Problem(check="label_balance", where=MANIFEST, field=f"labels.{shown(label)}", message=message)
        for label, counts in sorted(rows.labels.items())
        for message in _imbalance(counts, policy)
    ]
    failing = len({problem.field for problem in problems})
    return check_result("label_balance", problems, unit="label", failing=failing).model_copy(update={"note": skipped})


def _imbalance(counts: Counter[tuple[str, str]], policy: ReleasePolicy) -> Iterator[str]:
    """What is wrong with one label, whose ``counts`` are by split and value."""
    train = {value: count for (split, value), count in counts.items() if split == "train"}
    total = sum(train.values())
    if len(train) > 1 and total >= policy.min_family_rows and max(train.values()) / total > policy.max_label_share:
        yield f"one of {len(train)} values stands in {max(train.values()) / total:.1%} of {total:,} training rows"
    unseen = {value for split, value in counts if split != "train"} - train.keys()
    if train and unseen:
        yield f"{len(unseen)} of its values are held out and in no training row"


def _mixture(rows: RowTable, policy: ReleasePolicy) -> Check:
    """The families of the training rows against their planned weights."""
    if not policy.mixture:
        return _nothing("mixture", "no mixture is planned", unit="family")
    counts: Counter[str] = Counter()
    for profile, count in rows.counted():
        if profile.split == "train":
            counts[profile.family] += count
    planned = _shares(policy.mixture)
    realised = _shares(counts)
    off = {family: realised.get(family, 0.0) - planned.get(family, 0.0) for family in sorted(planned.keys() | realised.keys())}
    problems = [
        Problem(
            check="mixture", where=MANIFEST, field=f"source_families.{shown(family)}",
            message=f"{realised.get(family, 0.0):.1%} of the training rows, planned {planned.get(family, 0.0):.1%}",
        )
        for family, difference in off.items()
        if abs(difference) > policy.mixture_tolerance + 1e-9
    ]  # fmt: skip
    largest = max((abs(difference) for difference in off.values()), default=0.0)
    return _measured("mixture", problems, observed=largest, threshold=policy.mixture_tolerance, unit="family")


def _drift(rows: RowTable, policy: ReleasePolicy, previous: DatasetVersion | None) -> Check:
    """The mix of families (total variation distance) and the mean lengths against the version before."""
    if previous is None:
        return _nothing("drift", "no version before this one was accepted", unit="measure")
    if not len(rows):
        return _nothing("drift", "there is no row to compare", unit="measure")
    counts: Counter[str] = Counter()
    for profile, count in rows.counted():
        counts[profile.family] += count
    now, before = _shares(counts), _shares({family: sum(splits.values()) for family, splits in previous.families.items()})
    distance = sum(abs(now.get(family, 0.0) - before.get(family, 0.0)) for family in now.keys() | before.keys()) / 2
    problems = []
    if distance > policy.max_drift:
        message = f"the mix of families moved by {distance:.1%} against the version before"
        problems.append(Problem(check="drift", where=MANIFEST, field="source_families", message=message))
    if previous.statistics is None:
        note = "lengths are not compared: the version before was sealed without its means"
        return _measured("drift", problems, observed=distance, threshold=policy.max_drift, unit="measure").model_copy(update={"note": note})
    words, turns = rows.means()
    for name, value, was in (("words", words, previous.statistics.words), ("turns", turns, previous.statistics.turns)):
        if abs(value - was) > policy.max_mean_drift * was:
            message = f"{value:.1f} {name} a dialogue, {was:.1f} in the version before"
            problems.append(Problem(check="drift", where=MANIFEST, field=name, message=message))
    return _measured("drift", problems, observed=distance, threshold=policy.max_drift, unit="measure")


def _shares(weights: dict[str, float] | dict[str, int] | Counter[str]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()} if total else {}


def _measured(name: str, problems: list[Problem], *, observed: float, threshold: float, unit: str) -> Check:
    failing = len(problems)
    return Check(
        name=name, passed=not failing, observed=observed, threshold=threshold, failing=failing, unit=unit, examples=tuple(problems)
    )


def _nothing(name: str, note: str, *, unit: str) -> Check:
    return check_result(name, [], unit=unit).model_copy(update={"judged": False, "note": note})
