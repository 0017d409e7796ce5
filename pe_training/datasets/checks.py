"""Checks that look at the release as a set: counts, files, splits, families. Each was a fault of a real release.

Row- and column-wise checks are Great Expectations' (expectations.py); :func:`judge` runs both and writes the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from pe_training.core.progress import progress
from pe_training.datasets.balance import balance_checks
from pe_training.datasets.complaints import shown
from pe_training.datasets.makeup import makeup_of
from pe_training.datasets.policy import ReleasePolicy
from pe_training.datasets.record import SPLITS, DatasetVersion
from pe_training.datasets.release import MISSING, Release
from pe_training.datasets.release_manifest import MANIFEST
from pe_training.datasets.report import CHECKS, MAX_EXAMPLES, Check, Excuse, Problem, ValidationReport, check_result
from pe_training.datasets.row_table import TableRow, having

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def judge(release: Release, policy: ReleasePolicy, *, previous: DatasetVersion | None = None) -> ValidationReport:
    """Every check of :data:`CHECKS` on a release. ``policy`` as it holds today; ``previous``: the accepted version before."""
    from pe_training.datasets.expectations import expectation_checks
    from pe_training.datasets.text_checks import text_checks

    found: dict[str, Check] = {}
    for check in chain(
        _set_checks(release, policy),
        balance_checks(release.rows, policy, previous=previous),
        text_checks(release.rows, policy, passed_over=release.scan.suites.passed_over),
        expectation_checks(release.rows, policy),
    ):
        found[check.name] = check
        progress("checking", len(found), len(CHECKS))
    assert found.keys() == set(CHECKS), found.keys() ^ set(CHECKS)
    checks = tuple(_weighed(found[name], release, policy) for name in CHECKS)
    return ValidationReport(
        release_digest=release.digest,
        name=release.name,
        version=release.version,
        rows=len(release.rows),
        policy=policy.content_digest,
        suites=dict(release.scan.suite_digests),
        checks=checks,
        accepted=not any(check.refuses for check in checks),
        makeup=makeup_of(release.rows),
        conversion=release.manifest.conversion,
    )


def _weighed(check: Check, release: Release, policy: ReleasePolicy) -> Check:
    """A check with the severity that the policy gives it, excused where a waiver covers it."""
    found = check.model_copy(update={"severity": policy.severity(check.name)})
    if found.passed:
        return found
    for waiver in policy.waivers:
        if waiver.covers(check=check.name, failing=check.failing, dataset=release.name, version=release.version):
            note = f"waived by {waiver.owner} until {waiver.expires}: {waiver.reason}"
            excuse = Excuse(owner=waiver.owner, reason=waiver.reason, expires=waiver.expires)
            return found.model_copy(update={"waived": True, "excuse": excuse, "note": note})
    return found


def _set_checks(release: Release, policy: ReleasePolicy) -> Iterator[Check]:
    yield check_result("schema", list(release.problems), unit="row", failing=release.wrong)
    yield _counts_agree(release)
    yield check_result("shard_digests", list(_wrong_files(release)), unit="file")
    yield _unique_rows(release)
    yield _splits_disjoint(release)
    yield _holdout_families(release)
    yield _distinct_content(release, policy)
    yield _splits_present(release)
    yield _one_purpose(release)


def _counts_agree(release: Release) -> Check:
    """Every count of the manifest against the rows that could be read, and every row against its shard's split."""
    listed = [shard.split for shard in release.shards]
    strays = release.rows.mask(lambda profile: profile.split != listed[profile.file])
    found = list(_miscounts(release))
    problems = found + [
        _problem("manifest_counts", row.where, "metadata.split", f"says {row.split}, in a shard of {listed[row.profile.file]}")
        for row in _first(release, strays)
    ]
    return check_result("manifest_counts", problems, unit="count", failing=len(found) + int(strays.sum()))


def _miscounts(release: Release) -> Iterator[Problem]:
    manifest, rows = release.manifest, release.rows
    yield from _compare("total_conversations", manifest.total_conversations, len(rows))
    per_file: Counter[int] = Counter()
    families_of: dict[int, set[str]] = {}
    per_family: dict[str, Counter[str]] = {}
    for profile, count in rows.counted():
        per_file[profile.file] += count
        families_of.setdefault(profile.file, set()).add(profile.family)
        per_family.setdefault(profile.family, Counter())[profile.split] += count
    for split, listed in manifest.splits.items():
        counted = sum(per_file[number] for number, shard in enumerate(release.shards) if shard.split == split)
        yield from _compare(f"splits.{split}.conversations", listed.conversations, counted)
    for number, shard in enumerate(release.shards):
        yield from _compare(f"{shown(shard.entry.shard_id)}.conversation_count", shard.entry.conversation_count, per_file[number])
        stray = families_of.get(number, set()) ^ set(shard.entry.source_families)
        if stray:
            message = f"{len(stray)} families are listed and not there, or there and not listed"
            yield _problem("manifest_counts", MANIFEST, f"{shown(shard.entry.shard_id)}.source_families", message)
    for family, entry in manifest.source_families.items():
        of_family = per_family.get(family, Counter())
        yield from _compare(f"source_families.{shown(family)}.conversations", entry.conversations, of_family.total())
        declared = {str(name): count for name, count in entry.splits.items()}
        for name in SPLITS:
            yield from _compare(f"source_families.{shown(family)}.splits.{name}", declared.get(name, 0), of_family[name])
    for family in sorted(per_family.keys() - manifest.source_families.keys()):
        yield _problem("manifest_counts", MANIFEST, "source_families", f"lists no {shown(family)!r}, which has rows")


def _compare(field: str, declared: int, counted: int) -> Iterator[Problem]:
    if declared != counted:
        yield _problem("manifest_counts", MANIFEST, field, f"says {declared:,}, counted {counted:,}")


def _wrong_files(release: Release) -> Iterator[Problem]:
    for shard in release.shards:
        digest = release.file_digests[shard.name]
        if digest == MISSING:
            yield _problem("shard_digests", shard.name, "s3_path", "is not there")
        elif shard.path.stat().st_size != shard.entry.size_bytes:
            message = f"says {shard.entry.size_bytes:,}, the file has {shard.path.stat().st_size:,}"
            yield _problem("shard_digests", shard.name, "size_bytes", message)
        elif digest != f"sha256:{shard.entry.sha256}":
            yield _problem("shard_digests", shard.name, "sha256", "is not the digest of this file")


def _splits_disjoint(release: Release) -> Check:
    """The same content in two splits: the score of a test that was trained on means nothing."""
    import numpy as np

    rows = release.rows
    groups = rows.content_groups
    there = np.zeros((len(SPLITS), groups.max(initial=-1) + 1), dtype=bool)
    for number, split in enumerate(SPLITS):
        there[number, groups[rows.mask(having(split=split))]] = True
    shared = (there.sum(axis=0) > 1)[groups]
    problems = []
    for index in np.flatnonzero(shared)[:MAX_EXAMPLES]:
        names = [split for number, split in enumerate(SPLITS) if there[number, groups[index]]]
        problems.append(_problem("splits_disjoint", rows.where(int(index)), "messages", f"the same content is in {' and '.join(names)}"))
    return check_result("splits_disjoint", problems, unit="row", failing=int(shared.sum()))


def _unique_rows(release: Release) -> Check:
    """Rows that share their content with another row."""
    import numpy as np

    groups = release.rows.content_groups
    repeated = (np.bincount(groups) > 1)[groups] if len(groups) else np.zeros(0, dtype=bool)
    problems = [_problem("unique_rows", row.where, "messages", "another row has the same content") for row in _first(release, repeated)]
    return check_result("unique_rows", problems, unit="row", failing=int(repeated.sum()))


def _holdout_families(release: Release) -> Check:
    """Held-out families in other splits; and those without a single row, where there is nothing to look at."""
    holdouts = {family for family, entry in release.manifest.holdout_families.items() if entry.test_split_only}
    if not holdouts:
        idle = {"judged": False, "note": "the manifest holds no family out for testing"}
        return check_result("holdout_families", [], unit="row").model_copy(update=idle)
    leaked = release.rows.mask(lambda profile: profile.family in holdouts and profile.split != "test")
    problems = [
        _problem(
            "holdout_families", row.where, "metadata.split",
            f"{shown(row.profile.family)!r} is held out for testing, and this row is in {row.split}",
        )
        for row in _first(release, leaked)
    ]  # fmt: skip
    absent = sorted(holdouts - {profile.family for profile in release.rows.profiles})
    for family in absent:
        message = "no row of this family: leakage cannot be looked for"
        problems.append(_problem("holdout_families", MANIFEST, f"holdout_families.{shown(family)}", message))
    return check_result("holdout_families", problems, unit="row", failing=int(leaked.sum()) + len(absent))


def _distinct_content(release: Release, policy: ReleasePolicy) -> Check:
    """One dialogue repeated as a whole file passes every row-wise check; the ratio of distinct contents shows it."""

    rows = release.rows
    groups = rows.content_groups
    files, file_of = rows.grouped(lambda profile: profile.file)
    families, family_of = rows.grouped(lambda profile: profile.family)
    ratios = dict(zip([rows.files[file] for file in files], _distinct_shares(groups, file_of), strict=True))
    ratios |= dict(zip([f"family {shown(family)}" for family in families], _distinct_shares(groups, family_of), strict=True))
    ratios["all files together"] = (int(groups.max()) + 1) / len(rows) if len(rows) else 0.0
    low = {file: ratio for file, ratio in ratios.items() if ratio < policy.min_distinct_ratio}
    return Check(
        name="distinct_content",
        passed=not low,
        observed=min(ratios.values()),
        threshold=policy.min_distinct_ratio,
        bound="at_least",
        failing=len(low),
        unit="file",
        examples=tuple(_low_ratio(file, ratio) for file, ratio in list(low.items())[:MAX_EXAMPLES]),
    )


def _distinct_shares(contents: NDArray[np.int32], part: NDArray[np.int64]) -> list[float]:
    """Distinct contents over rows, of each part."""
    import numpy as np

    size = int(contents.max(initial=0)) + 1
    pairs = np.sort(part * size + contents)  # np.unique takes seven times as long for a million
    distinct = pairs[np.diff(pairs, prepend=-1) > 0]
    shares: list[float] = (np.bincount(distinct // size) / np.bincount(part)).tolist()
    return shares


def _low_ratio(file: str, ratio: float) -> Problem:
    return _problem("distinct_content", file, "messages", f"only {ratio:.0%} of the rows differ in content")


def _splits_present(release: Release) -> Check:
    present = {profile.split for profile in release.rows.profiles}
    empty = [split for split in SPLITS if split not in present]
    return Check(
        name="splits_present",
        passed=not empty,
        observed=float(len(SPLITS) - len(empty)),
        threshold=float(len(SPLITS)),
        bound="at_least",
        failing=len(empty),
        unit="split",
        examples=tuple(_problem("splits_present", MANIFEST, f"splits.{split}", "has no rows") for split in empty),
    )


def _one_purpose(release: Release) -> Check:
    """Rows whose purpose is not that of most rows: a simulated difficult client must never teach the therapist, nor the reverse."""
    rows = release.rows
    purposes: Counter[str | None] = Counter()
    for profile, count in rows.counted():
        purposes[profile.purpose] += count
    usual = min(purposes, key=lambda purpose: (-purposes[purpose], purpose or ""), default=None)
    others = rows.mask(lambda profile: profile.purpose != usual)
    message = "differs from the purpose of most rows; release them apart"
    problems = [_problem("one_purpose", row.where, "metadata.purpose", message) for row in _first(release, others)]
    return check_result("one_purpose", problems, unit="row", failing=int(others.sum()))


def _first(release: Release, mask: NDArray[np.bool_]) -> Iterator[TableRow]:
    """The first rows of a mask, as many as a report shows."""
    import numpy as np

    return (release.rows[int(index)] for index in np.flatnonzero(mask)[:MAX_EXAMPLES])


def _problem(check: str, where: str, field: str, message: str) -> Problem:
    return Problem(check=check, where=where, field=field, message=message)
