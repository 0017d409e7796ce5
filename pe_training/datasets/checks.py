"""Checks that look at the release as a set: counts, files, splits, families. Each was a fault of a real release.

Row- and column-wise checks are Great Expectations' (expectations.py); :func:`judge` runs both and writes the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from pe_training.datasets.policy import ReleasePolicy
from pe_training.datasets.record import SPLITS
from pe_training.datasets.release import MISSING, Release
from pe_training.datasets.release_manifest import MANIFEST
from pe_training.datasets.report import CHECKS, MAX_EXAMPLES, Check, Problem, ValidationReport, check_result


def judge(release: Release, policy: ReleasePolicy) -> ValidationReport:
    """Every check of :data:`CHECKS` on a release."""
    from pe_training.datasets.expectations import expectation_checks

    found = {check.name: check for check in (*_set_checks(release, policy), *expectation_checks(release.rows, policy))}
    assert found.keys() == set(CHECKS), found.keys() ^ set(CHECKS)
    checks = tuple(found[name] for name in CHECKS)
    return ValidationReport(
        release_digest=release.digest,
        name=release.name,
        version=release.version,
        rows=len(release.rows),
        policy=policy.content_digest,
        checks=checks,
        accepted=all(check.passed for check in checks),
    )


def _set_checks(release: Release, policy: ReleasePolicy) -> Iterator[Check]:
    yield check_result("schema", list(release.problems), unit="row")
    yield check_result("manifest_counts", list(_miscounts(release)), unit="count")
    yield check_result("shard_digests", list(_wrong_files(release)), unit="file")
    yield _splits_disjoint(release)
    yield check_result("holdout_families", list(_leaked_holdouts(release)), unit="row")
    yield _distinct_content(release, policy)
    yield _splits_present(release)
    yield check_result("one_purpose", list(_other_purposes(release)), unit="row")


def _miscounts(release: Release) -> Iterator[Problem]:
    """Every count of the manifest against the rows that could be read."""
    manifest, rows = release.manifest, release.rows
    yield from _compare("total_conversations", manifest.total_conversations, len(rows))
    per_split = Counter(row.listed_split for row in rows)
    per_file = Counter(row.file for row in rows)
    families_of: dict[str, set[str]] = {}
    per_family: dict[str, Counter[str]] = {}
    for row in rows:
        families_of.setdefault(row.file, set()).add(row.family)
        per_family.setdefault(row.family, Counter())[row.split] += 1
    for split, listed in manifest.splits.items():
        yield from _compare(f"splits.{split}.conversations", listed.conversations, per_split[split])
    for shard in release.shards:
        yield from _compare(f"{shard.entry.shard_id}.conversation_count", shard.entry.conversation_count, per_file[shard.name])
        stray = families_of.get(shard.name, set()) ^ set(shard.entry.source_families)
        if stray:
            message = f"{len(stray)} families are listed and not there, or there and not listed"
            yield _problem("manifest_counts", MANIFEST, f"{shard.entry.shard_id}.source_families", message)
    for family, entry in manifest.source_families.items():
        counted = per_family.get(family, Counter())
        yield from _compare(f"source_families.{family}.conversations", entry.conversations, counted.total())
        declared = {str(name): count for name, count in entry.splits.items()}
        for name in SPLITS:
            yield from _compare(f"source_families.{family}.splits.{name}", declared.get(name, 0), counted[name])
    for family in sorted(per_family.keys() - manifest.source_families.keys()):
        yield _problem("manifest_counts", MANIFEST, "source_families", f"lists no {family!r}, which has rows")
    for row in rows:
        if row.split != row.listed_split:
            yield _problem("manifest_counts", row.where, "metadata.split", f"says {row.split}, in a shard of {row.listed_split}")


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
    splits_of: dict[str, set[str]] = {}
    for row in release.rows:
        splits_of.setdefault(row.content_hash, set()).add(row.split)
    problems, failing = [], 0
    for row in release.rows:
        shared = splits_of[row.content_hash]
        if len(shared) > 1:
            failing += 1
            if failing <= MAX_EXAMPLES:
                message = f"the same content is in {' and '.join(split for split in SPLITS if split in shared)}"
                problems.append(_problem("splits_disjoint", row.where, "messages", message))
    return check_result("splits_disjoint", problems, unit="row", failing=failing)


def _leaked_holdouts(release: Release) -> Iterator[Problem]:
    """Held-out families in other splits; and those without a single row, where there is nothing to look at."""
    holdouts = {family for family, entry in release.manifest.holdout_families.items() if entry.test_split_only}
    seen: set[str] = set()
    for row in release.rows:
        if row.family in holdouts:
            seen.add(row.family)
            if row.split != "test":
                message = f"{row.family!r} is held out for testing, and this row is in {row.split}"
                yield _problem("holdout_families", row.where, "metadata.split", message)
    for family in sorted(holdouts - seen):
        yield _problem("holdout_families", MANIFEST, f"holdout_families.{family}", "no row of this family: leakage cannot be looked for")


def _distinct_content(release: Release, policy: ReleasePolicy) -> Check:
    """One dialogue repeated as a whole file passes every row-wise check; the ratio of distinct contents shows it."""
    hashes: dict[str, set[str]] = {}
    per_file: Counter[str] = Counter()
    for row in release.rows:
        hashes.setdefault(row.file, set()).add(row.content_hash)
        per_file[row.file] += 1
    ratios = {file: len(found) / per_file[file] for file, found in hashes.items()}
    everything = set().union(*hashes.values())
    ratios["all files together"] = len(everything) / len(release.rows) if release.rows else 0.0
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


def _low_ratio(file: str, ratio: float) -> Problem:
    return _problem("distinct_content", file, "messages", f"only {ratio:.0%} of the rows differ in content")


def _splits_present(release: Release) -> Check:
    counted: Mapping[str, int] = Counter(row.split for row in release.rows)
    empty = [split for split in SPLITS if not counted.get(split)]
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


def _other_purposes(release: Release) -> Iterator[Problem]:
    """Rows whose purpose is not that of most rows: a simulated difficult client must never teach the therapist, nor the reverse."""
    purposes = Counter(row.purpose for row in release.rows)
    if len(purposes) < 2:
        return
    usual = min(purposes, key=lambda purpose: (-purposes[purpose], purpose or ""))
    for row in release.rows:
        if row.purpose != usual:
            yield _problem("one_purpose", row.where, "metadata.purpose", "differs from the purpose of most rows; release them apart")


def _problem(check: str, where: str, field: str, message: str) -> Problem:
    return Problem(check=check, where=where, field=field, message=message)
