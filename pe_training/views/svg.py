"""Small inline drawings as SVG text: an interval against a threshold, a difference against zero, curves over steps.

Pure strings from numbers: no colours (the page's style sheet has them, for light and dark), no fonts, no network, and coordinates
rounded to a tenth of a pixel so that the same numbers always give the same text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from pe_training.views.numbers import percent

WIDTH = 240
PAD = 8
RULE_HEIGHT, ROW_HEIGHT = 44, 22
BARS_WIDTH = 300
LABEL_ROOM = 56  # an end label closer than this to the threshold's label is left out
SHARES = ((0.0, 0.25), (0.75, 1.0), (0.0, 0.5), (0.5, 1.0), (0.0, 1.0))
MAX_POINTS = 300
Points = Sequence[tuple[int, float]]
Bounds = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Span:
    """A value between the ends of its interval."""

    low: float
    value: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A threshold, the side of it that is allowed, and how it reads."""

    at: float
    allowed: str  # at_least | at_most
    text: str


def rule(span: Span | None, limit: Limit, *, bounds: Bounds, ends: tuple[str, str], style: str, label: str) -> Markup:
    """A rule's interval against its threshold; the allowed side is shaded. Without ``span`` only the threshold is drawn."""
    x = _Scale(bounds)
    y, floor, bar = 15, 27, x(limit.at)
    start, end = (bar, float(WIDTH - PAD)) if limit.allowed == "at_least" else (float(PAD), bar)
    parts = [
        f'<rect class="allowed" x="{start}" y="3" width="{round(end - start, 1)}" height="{floor - 3}"/>',
        f'<line class="axis" x1="{PAD}" x2="{WIDTH - PAD}" y1="{floor}" y2="{floor}"/>',
        f'<line class="limit" x1="{bar}" x2="{bar}" y1="1" y2="{floor + 4}"/>',
        _whisker(x, span, y) if span else _label(WIDTH / 2, y + 4, "no evidence", "middle"),
        _label(min(max(bar, 22.0), WIDTH - 22.0), RULE_HEIGHT - 3, limit.text, "middle", "strong"),
        _label(PAD, RULE_HEIGHT - 3, ends[0], "start") if bar > PAD + LABEL_ROOM else "",
        _label(WIDTH - PAD, RULE_HEIGHT - 3, ends[1], "end") if bar < WIDTH - PAD - LABEL_ROOM else "",
    ]
    return _svg(f"figure {style}", WIDTH, RULE_HEIGHT, "".join(parts), label)


def change(span: Span, *, reach: float, style: str, label: str) -> Markup:
    """A difference against zero, on a scale from ``-reach`` to ``reach``: one row of a forest plot."""
    x, y = _Scale((-reach, reach)), ROW_HEIGHT / 2
    zero = x(0)
    axis = f'<line class="axis" x1="{PAD}" x2="{WIDTH - PAD}" y1="{y}" y2="{y}"/>'
    bar = f'<line class="zero" x1="{zero}" x2="{zero}" y1="1" y2="{ROW_HEIGHT - 1}"/>'
    return _svg(f"figure {style}", WIDTH, ROW_HEIGHT, axis + bar + _whisker(x, span, y), label)


def share_bounds(numbers: Sequence[float]) -> Bounds:
    """The narrowest of a few familiar scales that shows all shares: a quarter, a half, or all of 0 to 1."""
    return next(ends for ends in SHARES if ends[0] <= min(numbers) and max(numbers) <= ends[1])


def wide_bounds(numbers: Sequence[float]) -> Bounds:
    """Round ends well outside of ``numbers``, for units that have no natural end."""
    margin = (max(numbers) - min(numbers)) * 0.1
    ticks = nice_ticks(min(numbers) - margin, max(numbers) + margin)
    return ticks[0], ticks[-1]


def nice_ticks(low: float, high: float, *, wanted: int = 4) -> list[float]:
    """About ``wanted`` steps of 1, 2 or 5 times a power of ten that cover ``low`` to ``high``."""
    if low == high:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) + 0.0 for index in range(first, last + 1)]


def curve(train: Points, held_out: Points, *, kept_step: int) -> Markup:
    """Training loss (thin line) and held-out loss (dots) over optimiser steps, and the step whose weights were kept."""
    train, held_out = [_finite(points) for points in (train, held_out)]
    if not (points := [*train, *held_out]):
        return Markup("")
    width, height, left, right, top, bottom = 680, 260, 46, 112, 16, 40
    ticks = nice_ticks(min(v for _, v in points), max(v for _, v in points))
    last = max(1, *(step for step, _ in points))

    def at(step: float, value: float) -> tuple[float, float]:
        down = (ticks[-1] - value) / (ticks[-1] - ticks[0])
        return round(left + (width - left - right) * step / last, 1), round(top + (height - top - bottom) * down, 1)

    def line(series: Points, style: str) -> str:
        return f'<polyline class="{style}" points="{" ".join(f"{x},{y}" for x, y in (at(*point) for point in series))}"/>'

    steps = [tick for tick in nice_ticks(0, last, wanted=5) if tick <= last and tick == int(tick)]
    kept = at(min(kept_step, last), 0)[0]
    names = _apart([(at(*series[-1])[1], name, style) for series, name, style in _named(train, held_out)])
    parts = [
        *(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{at(0, t)[1]}" y2="{at(0, t)[1]}"/>' for t in ticks),
        *(_label(left - 8, at(0, t)[1] + 4, f"{t:g}", "end") for t in ticks),
        *(_label(at(s, 0)[0], height - bottom + 18, f"{int(s):,}", "middle") for s in steps),
        _label(left, height - 4, "optimiser step", "start"),
        f'<line class="limit" x1="{kept}" x2="{kept}" y1="{top}" y2="{height - bottom}"/>',
        _label(kept, top - 5, f"kept: step {kept_step:,}", "end" if kept > width / 2 else "start"),
        line(_thinned(train), "train") if train else "",
        line(held_out, "held-out") if held_out else "",
        *(f'<circle class="held-out" cx="{x}" cy="{y}" r="4"/>' for x, y in (at(*point) for point in held_out)),
        *(_label(width - right + 10, y + 4, name, "start", style) for y, name, style in names),
    ]
    return _svg(
        "curve", width, height, "".join(parts), "Training loss and held-out loss by optimiser step; the table below has the numbers"
    )


def bars(shares: Sequence[tuple[str, float]], *, highest: float, label: str) -> Markup:
    """A histogram: one bar a bin, with the bins' names below and their shares above. ``highest``: the share that fills the height."""
    height, floor, top = 150, 122, 16
    step = (BARS_WIDTH - 2 * PAD) / max(len(shares), 1)
    tallest = max((share for _, share in shares), default=0.0)
    parts = [f'<line class="axis" x1="{PAD}" x2="{BARS_WIDTH - PAD}" y1="{floor}" y2="{floor}"/>']
    every = math.ceil(len(shares) * 44 / (BARS_WIDTH - 2 * PAD))  # a name needs 44 pixels
    for index, (name, share) in enumerate(shares):
        tall = round(max((floor - top) * share / highest, 1.0 if share else 0.0), 1)
        left, middle = round(PAD + step * index + step * 0.12, 1), round(PAD + step * (index + 0.5), 1)
        parts.append(f'<rect class="bar" x="{left}" y="{round(floor - tall, 1)}" width="{round(step * 0.76, 1)}" height="{tall}"/>')
        if share and (every == 1 or share == tallest):
            parts.append(_label(middle, round(floor - tall - 4, 1), f"{percent(share)}%", "middle"))
        if index % every == 0:
            parts.append(_label(middle, floor + 14, name, "middle"))
    return _svg("figure bars", BARS_WIDTH, height, "".join(parts), label)


class _Scale:
    """From a number to a horizontal place; numbers outside the bounds are drawn at the edge."""

    def __init__(self, bounds: Bounds) -> None:
        self._start, self._end = bounds

    def __call__(self, number: float) -> float:
        inside = min(max(number, self._start), self._end)
        return round(PAD + (WIDTH - 2 * PAD) * (inside - self._start) / (self._end - self._start), 1)


def _whisker(x: _Scale, span: Span, y: float) -> str:
    low, high = x(span.low), x(span.high)
    caps = "".join(f'<line class="range" x1="{end}" x2="{end}" y1="{y - 4}" y2="{y + 4}"/>' for end in (low, high))
    return (
        f'<line class="range" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>{caps}<circle class="dot" cx="{x(span.value)}" cy="{y}" r="4.5"/>'
    )


def _label(x: float, y: float, text: str, anchor: str, style: str = "") -> str:
    css = f' class="{style}"' if style else ""
    return f'<text{css} x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(style: str, width: int, height: int, inside: str, label: str) -> Markup:
    text = escape(label)
    head = f'<svg class="{style}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{text}">'
    return Markup(f"{head}{inside}</svg>")  # noqa: S704 (numbers and escaped text only)


def _finite(points: Points) -> Points:
    return [(step, value) for step, value in points if math.isfinite(value)]


def _thinned(points: Points) -> Points:
    """At most about MAX_POINTS points, the first and the last among them."""
    stride = math.ceil(len(points) / MAX_POINTS)
    return [*points[:-1:stride], points[-1]]


def _named(train: Points, held_out: Points) -> list[tuple[Points, str, str]]:
    named = [(train, "training loss", "train"), (held_out, "held-out loss", "held-out")]
    return [(points, name, style) for points, name, style in named if points]


def _apart(names: list[tuple[float, str, str]], *, room: float = 16) -> list[tuple[float, str, str]]:
    """Labels at their lines' ends, pushed apart where they would overlap."""
    ordered = sorted(names)
    if len(ordered) == 2 and ordered[1][0] - ordered[0][0] < room:
        middle = (ordered[0][0] + ordered[1][0]) / 2
        return [(round(middle - room / 2, 1), *ordered[0][1:]), (round(middle + room / 2, 1), *ordered[1][1:])]
    return ordered
