"""The lineage page: one self-contained HTML file with a graph that can be zoomed, and the same as a table.

The graph is drawn here and is whole without a script; the script that is in the file moves and zooms it and nothing else. The page says
to the browser that this script alone may run, by its digest, because labels are text that people and releases bring.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup, escape

from pe_training import __version__
from pe_training.core.ids import KINDS, short
from pe_training.lineage.trace import Tree
from pe_training.views import numbers, words
from pe_training.views.layered import Layout, layered
from pe_training.views.page import template

TEMPLATE, SCRIPT = "lineage.html.j2", Path(__file__).with_name("lineage.js")
BOX_WIDTH, BOX_HEIGHT, COLUMN, ROW, PAD = 208, 86, 284, 110, 24
MOST_LETTERS = 27


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A link as the table tells it."""

    role: str
    number: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A record of the page. ``states``: (class, words) of what is to be noticed about it."""

    number: int
    tree: Tree
    kind: str
    states: tuple[tuple[str, str], ...]
    origins: tuple[Origin, ...]
    asked: bool


def render_lineage_page(up: Tree, down: Tree, *, at: str | None) -> str:
    """The page of the record at the root of both trees. ``at``: the moment it shows, where that is not now."""
    nodes: dict[str, Tree] = {}
    links: dict[tuple[str, str], str] = {}  # (parent, child) -> role
    _collect(up, nodes, links, up=True)
    _collect(down, nodes, links, up=False)
    names = sorted(nodes, key=lambda one: (_order(nodes[one].kind), nodes[one].label, one))
    layout = layered(names, links)
    names.sort(key=lambda one: layout.places[one])
    entries = {name: _entry(number, nodes[name], names, links, asked=name == up.id) for number, name in enumerate(names, start=1)}
    script = SCRIPT.read_text()
    return template(TEMPLATE).render(
        root=entries[up.id],
        entries=list(entries.values()),
        counts=_counts(entries.values()),
        graph=_drawing(layout, entries, links),
        script=Markup(script),  # noqa: S704 (a file of this package)
        allowed=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        at=at,
        version=__version__,
    )


def _collect(node: Tree, nodes: dict[str, Tree], links: dict[tuple[str, str], str], *, up: bool) -> None:
    """Every record once: what the tree tells of it where it is unfolded counts more than where it is only named."""
    known = nodes.get(node.id)
    if known is None or len(node.children) > len(known.children) or (node.made_at and not known.made_at):
        nodes[node.id] = node
    for child in node.children:
        links.setdefault((child.id, node.id) if up else (node.id, child.id), child.role)
        _collect(child, nodes, links, up=up)
    if node.hidden:
        name = f"more {node.id}"
        label = words.left_out(node.hidden, uncounted=node.uncounted)
        nodes[name] = Tree(id=name, kind="more", label=f"not shown: {label}", role="")
        links[(name, node.id) if up else (node.id, name)] = ""


def _entry(number: int, node: Tree, names: list[str], links: dict[tuple[str, str], str], *, asked: bool) -> Entry:
    states = [("fail", f"tainted by recall {', '.join(map(str, node.recalls))}")] if node.recalls else []
    states += [("fail", "missing")] if node.missing else []
    states += [(node.verdict, numbers.VERDICT_WORDS.get(node.verdict, node.verdict))] if node.verdict else []
    states += [("neutral", f"holds {', '.join(node.stages)}")] if node.stages else []
    origins = sorted((role.replace("_", " "), names.index(parent) + 1) for (parent, child), role in links.items() if child == node.id)
    return Entry(
        number=number, tree=node, kind=KINDS.get(node.kind, "" if node.kind == "more" else node.kind), states=tuple(states),
        origins=tuple(Origin(role=role, number=at) for role, at in origins if role), asked=asked,
    )  # fmt: skip


def _order(kind: str) -> int:
    return ["release", *KINDS, "more"].index(kind) if kind in ("release", "more", *KINDS) else len(KINDS)


def _counts(entries: Iterable[Entry]) -> str:
    counted = Counter(entry.kind for entry in entries if entry.kind)
    said = [numbers.count(counted[kind], kind) for kind in ("release", *KINDS.values()) if counted[kind]]
    return ", ".join(said)


def _drawing(layout: Layout, entries: dict[str, Entry], links: dict[tuple[str, str], str]) -> Markup:
    width = round(PAD * 2 + COLUMN * (layout.columns - 1) + BOX_WIDTH)
    height = round(PAD * 2 + ROW * (layout.rows - 1) + BOX_HEIGHT)
    lines = [_line(layout.ways[link], role, entries[link[0]], entries[link[1]]) for link, role in links.items() if link in layout.ways]
    boxes = [_box(entry, *_corner(layout.places[name])) for name, entry in entries.items()]
    head = f'<svg class="lineage" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="group"'
    label = f' aria-label="Graph of {numbers.count(len(boxes), "record")}, from data on the left to decisions on the right">'
    return Markup(head + label + "".join((*lines, *boxes)) + "</svg>")  # noqa: S704 (numbers and escaped text only)


def _corner(place: tuple[int, float]) -> tuple[float, float]:
    column, row = place
    return PAD + column * COLUMN, round(PAD + row * ROW, 1)


def _line(way: tuple[tuple[int, float], ...], role: str, parent: Entry, child: Entry) -> str:
    """A link as a soft curve: level over the width of the columns that it passes, bent in the gaps between them."""
    x, y = _corner(way[0])
    x, y = x + BOX_WIDTH, y + BOX_HEIGHT / 2
    drawn = [f"M{x} {y}"]
    for place in way[1:]:
        left, top = _corner(place)
        top += BOX_HEIGHT / 2
        middle = round((x + left) / 2, 1)
        drawn.append(f"C{middle} {y} {middle} {top} {left} {top}")
        x, y = left, top
        if place is not way[-1]:
            x = left + BOX_WIDTH
            drawn.append(f"H{x}")
    told = escape(words.clean(f"{child.kind} {child.number} has {parent.kind} {parent.number} as its {role.replace('_', ' ')}"))
    style = "link" if role else "link more"
    return f'<path class="{style}" d="{"".join(drawn)}"><title>{told}</title></path>'


def _box(entry: Entry, x: float, y: float) -> str:
    node = entry.tree
    states = " ".join(word for _, word in entry.states)
    told = escape(words.clean(f"{entry.number}: {entry.kind} {node.label} {short(node.id) if entry.kind else ''} {states}".strip()))
    if node.kind == "more":
        text = "".join(_text(x + 14, y + 36 + 17 * n, part, "") for n, part in enumerate(_wrapped(node.label)))
        return (
            f'<g class="box more"><rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>{text}<title>{told}</title></g>'
        )
    styles = ["box", *("asked",) * entry.asked, *("tainted",) * bool(node.recalls), *("missing",) * node.missing, node.verdict or ""]
    told_states = "  ".join(f'<tspan class="{style}">{escape(words.clean(word))}</tspan>' for style, word in entry.states)
    state = f'<text class="state" x="{x + 14}" y="{y + 75}">{told_states}</text>' if states else ""
    parts = (
        _text(x + 14, y + 20, entry.kind, "kind"),
        f'<text class="kind" x="{x + BOX_WIDTH - 12}" y="{y + 20}" text-anchor="end">{entry.number}</text>',
        _text(x + 14, y + 40, _cut(node.label), "name"),
        _text(x + 14, y + 57, short(node.id), "id"),
        state,
    )
    rect = f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
    inside = f"{rect}{''.join(parts)}<title>{told}</title>"
    return f'<a class="{" ".join(filter(None, styles))}" href="#r{entry.number}" aria-label="{told}">{inside}</a>'


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x}" y="{y}">{escape(words.clean(text))}</text>'


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}"


def _wrapped(text: str) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= MOST_LETTERS and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines[:3]
