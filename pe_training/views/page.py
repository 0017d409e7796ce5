"""The evidence page: one self-contained HTML file that a clinician can read, an auditor can file and a printer can print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from pe_training import __version__
from pe_training.core.ids import KINDS, short
from pe_training.costs.ledger import Charge
from pe_training.datasets.record import DatasetVersion
from pe_training.evaluation.record import EvaluationReport, Metric
from pe_training.lineage.trace import Tree
from pe_training.manifests.record import ResolvedManifest
from pe_training.promotion.record import Outcome, PromotionDecision
from pe_training.promotion.verdict import headline
from pe_training.training.record import Checkpoint, TrainingRun
from pe_training.views import numbers, svg

TEMPLATE = "page.html.j2"
ORDER = ("fail", "inconclusive", "pass", "not_applicable")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything the page shows."""

    decision: PromotionDecision
    report: EvaluationReport
    checkpoint: Checkpoint
    run: TrainingRun
    manifest: ResolvedManifest
    dataset: DatasetVersion
    lineage: Tree
    charges: Sequence[Charge]
    history: Sequence[Mapping[str, Any]]
    samples: Mapping[str, Sequence[Mapping[str, Any]]]  # suite -> a few per-example rows


def render_page(evidence: Evidence) -> str:
    """The page. The same evidence always gives the same text."""
    e = evidence
    return _template().render(
        e=e,
        version=__version__,
        headline=headline(e.decision),
        rules=sorted(e.decision.outcomes, key=lambda outcome: ORDER.index(outcome.verdict)),
        suites=[(name, use, _overall(e.report, name), _slices(e.report, name)) for name, use in e.report.suites.items()],
        judge=[m for m in e.report.metrics if m.suite == "judge"],
        curve=svg.curve(
            [(line["step"], line["loss"]) for line in e.history if "loss" in line],
            [(line["step"], line["val_loss"]) for line in e.history if "val_loss" in line],
        ),
        total_usd=sum(float(charge.cost_usd) for charge in e.charges),
        numbers=numbers, short=short, kinds=KINDS, whisker=_whisker, forest=_forest, plain=plain,
    )  # fmt: skip


def plain(text: object) -> str:
    """Text without control characters; the template escapes the rest."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in str(text))


@cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template(TEMPLATE)


def _overall(report: EvaluationReport, suite: str) -> list[Metric]:
    return [m for m in report.metrics if m.suite == suite and m.slice == "all"]


def _slices(report: EvaluationReport, suite: str) -> list[Metric]:
    return [m for m in report.metrics if m.suite == suite and m.slice != "all"]


def _whisker(outcome: Outcome) -> str:
    """The rule's interval against its threshold."""
    if outcome.value is None or outcome.low is None or outcome.high is None:
        return ""
    bounds = svg.scale(outcome.unit, [outcome.low, outcome.high, outcome.threshold])
    return svg.interval(outcome.low, outcome.value, outcome.high, threshold=outcome.threshold, bounds=bounds, verdict=outcome.verdict)


def _forest(metric: Metric) -> str:
    """Tuned minus base against no difference; coloured by whether it helps, only where the interval says so."""
    found = metric.difference
    if found is None:
        return ""
    reach = max(abs(found.low), abs(found.high), 0.01) * 1.15
    helps = found.low > 0 if metric.better == "higher" else found.high < 0
    hurts = found.high < 0 if metric.better == "higher" else found.low > 0
    verdict = "pass" if helps else "fail" if hurts else "neutral"
    return svg.interval(found.low, found.value, found.high, threshold=0.0, bounds=(-reach, reach), verdict=verdict)
