"""Places for a graph's nodes in columns, so that links run from left to right and cross seldom.

Columns by longest path, long links led through the columns between by way points, rows by the mean of the neighbours' rows (the
barycentre of Sugiyama, Tagawa and Toda 1981). Few passes and no chance: the same graph always gives the same drawing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

PASSES = 6
Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """``places``: node -> (column, row), rows counted in halves from 0; ``ways``: link -> the places that it passes, both ends included."""

    places: dict[str, tuple[int, float]]
    ways: dict[Pair, tuple[tuple[int, float], ...]]
    columns: int
    rows: float


def layered(nodes: Sequence[str], links: Iterable[Pair]) -> Layout:
    """Lay out a graph. A link leads from the first of a pair to the second; one that would close a circle is drawn and not followed."""
    wanted = [link for link in dict.fromkeys(links) if link[0] != link[1]]
    column = _columns(nodes, wanted)
    layers: list[list[str]] = [[] for _ in range(max(column.values(), default=0) + 1)]
    for node in nodes:
        layers[column[node]].append(node)
    chains = {link: _chain(link, column) for link in wanted}
    for chain in chains.values():
        for step, at in chain[1:-1]:
            layers[at].append(step)
    beside = _neighbours(chains.values())
    rows = {node: float(row) for layer in layers for row, node in enumerate(layer)}
    for number in range(PASSES):
        forwards = number % 2 == 0
        for layer in layers if forwards else reversed(layers):
            _settle(layer, rows, beside[0] if forwards else beside[1])
    lowest = min(rows.values(), default=0.0)
    rows = {node: row - lowest for node, row in rows.items()}
    return Layout(
        places={node: (column[node], rows[node]) for node in nodes},
        ways={link: tuple((at, rows[step]) for step, at in chain) for link, chain in chains.items()},
        columns=len(layers),
        rows=max(rows.values(), default=0.0) + 1,
    )


def _columns(nodes: Sequence[str], links: Sequence[Pair]) -> dict[str, int]:
    """Each node behind all that lead to it, as near to what it leads to as may be."""
    before: dict[str, list[str]] = {node: [] for node in nodes}
    after: dict[str, list[str]] = {node: [] for node in nodes}
    for first, second in links:
        before[second].append(first)
        after[first].append(second)
    found: dict[str, int] = {}

    def longest(node: str, open_: frozenset[str]) -> int:
        if node not in found:
            found[node] = max((longest(one, open_ | {node}) + 1 for one in before[node] if one not in open_), default=0)
        return found[node]

    for node in nodes:
        longest(node, frozenset({node}))
    for node in sorted(nodes, key=lambda one: -found[one]):
        if not before[node] and after[node]:
            found[node] = max(found[node], min(found[one] for one in after[node]) - 1)
    return found


def _chain(link: Pair, column: dict[str, int]) -> list[tuple[str, int]]:
    """The link's ends and a way point in every column between, as (name, column)."""
    first, second = link
    start, end = column[first], column[second]
    return [(first, start), *((f"{first} {second} {at}", at) for at in range(start + 1, end)), (second, end)]


def _neighbours(chains: Iterable[Sequence[tuple[str, int]]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for chain in chains:
        for (first, _), (second, _) in pairwise(chain):
            before.setdefault(second, []).append(first)
            after.setdefault(first, []).append(second)
    return before, after


def _settle(layer: list[str], rows: dict[str, float], beside: dict[str, list[str]]) -> None:
    """Order a column by where its neighbours are, then give each the free row that is nearest to them."""
    wish = {node: _mean([rows[one] for one in beside.get(node, ())], rows[node]) for node in layer}
    layer.sort(key=lambda node: (wish[node], rows[node]))
    groups: list[list[float]] = []  # [first row, wishes of its members relative to their place ...]: neighbours that touch move as one
    for node in layer:
        groups.append([wish[node]])
        while len(groups) > 1 and _start(groups[-2]) + len(groups[-2]) > _start(groups[-1]):
            last = groups.pop()
            offset = len(groups[-1])
            groups[-1] += [one - offset for one in last]
    at = 0
    for group in groups:
        start = round(_start(group) * 2) / 2
        start = max(start, rows[layer[at - 1]] + 1) if at else start
        for place in range(len(group)):
            rows[layer[at]] = start + place
            at += 1


def _start(group: list[float]) -> float:
    return sum(group) / len(group)


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default
