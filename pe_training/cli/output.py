"""The only place that writes to the terminal.

A verb returns an :class:`Answer`; this module shows it as one JSON object (``--json``) or as something to read, and turns
every failure into one clear line with a hint and the documented exit code.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec

import typer

from pe_training.core.errors import Kind, PeError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

P = ParamSpec("P")
Verbs = dict[str, Callable[..., None]]  # what a noun's module adds to the command line
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change and change nothing.")]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a verb found: ``data`` for programs, ``show`` (built only when needed) for people, and yes or no."""

    data: Any
    show: Callable[[], list[RenderableType]]
    yes: bool = True


def answers(verb: Callable[P, Answer]) -> Callable[P, None]:
    """Make a function that returns an :class:`Answer` a command: print it, exit 0 for yes and 1 for no."""

    @functools.wraps(verb)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        answer = verb(*args, **kwargs)
        if kwargs.get("as_json"):
            sys.stdout.write(json.dumps(answer.data, indent=1, default=str) + "\n")
        else:
            console = stdout()
            for renderable in answer.show():
                console.print(renderable, markup=False, soft_wrap=isinstance(renderable, str))  # text as it is: JSON stays JSON
        raise typer.Exit(0 if answer.yes else 1)

    command.__annotations__["return"] = None
    return command


def stdout() -> Console:
    """Where answers go."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 120)  # else ":family:" becomes a picture


def stderr() -> Console:
    """Where talk goes: progress, notes, errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False)


def note(text: str) -> None:
    """One line of talk."""
    stderr().print(text, markup=False, soft_wrap=True)


def asking(prompt: str) -> Callable[[], str] | None:
    """How to ask a person for a secret, which is not shown; ``None`` where nobody sits at a terminal."""
    if not sys.stdin.isatty():
        return None
    from getpass import getpass

    return lambda: getpass(prompt, stream=sys.stderr)


def fail(error: PeError, *, as_json: bool) -> NoReturn:
    """End with an error: one JSON object on standard output, or two lines on standard error."""
    if as_json:
        sys.stdout.write(json.dumps({"error": error.to_json()}) + "\n")
    else:
        console = stderr()
        where = f"{error.where}: " if error.where else ""
        console.print(f"error: {_printable(where + error.message)}", markup=False, style="bold", soft_wrap=True)
        if error.hint:
            console.print(f"  hint: {_printable(error.hint)}", markup=False, soft_wrap=True)
    sys.exit(error.kind.exit_code)


def usage_error(message: str) -> PeError:
    """A wrong command line, in the same form as every other error."""
    return PeError(
        Kind.INPUT, message[:1].lower() + message[1:].rstrip("."), hint="`pe --help` lists the verbs, `pe VERB --help` its options"
    )


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}" for character in text)
