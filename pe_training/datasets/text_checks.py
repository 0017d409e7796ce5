"""Checks of what the texts say: copies across splits, evaluation prompts, cut-up texts, and language.

They look at the numbers that text_scan.py kept and at a sample of the rows; what they report is counts, kinds and places, never text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pe_training.datasets.complaints import shown
from pe_training.datasets.policy import ReleasePolicy
from pe_training.datasets.report import MAX_EXAMPLES, Check, Problem, check_result
from pe_training.datasets.row_table import RowTable
from pe_training.datasets.texts.language import LANGUAGES, detect
from pe_training.datasets.texts.near_duplicates import near_pairs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LANGUAGE_ROWS = 400  # looked at per family: a share of 2 % is known to 1.4 points either way
MIN_CONFIDENCE = 0.9  # of 2,600 English texts of real sets 0.3 % are taken for another language, at 0.5 twice as many


def text_checks(rows: RowTable, policy: ReleasePolicy, *, passed_over: Mapping[str, int]) -> Iterator[Check]:
    """Near-duplicates, contamination, redaction and language. ``passed_over``: prompts too short to look for, per suite."""
    yield _near_duplicates(rows, policy)
    yield _contamination(rows, passed_over)
    yield _redaction(rows, policy)
    yield _language(rows, policy)


def _near_duplicates(rows: RowTable, policy: ReleasePolicy) -> Check:
    """Rows that a row of another split nearly repeats, or repeats: a test that was trained on measures memory."""
    _, groups = rows.grouped(lambda profile: profile.split)
    found = near_pairs(rows.signatures(), rows.sketches(), groups, threshold=policy.near_duplicate_similarity, limit=MAX_EXAMPLES)
    problems = [
        _problem(
            "near_duplicates", rows.where(pair.row), "messages",
            f"shares about {pair.similarity:.0%} of its five-word runs with {rows.where(pair.other)}, in {rows[pair.other].split}",
        )
        for pair in found.pairs
    ]  # fmt: skip
    note = f"{found.capped} groups of very many alike rows were compared only in part" if found.capped else None
    return check_result("near_duplicates", problems, unit="row", failing=found.rows).model_copy(update={"note": note})


def _contamination(rows: RowTable, passed_over: Mapping[str, int]) -> Check:
    """Rows outside the test split that repeat a prompt of an evaluation suite."""
    if not passed_over:
        unknown = _problem(
            "contamination", "PE_SUITES", "", "no evaluation suite here asks anything, so nobody can say what must not be trained on"
        )
        return check_result("contamination", [unknown], unit="suite")
    repeats = rows.mask(lambda profile: profile.suite is not None and profile.split != "test")
    problems = [
        _problem("contamination", rows.where(index), "messages", f"repeats a prompt of the evaluation suite {rows[index].profile.suite!r}")
        for index in _first(repeats)
    ]
    short = sum(passed_over.values())
    note = f"prompts of one or two words, which are everyone's, were not looked for: {short}" if short else None
    return check_result("contamination", problems, unit="row", failing=int(repeats.sum())).model_copy(update={"note": note})


def _redaction(rows: RowTable, policy: ReleasePolicy) -> Check:
    """Families of which too many rows were cut up by a scrubber."""
    import numpy as np

    cut = np.flatnonzero(rows.redacted_shares > policy.max_redacted_share)
    families, of = rows.grouped(lambda profile: profile.family)
    shares = np.bincount(of[cut], minlength=len(families)) / np.bincount(of, minlength=len(families))
    first = dict(zip(of[cut][::-1].tolist(), cut[::-1].tolist(), strict=True))
    problems = []
    for number in np.flatnonzero(shares > policy.max_redacted_rows).tolist():
        lost = f"{shares[number]:.1%} of its rows lost more than {policy.max_redacted_share:.0%} of their words or sentences"
        problems.append(_problem("redaction", rows.where(first[number]), "messages", f"{shown(families[number])}: {lost}"))
    return _shares("redaction", problems, observed=float(shares.max(initial=0)), threshold=policy.max_redacted_rows)


def _language(rows: RowTable, policy: ReleasePolicy) -> Check:
    """Families of which too many rows are in another language than they declare, by a sample of each."""
    worst, told, problems = 0.0, 0, []
    groups, of = rows.grouped(lambda profile: (profile.family, profile.language or ""))
    for (family, declared), sample in zip(groups, rows.smallest(of, limit=LANGUAGE_ROWS), strict=True):
        expected = declared or policy.language
        found = {index: language for index in sample.tolist() if (language := _told(rows, index, expected=expected))}
        others = [index for index, language in found.items() if language != expected]
        told += len(found)
        share = len(others) / len(found) if found else 0.0
        worst = max(worst, share)
        if share > policy.max_other_language:
            kinds = ", ".join(f"{code} {count}" for code, count in sorted(Counter(found[index] for index in others).items()))
            unknown = "" if expected in LANGUAGES else ", a language that is not among those that can be told"
            message = f"{shown(family)}: of {len(found)} rows that could be told, {len(others)} are not {expected!r} ({kinds}){unknown}"
            problems.append(_problem("language", rows.where(min(others)), "metadata.language", message))
    check = _shares("language", problems, observed=worst, threshold=policy.max_other_language)
    return check if told else check.model_copy(update={"judged": False, "note": "no row is long enough to tell its language"})


def _told(rows: RowTable, index: int, *, expected: str) -> str | None:
    """The language of a row, if it can be told: of what user and assistant each say, that which is not the expected one."""
    spoken = rows.spoken(index)
    told = [best[0] for text in spoken.values() if (best := detect(text)) and best[1] >= MIN_CONFIDENCE]
    if not told and (best := detect("\n".join(spoken.values()))) and best[1] >= MIN_CONFIDENCE:
        told = [best[0]]
    return next((language for language in told if language != expected), expected) if told else None


def _shares(name: str, problems: list[Problem], *, observed: float, threshold: float) -> Check:
    return Check(
        name=name, passed=not problems, observed=observed, threshold=threshold, failing=len(problems), unit="family",
        examples=tuple(problems[:MAX_EXAMPLES]),
    )  # fmt: skip


def _first(mask: NDArray[np.bool_]) -> Iterator[int]:
    """The first rows of a mask, as many as a report shows."""
    import numpy as np

    return (int(index) for index in np.flatnonzero(mask)[:MAX_EXAMPLES])


def _problem(check: str, where: str, field: str, message: str) -> Problem:
    return Problem(check=check, where=where, field=field, message=message)
