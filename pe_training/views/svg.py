"""Small inline drawings as SVG text: an interval against a threshold, a difference against zero, curves over steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT = 220, 22


def interval(low: float, value: float, high: float, *, threshold: float | None, bounds: tuple[float, float], verdict: str) -> Markup:
    """A whisker from ``low`` to ``high`` with a dot at ``value``, and a dashed line at ``threshold``, on a scale of ``bounds``."""
    start, end = bounds

    def x(number: float) -> float:
        return round(6 + (WIDTH - 12) * (min(max(number, start), end) - start) / (end - start), 1)

    middle = HEIGHT / 2
    line = "" if threshold is None else f'<line class="bar" x1="{x(threshold)}" x2="{x(threshold)}" y1="1" y2="{HEIGHT - 1}"/>'
    return Markup(  # noqa: S704 (numbers only)
        f'<svg class="whisker {verdict}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" aria-hidden="true">'
        f'<line class="axis" x1="6" x2="{WIDTH - 6}" y1="{middle}" y2="{middle}"/>{line}'
        f'<line class="range" x1="{x(low)}" x2="{x(high)}" y1="{middle}" y2="{middle}"/><circle cx="{x(value)}" cy="{middle}" r="4"/></svg>'
    )


def scale(unit: str, numbers: Sequence[float]) -> tuple[float, float]:
    """Ends of a scale that shows all ``numbers``: 0 to 1 for proportions, else a little wider than they are."""
    if unit in ("proportion", "score") and all(0 <= number <= 1 for number in numbers):
        return 0.0, 1.0
    low, high = min(numbers), max(numbers)
    margin = (high - low) * 0.1 or 1.0
    return low - margin, high + margin


def curve(train: Sequence[tuple[int, float]], held_out: Sequence[tuple[int, float]]) -> Markup:
    """Training loss as a line and held-out loss as dots over optimiser steps; nats on the vertical axis."""
    width, height, left, bottom = 640, 200, 44, 24
    points = [*train, *held_out]
    if not points:
        return Markup("")
    last = max(step for step, _ in points) or 1
    low, high = math.floor(min(v for _, v in points) * 10) / 10, math.ceil(max(v for _, v in points) * 10) / 10
    span = (high - low) or 1.0

    def at(step: int, value: float) -> tuple[float, float]:
        return round(left + (width - left - 8) * step / last, 1), round(8 + (height - bottom - 8) * (high - value) / span, 1)

    line = " ".join(f"{x},{y}" for x, y in (at(*point) for point in train))
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="4"/>' for x, y in (at(*point) for point in held_out))

    def tick(value: float) -> str:
        y = at(0, value)[1]
        return (
            f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{value:.1f}</text>'
            f'<line class="axis" x1="{left}" x2="{width - 8}" y1="{y}" y2="{y}"/>'
        )

    ticks = "".join(tick(value) for value in (low, (low + high) / 2, high))
    steps = "".join(f'<text x="{at(s, low)[0]}" y="{height - 6}" text-anchor="middle">{s}</text>' for s in (0, last // 2, last))
    return Markup(  # noqa: S704 (numbers only)
        f'<svg class="curve" viewBox="0 0 {width} {height}" role="img" aria-label="Training loss and held-out loss by step">{ticks}{steps}'
        f'<polyline points="{line}"/>{dots}</svg>'
    )
