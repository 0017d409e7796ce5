"""The evidence page: one self-contained HTML file that a clinician can read, an auditor can file and a printer can print.

It needs no network, no script and no other file, and says so to the browser (a content security policy of ``none``), because it
shows what a model wrote. Every value that the template prints is cleaned first and escaped then, whatever the template forgets.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from pe_training import __version__
from pe_training.core.ids import KINDS
from pe_training.evaluation.classification import CALLED
from pe_training.evaluation.record import EvaluationReport, Metric, SuiteUse
from pe_training.lineage.trace import Tree
from pe_training.training.precision import number_format
from pe_training.views import figures, numbers, words
from pe_training.views.evidence import Evidence

TEMPLATE = "page.html.j2"
CONFUSION = "confusion"
JUDGE = "judge"  # the suite of agreement with people


@dataclass(frozen=True, kw_only=True)
class SliceTable:
    """Slices of one kind (all crisis types) against the measures taken of them."""

    field: str
    measures: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Metric | None, ...]], ...]

    @property
    def cells(self) -> int:
        """How many numbers it holds."""
        return sum(cell is not None for _, cells in self.rows for cell in cells)


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A node of the lineage. What hangs below a node is unfolded where the node is met first; later it is only named."""

    tree: Tree
    again: bool
    children: tuple[Branch, ...]


@dataclass(frozen=True, kw_only=True)
class SuiteSection:
    """What one suite showed."""

    name: str
    use: SuiteUse
    overall: tuple[Metric, ...]
    reaches: dict[str, float]
    slices: tuple[SliceTable, ...]


def render_page(evidence: Evidence) -> str:
    """The page. The same evidence always gives the same text."""
    e = evidence
    return template(TEMPLATE).render(
        e=e,
        precision=number_format(e.manifest.spec.compute.precision, hardware=e.run.hardware),
        rules=words.worst_first(e.decision.outcomes),
        suites=[section(e.report, name) for name in e.report.suites],
        beside=[section(against_incumbent(e.report), name) for name in e.report.suites] if e.report.incumbent else [],
        judge=_slice_table("label", [m for m in e.report.metrics if m.suite == JUDGE]),
        curve=figures.training_curve(e),
        held_out=[row for row in e.history if "val_loss" in row],
        lineage=_branch(e.lineage, set()),
        total_usd=sum((charge.cost_usd for charge in e.charges), Decimal(0)),
        total_ms=sum(charge.duration_ms for charge in e.charges),
        version=__version__,
        kinds=KINDS,
    )


def against_incumbent(report: EvaluationReport) -> EvaluationReport:
    """The report as if the incumbent were the base model, to be shown by the same tables."""
    swapped = [
        m.model_copy(update={"base": m.incumbent, "difference": m.over_incumbent, "note": None}) for m in report.metrics if m.incumbent
    ]
    return report.model_copy(update={"metrics": tuple(swapped)})


def section(report: EvaluationReport, suite: str) -> SuiteSection:
    """A suite's measures over all examples, and its slices by kind."""
    own = [m for m in report.metrics if m.suite == suite]
    overall = tuple(m for m in own if m.slice == "all")
    sliced = [m for m in own if m.slice != "all" and m.name != CONFUSION]
    fields = dict.fromkeys(m.slice.partition("=")[0] for m in sliced)
    tables = tuple(_slice_table(field, [m for m in sliced if m.slice.partition("=")[0] == field]) for field in fields)
    if confusion := [m for m in own if m.name == CONFUSION]:
        tables = (*tables, _confusion_table(confusion))
    return SuiteSection(name=suite, use=report.suites[suite], overall=overall, reaches=figures.reaches(overall), slices=tables)


def _confusion_table(metrics: list[Metric]) -> SliceTable:
    """A row for each right label, a column for each label that was given."""
    cells = {tuple(m.slice.removeprefix("expected=").split(CALLED)): m for m in metrics}
    columns = tuple(dict.fromkeys(called for _, called in cells))
    rows = tuple((truth, tuple(cells.get((truth, called)) for called in columns)) for truth in dict.fromkeys(truth for truth, _ in cells))
    return SliceTable(field="expected", measures=tuple(f"called {called}" for called in columns), rows=rows)


def _slice_table(field: str, metrics: list[Metric]) -> SliceTable:
    names = tuple(dict.fromkeys(m.name for m in metrics))
    values = dict.fromkeys(m.slice.partition("=")[2] for m in metrics)
    cells = {(m.slice.partition("=")[2], m.name): m for m in metrics}
    return SliceTable(field=field, measures=names, rows=tuple((v, tuple(cells.get((v, name)) for name in names)) for v in values))


def _branch(tree: Tree, met: set[str]) -> Branch:
    again = tree.id in met and bool(tree.children)
    met.add(tree.id)
    return Branch(tree=tree, again=again, children=() if again else tuple(_branch(child, met) for child in tree.children))


@cache
def template(name: str) -> jinja2.Template:
    """A page's template, in an environment that cleans and escapes whatever it prints."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"numbers": numbers, "words": words, "figures": figures}
    return environment.get_template(name)


def _finalize(value: object) -> object:
    """Every value that the template prints passes here, before it is escaped."""
    return value if isinstance(value, Markup) else words.clean_lines(value)
