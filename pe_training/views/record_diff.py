"""Two records side by side in words: what a clinician would call each thing that differs, the weightiest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from pe_training.core.ids import KINDS, is_digest, is_id, short
from pe_training.evaluation.record import Comparison, Estimate
from pe_training.lineage.diff import ESTIMATE, Difference, RecordDiff
from pe_training.views import numbers, words
from pe_training.views.layout import BLANK, facts, plain, table, under

MOST_SHOWN = 60
HEADINGS = {  # the outermost field -> what its differences stand under
    "verdict": "verdict", "outcomes": "rules", "metrics": "measures", "splits": "rows", "families": "rows by family",
    "licenses": "licences",
    "spec": "what was asked", "recipe": "recipe", "agreements": "labels", "suites": "evaluation suites",
}  # fmt: skip
FIELDS = {
    "verdict": "verdict", "stage": "stage that was asked for", "policy": "policy", "policy_name": "policy", "evidence": "questions asked",
    "checkpoint_id": "checkpoint", "report_id": "evaluation report", "manifest_id": "manifest", "dataset_id": "dataset version",
    "run_id": "training run", "line": "model line", "val_loss": "held-out loss after training",
    "val_loss_before": "held-out loss before training", "step": "optimiser steps", "code": "training code and libraries",
    "judge": "judge", "baseline": "compared with", "request": "question", "content_files": "files", "shards": "files", "inputs": "files",
    "root": "content", "n": "examples", "min_n": "examples needed", "threshold": "needed", "value": "found", "low": "lower end",
    "high": "upper end", "reason": "why", "tuned": "tuned model", "base": "base model", "difference": "tuned minus base",
    "incumbent": "incumbent", "over_incumbent": "tuned minus incumbent", "used": "examples asked", "available": "examples there are",
    "contaminated": "examples left out, because they were trained on", "size_bytes": "size", "digest": "content", "labels_digest": "labels",
    "statistics": "means", "words": "words a dialogue", "turns": "turns a dialogue", "lapse": "why it is not relied on",
    "more_examples": "examples that would decide",
}  # fmt: skip
_WEIGHTIEST = ("verdict", "outcomes", "metrics", "splits", "families", "licenses", "agreements")
_TOLD_BY_REASON = {"value", "low", "high", "n"}  # of a rule: its reason has the numbers


def record_diff_view(found: RecordDiff) -> RenderableType:
    """The comparison, with its answer last, where the eye is when a command ends."""
    parts: list[RenderableType] = [facts({"before": found.before, "after": found.after}), BLANK]
    shown = [one for one in found.differences if not _is_told(one, found)]
    groups: dict[str, list[Difference]] = {}
    for one in sorted(shown[:MOST_SHOWN] if len(shown) > MOST_SHOWN else shown, key=_weight):
        groups.setdefault(HEADINGS.get(one.field[0], "record"), []).append(one)
    for heading, differences in groups.items():
        made = table("what", "before", "after")
        for one in differences:
            made.add_row(plain(called(one, found)), plain(said(one.before, one, found)), plain(said(one.after, one, found)))
        parts.append(under(heading, made))
    if len(shown) > MOST_SHOWN:
        parts += [plain(f"and {len(shown) - MOST_SHOWN:,} more; --json has all", "dim"), BLANK]
    if found.kind == "ds" and not found.same:
        parts += [plain(f"row by row: pe dataset diff {short(found.before)} {short(found.after)}", "dim"), BLANK]
    return Group(*parts, Text(summary(found), "bold"))


def summary(found: RecordDiff) -> str:
    """The difference in one line."""
    if found.same:
        return f"the same {KINDS[found.kind]}"
    return f"they differ in {numbers.count(len(found.differences), 'field')}"


def called(one: Difference, found: RecordDiff) -> str:
    """What a person calls the field: ``Crises recognised, tuned model``."""
    outer, *inner = one.field
    names = list(_names(outer, inner, found))
    text = ": ".join(names[:1]) + "".join(f", {name}" for name in names[1:])
    return text[:1].upper() + text[1:]


def _names(outer: str, inner: list[str], found: RecordDiff) -> Iterator[str]:
    if outer in ("outcomes", "metrics") and inner:
        yield found.titles.get(inner[0]) or inner[0] if outer == "outcomes" else _measure(inner[0])
        inner = inner[1:]
    elif outer in ("families", "licenses", "splits") and inner:
        yield inner[0].replace("_", " ")
        yield from (f"rows in {name}" for name in inner[1:] if name != "rows" and outer == "families")
        inner = [] if outer == "families" else inner[1:]
        if outer == "licenses" or inner == ["rows"]:
            yield "rows"
            inner = []
    elif outer not in ("spec", "recipe"):
        yield FIELDS.get(outer, outer.replace("_", " "))
    yield from (FIELDS.get(name, name.replace("_", " ")) for name in inner)


def _measure(named: str) -> str:
    suite, name, *slices = named.split(" ")
    of = " ".join(slices)
    field, _, value = of.partition("=")
    where = "" if of in ("", "all") else f" ({words.slice_value(field)}: {words.slice_value(value)})"
    return f"{suite}: {words.measure(name)}{where}"


def said(value: Any, one: Difference, found: RecordDiff) -> str:
    """A value as people read it."""
    unit = found.units.get(one.field[1], "") if one.field[0] in ("outcomes", "metrics") and len(one.field) > 1 else ""
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return (
            _estimate(value, unit) if value.keys() >= ESTIMATE else ", ".join(f"{name} {said(v, one, found)}" for name, v in value.items())
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(said(part, one, found) for part in value) or "none"
    if isinstance(value, int | float):
        return numbers.value(value, unit) if unit and one.field[-1] in ("value", "threshold", "low", "high") else _plain(value)
    return short(value) if is_id(value) or is_digest(value) else str(value).replace("_", " ") if one.field[-1] == "verdict" else str(value)


def _plain(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _estimate(value: Mapping[str, Any], unit: str) -> str:
    read = Comparison if "p_value" in value else Estimate
    known = {name: value[name] for name in read.model_fields if name in value}
    made = read.model_validate(known)
    text = numbers.difference(made, unit) if isinstance(made, Comparison) else numbers.estimate(made, unit)
    return f"{text}, n {numbers.units(made)}" if isinstance(made, Estimate) else f"{text}, n {made.n:,}"


def _is_told(one: Difference, found: RecordDiff) -> bool:
    """Whether another row of the same rule says it."""
    outer, *inner = one.field
    if outer != "outcomes" or len(inner) != 2 or inner[1] not in _TOLD_BY_REASON:
        return False
    return any(other.field == (outer, inner[0], "reason") for other in found.differences)


def _weight(one: Difference) -> tuple[int, str]:
    outer = one.field[0]
    return (_WEIGHTIEST.index(outer) if outer in _WEIGHTIEST else len(_WEIGHTIEST), HEADINGS.get(outer, ""))
