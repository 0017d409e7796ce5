"""Checks of the mix: what a release is made of, against what its families, labels, plan and earlier version promise.

Each looks at counts and means only. A check that has nothing to compare passes and says so in its note; it never invents a plan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pe_training.datasets.policy import ReleasePolicy
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.release_manifest import MANIFEST
from pe_training.datasets.report import Check, Problem, check_result
from pe_training.datasets.row_table import RowTable


def balance_checks(rows: RowTable, policy: ReleasePolicy, *, previous: DatasetVersion | None) -> Iterator[Check]:
    """Lengths per family, labels, mixture and drift."""
    yield check_result("family_lengths", list(_lengths(rows, policy)), unit="family")
    yield check_result("label_balance", list(_labels(rows, policy)), unit="label")
    yield _mixture(rows, policy)
    yield _drift(rows, policy, previous)


def _lengths(rows: RowTable, policy: ReleasePolicy) -> Iterator[Problem]:
    """Families whose mean dialogue is not what such a family holds: content is not what the label says."""
    for family, expected in policy.lengths.items():
        chosen = rows.mask(lambda profile, family=family: profile.family == family)  # type: ignore[misc]
        if chosen.sum() < policy.min_family_rows:
            continue
        words, turns = rows.means(chosen)
        for unit, value, (low, high) in (("tokens", words * policy.tokens_per_word, expected.tokens), ("turns", turns, expected.turns)):
            if not low / policy.length_tolerance <= value <= high * policy.length_tolerance:
                message = f"{family}: about {value:.0f} {unit} a dialogue, expected {low:g} to {high:g}"
                yield Problem(check="family_lengths", where=MANIFEST, field=f"source_families.{family}", message=message)


def _labels(rows: RowTable, policy: ReleasePolicy) -> Iterator[Problem]:
    """Labels of which nearly every training row says the same, and values held out for testing that training never shows."""
    for label in sorted({name for _, name, _ in rows.labels}):
        train = {value: count for (split, name, value), count in rows.labels.items() if (split, name) == ("train", label)}
        total = sum(train.values())
        if len(train) > 1 and total >= policy.min_family_rows and max(train.values()) / total > policy.max_label_share:
            message = f"one of {len(train)} values stands in {max(train.values()) / total:.1%} of {total:,} training rows"
            yield Problem(check="label_balance", where=MANIFEST, field=f"labels.{label}", message=message)
        unseen = {value for split, name, value in rows.labels if name == label and split != "train"} - train.keys()
        if train and unseen:
            message = f"{len(unseen)} of its values are held out and in no training row"
            yield Problem(check="label_balance", where=MANIFEST, field=f"labels.{label}", message=message)


def _mixture(rows: RowTable, policy: ReleasePolicy) -> Check:
    """The families of the training rows against their planned weights."""
    if not policy.mixture:
        return _nothing("mixture", "no mixture is planned", unit="family")
    counts: Counter[str] = Counter()
    for profile, count in zip(rows.profiles, rows.rows_per_profile(), strict=True):
        if profile.split == "train":
            counts[profile.family] += count
    planned = _shares(policy.mixture)
    realised = _shares(counts)
    off = {family: realised.get(family, 0.0) - planned.get(family, 0.0) for family in sorted(planned.keys() | realised.keys())}
    problems = [
        Problem(
            check="mixture", where=MANIFEST, field=f"source_families.{family}",
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
    for profile, count in zip(rows.profiles, rows.rows_per_profile(), strict=True):
        counts[profile.family] += count
    now, before = _shares(counts), _shares({family: sum(splits.values()) for family, splits in previous.families.items()})
    distance = sum(abs(now.get(family, 0.0) - before.get(family, 0.0)) for family in now.keys() | before.keys()) / 2
    problems = []
    if distance > policy.max_drift:
        message = f"the mix of families moved by {distance:.1%} against the version before"
        problems.append(Problem(check="drift", where=MANIFEST, field="source_families", message=message))
    words, turns = rows.means()
    before_words, before_turns = (previous.statistics.words, previous.statistics.turns) if previous.statistics else (words, turns)
    for name, value, was in (("words", words, before_words), ("turns", turns, before_turns)):
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
    return check_result(name, [], unit=unit).model_copy(update={"note": note})
