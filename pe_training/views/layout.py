"""Building blocks of the terminal views: plain text, quiet tables, facts, headings. The one way from data to rich text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from pe_training.views import words

STYLES = {"pass": "green", "fail": "red", "inconclusive": "yellow", "not_applicable": "dim"}
BLANK = Text("")
MARKS = {"pass": "\N{CHECK MARK}", "fail": "\N{BALLOT X}", "inconclusive": "?", "not_applicable": "-"}


@dataclass(frozen=True, kw_only=True)
class ByWidth:
    """One thing in two shapes: ``wide`` where the terminal has ``columns``, else ``narrow``."""

    wide: RenderableType
    narrow: RenderableType
    columns: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.wide if options.max_width >= self.columns else self.narrow


def plain(text: object, style: str = "") -> Text:
    """Text from data on one line: control characters become a replacement mark, and rich markup is not interpreted."""
    return Text(words.clean(text), style=style)


def mark(*, holds: bool) -> Text:
    """Yes or no, as a word beside the sign."""
    return Text(f"{MARKS['pass']} yes", STYLES["pass"]) if holds else Text(f"{MARKS['fail']} no", STYLES["fail"])


def taint(recalls: Sequence[int]) -> Text:
    """The mark of a tainted record; nothing where no recall taints it."""
    numbers = ", ".join(map(str, recalls))
    return Text(f"  {MARKS['fail']} tainted by recall {numbers}", STYLES["fail"]) if recalls else Text("")


def table(*columns: str) -> Table:
    """A table without lines. A column named ``>x`` is ``x``, aligned right and never wrapped."""
    made = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in columns:
        right = name.startswith(">")
        made.add_column(name.removeprefix(">"), justify="right" if right else "left", no_wrap=right, overflow="fold")
    return made


def facts(named: Mapping[str, object]) -> Table:
    """Name and text, line by line."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, text in named.items():
        made.add_row(name, plain(text))
    return made


def under(heading: str, *parts: RenderableType) -> RenderableType:
    """Parts below a ruled heading, with a blank line after them."""
    rule = Rule(plain(heading, "bold"), align="left", style="dim", characters="\N{BOX DRAWINGS LIGHT HORIZONTAL}")
    return Group(rule, Padding(Group(*parts), (0, 0, 1, 1)))
