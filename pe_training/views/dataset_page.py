"""The data page: what was found in a release and what it is made of, as one file for people who answer for data.

Made from the report alone, for accepted and refused releases alike. Like the evidence page it needs no network and no script, and every
value that it prints is cleaned and escaped; unlike it, it shows no text that a person or a model wrote.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from pe_training import __version__
from pe_training.datasets.makeup import Lengths
from pe_training.datasets.record import SPLITS
from pe_training.datasets.report import Check, ValidationReport
from pe_training.storage.taints import Recall
from pe_training.views import svg
from pe_training.views.page import template

TEMPLATE = "dataset.html.j2"
PLACES = 5


def render_dataset_page(report: ValidationReport, *, dataset_id: str | None, previous: str | None, recalls: Sequence[Recall] = ()) -> str:
    """The page of a judgement.

    ``dataset_id``: of the version that was made, if it was accepted; ``previous``: the version before; ``recalls``: what taints it now.
    """
    return template(TEMPLATE).render(
        r=report,
        m=report.makeup,
        lead=_sentence(report),
        checks=sorted(report.checks, key=_urgency),
        splits=[split for split in SPLITS if report.makeup and split in report.makeup.words],
        dataset_id=dataset_id,
        previous=previous,
        recalls=recalls,
        places=PLACES,
        state=_state,
        figure=_figure,
        histogram=_histogram,
        version=__version__,
    )


def _sentence(report: ValidationReport) -> str:
    """The summary without the name and the answer, which stand above it."""
    said = report.summary.removeprefix(f"release {report.name} {report.version} ").partition(": ")[2]
    return said[:1].upper() + said[1:] + "."


def _urgency(check: Check) -> int:
    return [check.refuses, not check.passed, check.judged and check.passed, True].index(True)


def _state(check: Check) -> tuple[str, str]:
    """Style and words of a check's result."""
    if check.refuses:
        return "fail", "\u2717 Refuses"
    if not check.passed:
        return "inconclusive", "! Waived" if check.waived else "! Remark"
    return ("pass", "\u2713 Passed") if check.judged else ("not_applicable", "\u2013 Nothing to judge")


def _figure(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:.3g}"


def _histogram(split: str, found: Lengths, noun: str) -> Markup:
    rows = sum(each.rows for each in found.bins)
    shares = [(each.label.replace(" to ", "-").replace(" or more", "+"), each.rows / rows) for each in found.bins]
    return svg.bars(shares, label=f"{noun} a dialogue in {split}: " + ", ".join(f"{each.label}: {each.rows:,} rows" for each in found.bins))
