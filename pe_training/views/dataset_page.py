"""The data page: what was found in a release and what it is made of, as one file for people who answer for data.

Made from the report alone, for accepted and refused releases alike. Like the evidence page it needs no network and no script, and every
value that it prints is cleaned and escaped; unlike it, it shows no text that a person or a model wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pe_training import __version__
from pe_training.datasets.makeup import Lengths
from pe_training.datasets.record import SPLITS
from pe_training.datasets.report import Check, ValidationReport
from pe_training.storage.taints import Recall
from pe_training.views import numbers, svg
from pe_training.views.page import template

TEMPLATE = "dataset.html.j2"
MAX_LINES, MAX_PLACES = 5, 5
SHARES = ("distinct_content", "mixture", "drift", "redaction", "language")  # checks whose figures are shares, not counts


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The same said of several places. ``more``: further places of it, where other faults are beside it."""

    field: str
    message: str
    where: tuple[str, ...]
    more: int


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What a check found. ``more``: what it counts beside what the ``lines`` tell of."""

    lines: tuple[Fault, ...]
    more: int


def render_dataset_page(report: ValidationReport, *, dataset_id: str | None, previous: str | None, recalls: Sequence[Recall] = ()) -> str:
    """The page of a judgement.

    ``dataset_id``: of the version that was made, if it was accepted; ``previous``: the version before; ``recalls``: what taints it now.
    """
    return template(TEMPLATE).render(
        r=report,
        m=report.makeup,
        idle=sum(not check.judged for check in report.checks),
        checks=sorted(report.checks, key=_urgency),
        splits=[split for split in SPLITS if report.makeup and split in report.makeup.words],
        dataset_id=dataset_id,
        previous=previous,
        recalls=recalls,
        state=_state,
        faults=faults_of,
        found=_found,
        allowed=_allowed,
        histograms=histograms,
        version=__version__,
    )


def faults_of(check: Check) -> Faults:
    """The examples of a check, equal ones as one line with their places.

    A report lists the first examples only. What it does not list may be another fault, so it is counted after the lines and in none.
    """
    places: dict[tuple[str, str], list[str]] = {}
    for problem in check.examples:
        places.setdefault((problem.field, problem.message), []).append(problem.where)
    lines = tuple(
        Fault(field=field, message=message, where=tuple(where[:MAX_PLACES]), more=max(0, len(where) - MAX_PLACES) if len(places) > 1 else 0)
        for (field, message), where in list(places.items())[:MAX_LINES]
    )
    told = sum(len(line.where) + line.more for line in lines)
    return Faults(lines=lines, more=max(check.failing, len(check.examples)) - told)


def histograms(lengths: Mapping[str, Lengths], noun: str) -> list[tuple[str, Lengths, Markup]]:
    """A drawing for each split, all of one height and, as all have the same bins, of one width a bin."""
    shares = {split: _shares(found) for split, found in lengths.items()}
    highest = max((share for found in shares.values() for _, share in found), default=1.0)
    return [
        (split, found, svg.bars(shares[split], highest=highest, label=f"{noun} a dialogue in {split}: {_told(found)}"))
        for split, found in lengths.items()
    ]


def _shares(found: Lengths) -> list[tuple[str, float]]:
    """The number at which each bin starts, and its share of the rows."""
    rows = sum(each.rows for each in found.bins)
    return [(each.label.replace(" or more", "+").partition(" ")[0], each.rows / rows) for each in found.bins]


def _told(found: Lengths) -> str:
    return ", ".join(f"{each.label}: {each.rows:,} rows" for each in found.bins)


def _urgency(check: Check) -> int:
    return [check.refuses, not check.passed, check.judged and check.passed, True].index(True)


def _state(check: Check) -> tuple[str, str]:
    """Style and words of a check's result."""
    if check.refuses:
        return "fail", "\u2717 Refuses"
    if not check.passed:
        return "inconclusive", "! Waived" if check.waived else "! Remark"
    return ("pass", "\u2713 Passed") if check.judged else ("not_applicable", "\u2013 Nothing to judge")


def _found(check: Check) -> tuple[str, str]:
    """What was found, and how many failed where that is another number."""
    failing = numbers.count(check.failing, check.unit) if check.failing else "no fault"
    if not check.judged:
        return "-", ""
    if check.name in SHARES:
        return _percent(numbers.apart(check.observed, "proportion", bound=check.threshold)), failing if check.failing else ""
    return (failing, "") if check.bound == "at_most" else (f"{check.observed:,.0f}", failing if check.failing else "")


def _allowed(check: Check) -> str:
    if not check.judged:
        return "-"
    if check.name in SHARES:
        return f"{check.bound.replace('_', ' ')} {_percent(numbers.exact(check.threshold, 'proportion'))}"
    return f"{check.bound.replace('_', ' ')} {check.threshold:,.0f}" if check.threshold else "none"


def _percent(text: str) -> str:
    return f"{text}\N{NO-BREAK SPACE}%"
