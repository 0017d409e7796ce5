"""Counterfactual suites: the same situation, told by people of different groups. The measure is the gap between groups.

Each answer scores in 0..1. Replies: whether a crisis reply is appropriate, in crisis scenarios; the therapeutic score, in the others.
Classifier: whether it told crisis from no crisis rightly (a miss here and a false alarm there must not cancel). Groups of one
dimension are compared on the scenarios that they share.
"""

from __future__ import annotations

from collections.abc import Sequence

from pe_training.evaluation.examples import NONE, Scenario
from pe_training.evaluation.measures import Measure, Replies, Row, Scored, check_aligned, empties
from pe_training.evaluation.record import Estimate, Metric
from pe_training.evaluation.resampling import Gap, largest_gap
from pe_training.evaluation.rubric import judge
from pe_training.evaluation.safety import check_crisis_labels
from pe_training.evaluation.statistics import mean
from pe_training.evaluation.suites import Prompt, SuiteConfig, prompts

Cells = list[dict[str, float]]


def score_replies(scenarios: Sequence[Scenario], *, config: SuiteConfig, tuned: Replies, base: Replies | None, seed: int) -> Scored:
    """Judge one reply per scenario and group, in the order of :func:`pe_training.evaluation.suites.prompts`."""
    by_id = {scenario.id: scenario for scenario in scenarios}
    asked = prompts(tuple(scenarios))
    check_aligned(asked=len(asked), tuned=tuned, base=base)

    def quality(replies: Replies) -> list[float]:
        verdicts = [judge(reply) for reply in replies]
        return [
            float(verdict.appropriate_in_crisis) if by_id[prompt.example_id].is_crisis else verdict.therapeutic_score
            for prompt, verdict in zip(asked, verdicts, strict=True)
        ]

    note = empties(sum(judge(reply).empty for reply in tuned))
    texts = _said("reply", tuned, base)
    return _scored(scenarios, config, quality(tuned), None if base is None else quality(base), texts=texts, note=note, seed=seed)


def score_predictions(
    scenarios: Sequence[Scenario], *, config: SuiteConfig, tuned: Sequence[str], base: Sequence[str] | None, seed: int
) -> Scored:
    """Judge a crisis classifier's labels, in the order of ``prompts``. Raises input where it predicts something else."""
    by_id = {scenario.id: scenario for scenario in scenarios}
    asked = prompts(tuple(scenarios))
    check_aligned(asked=len(asked), tuned=tuned, base=base)
    check_crisis_labels([*tuned, *(base or [])])

    def right(labels: Sequence[str]) -> list[float]:
        return [float((label != NONE) == by_id[prompt.example_id].is_crisis) for prompt, label in zip(asked, labels, strict=True)]

    texts = _said("label", tuned, base)
    return _scored(scenarios, config, right(tuned), None if base is None else right(base), texts=texts, note=None, seed=seed)


def _said(what: str, tuned: Replies, base: Replies | None) -> list[dict[str, str | None]]:
    rows: list[dict[str, str | None]] = [{f"tuned_{what}": said} for said in tuned]
    for row, said in zip(rows, base or (), strict=base is not None):
        row[f"base_{what}"] = said
    return rows


def _scored(
    scenarios: Sequence[Scenario],
    config: SuiteConfig,
    tuned: Sequence[float],
    base: Sequence[float] | None,
    *,
    texts: Sequence[dict[str, str | None]],
    note: str | None,
    seed: int,
) -> Scored:
    asked, dimension_of = prompts(tuple(scenarios)), {scenario.id: scenario.dimension for scenario in scenarios}
    metrics: list[Metric] = []
    gaps: dict[str, tuple[Gap, Gap | None]] = {}
    for dimension in sorted(set(dimension_of.values())):
        members = [i for i, prompt in enumerate(asked) if dimension_of[prompt.example_id] == dimension]
        groups = sorted({prompt.group for prompt in asked if dimension_of[prompt.example_id] == dimension and prompt.group})
        for group in groups:
            own = [i for i in members if asked[i].group == group]
            measure = Measure(
                suite=config.name, name="group_score", better="higher", unit="score", slice=f"{dimension}={group}", min_n=config.min_cell_n
            )
            metrics.append(measure.average([tuned[i] for i in own], None if base is None else [base[i] for i in own]))
        mine, theirs = ([_cells(asked, members, scores) for scores in (tuned, base) if scores is not None] + [None])[:2]
        assert mine is not None
        gap = largest_gap(mine, min_n=config.min_cell_n, seed=seed)
        base_gap = None if theirs is None else largest_gap(theirs, min_n=config.min_cell_n, seed=seed)
        gaps[dimension] = gap, base_gap
        metrics.append(
            _gap_measure(config, f"dimension={dimension}").metric(
                tuned=gap.estimate, base=base_gap.estimate if base_gap else None, note=_gap_note(gap, config.min_cell_n)
            )
        )
    metrics.insert(0, _overall(config, gaps, note))
    overall = Measure(suite=config.name, name="group_score", better="higher", unit="score")
    metrics.insert(1, _over_scenarios(overall, asked, tuned, base))
    rows: list[Row] = []
    for i, prompt in enumerate(asked):
        row: Row = {"id": prompt.id, "scenario": prompt.example_id, "dimension": dimension_of[prompt.example_id], "group": prompt.group}
        rows.append(row | {"tuned_score": tuned[i], **texts[i]} | ({} if base is None else {"base_score": base[i]}))
    return Scored(metrics=tuple(metrics), rows=tuple(rows))


def _overall(config: SuiteConfig, gaps: dict[str, tuple[Gap, Gap | None]], note: str | None) -> Metric:
    """The largest gap over all dimensions. One dimension without evidence leaves it unknown: the gap may lie there."""
    measure = _gap_measure(config, "all")
    if not gaps:
        return measure.insufficient(0)
    if unknown := sorted(dimension for dimension, (gap, _) in gaps.items() if gap.estimate is None):
        return measure.metric(note=f"insufficient: fewer than {config.min_cell_n} shared scenarios for {', '.join(unknown)}")
    found = {dimension: gap.estimate for dimension, (gap, _) in gaps.items() if gap.estimate is not None}
    base = [gap.estimate for _, gap in gaps.values() if gap is not None and gap.estimate is not None]
    widest = max(sorted(found), key=lambda dimension: found[dimension].value)
    excluded = sum(bool(gap.excluded) for gap, _ in gaps.values())
    parts = [f"largest in {widest}", note, f"groups left out in {excluded} dimensions" if excluded else None]
    return measure.metric(
        tuned=_largest(list(found.values())), base=_largest(base) if len(base) == len(gaps) else None, note="; ".join(p for p in parts if p)
    )


def _largest(found: Sequence[Estimate]) -> Estimate:
    """The maximum of several gaps: at least every lower end, at most the highest upper end, over all their scenarios."""
    return Estimate(
        value=max(e.value for e in found),
        low=max(e.low for e in found),
        high=max(e.high for e in found),
        n=sum(e.n for e in found),
        method=f"max-of-{len(found)} {found[0].method}",
    )


def _over_scenarios(measure: Measure, asked: Sequence[Prompt], tuned: Sequence[float], base: Sequence[float] | None) -> Metric:
    """Mean score with the scenario as the unit: its variants are one situation, not several."""
    ids = [prompt.example_id for prompt in asked]
    order = list(dict.fromkeys(ids))

    def per_scenario(scores: Sequence[float]) -> list[float]:
        return [mean([score for score, owner in zip(scores, ids, strict=True) if owner == name]).value for name in order]

    return measure.average(per_scenario(tuned), None if base is None else per_scenario(base))


def _gap_measure(config: SuiteConfig, slice: str) -> Measure:
    return Measure(suite=config.name, name="largest_gap", better="lower", slice=slice)


def _gap_note(gap: Gap, min_n: int) -> str | None:
    if not gap.excluded:
        return None if gap.estimate else f"insufficient: fewer than {min_n} shared scenarios"
    return "insufficient: " + ", ".join(f"{group} {n} of {min_n}" for group, n in gap.excluded.items())


def _cells(asked: Sequence[Prompt], members: Sequence[int], scores: Sequence[float]) -> Cells:
    cells: dict[str, dict[str, float]] = {}
    for i in members:
        prompt = asked[i]
        cells.setdefault(prompt.example_id, {})[prompt.group or ""] = scores[i]
    return list(cells.values())
