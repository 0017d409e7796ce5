"""A lineage as Mermaid text, for documents that draw it: data flows downwards, whichever way the trace was read."""

from __future__ import annotations

from pe_training.core.ids import KINDS, short
from pe_training.lineage.trace import Tree
from pe_training.views import words

_CLASSES = (
    "classDef pass stroke:#1b6a45,stroke-width:2px",
    "classDef fail stroke:#a5281e,stroke-width:2px",
    "classDef inconclusive stroke:#7c5200,stroke-width:2px",
    "classDef tainted stroke:#a5281e,stroke-width:3px,stroke-dasharray:6 3",
    "classDef missing stroke-dasharray:2 4",
)


def mermaid(tree: Tree, *, up: bool) -> str:
    """The flowchart of a trace. Each record is one node, however often the tree tells of it."""
    nodes: dict[str, str] = {}
    lines: list[str] = []
    links: dict[tuple[str, str, str], None] = {}

    def walk(node: Tree) -> str:
        name = nodes.setdefault(node.id, f"n{len(nodes)}")
        drawn = f'  {name}["{"<br>".join(map(_escaped, _lines(node)))}"]{_class(node)}'
        if not any(line.startswith(f"  {name}[") for line in lines):
            lines.append(drawn)
        for child in node.children:
            other = walk(child)
            first, second = (other, name) if up else (name, other)
            links[first, second, child.role] = None
        if node.hidden:
            lines.append(f'  {name}more(["{_escaped("not shown: " + words.left_out(node.hidden, uncounted=node.uncounted))}"])')
            links[(f"{name}more", name, "") if up else (name, f"{name}more", "")] = None
        return name

    walk(tree)
    drawn = [f"  {a} -->|{_escaped(role.replace('_', ' '))}| {b}" if role else f"  {a} -.- {b}" for a, b, role in links]
    return "\n".join(["flowchart TD", *lines, *drawn, *(f"  {line}" for line in _CLASSES)])


def _lines(node: Tree) -> list[str]:
    said = [KINDS.get(node.kind, node.kind), short(node.id), node.label]
    said += [node.verdict] if node.verdict else []
    said += [f"holds {', '.join(node.stages)}"] if node.stages else []
    said += [f"tainted by recall {', '.join(map(str, node.recalls))}"] if node.recalls else []
    return said


def _class(node: Tree) -> str:
    if node.recalls:
        return ":::tainted"
    if node.missing:
        return ":::missing"
    return f":::{node.verdict}" if node.verdict in ("pass", "fail", "inconclusive") else ""


def _escaped(text: str) -> str:
    """Text as Mermaid's entity codes, so that nothing in a label is markup."""
    return "".join(one if one.isalnum() or one in " .,:_-()" else f"#{ord(one)};" for one in words.clean(text))
