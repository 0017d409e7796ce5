"""The `pe` command line. Importing this costs little: torch, dagster and SQL load only inside the verbs that need them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pe_training import __version__
from pe_training.cli import (
    approvals,
    costs,
    datasets,
    exports,
    files,
    imports,
    lineage,
    promotion,
    recall,
    records,
    reproduce,
    run,
    service,
    serving,
    signing,
)
from pe_training.cli.output import fail, usage_error
from pe_training.core.errors import Kind, PeError

app = typer.Typer(
    name="pe",
    help="From a dataset release to a promotion decision, with the evidence.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(datasets.app, name="dataset")
app.add_typer(serving.app, name="role")
for noun in (run, reproduce, imports, signing, files, records, lineage, exports, promotion, serving, approvals, recall, costs, service):
    for name, verb in noun.VERBS.items():
        app.command(name)(verb)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"pe_training {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """From a dataset release to a promotion decision, with the evidence."""


def main() -> None:
    """Run the command line; every way it can end is an exit code of the contract (0, 1, 2, 3)."""
    as_json = "--json" in sys.argv
    try:
        code = app(standalone_mode=False)
    except PeError as error:
        fail(error, as_json=as_json)
    except KeyboardInterrupt:
        fail(PeError(Kind.STOPPED, "interrupted", hint="nothing is half-written; run the same command again"), as_json=as_json)
    except BrokenPipeError:
        sys.exit(3)
    except OSError as error:
        from pe_training.storage.durable import world_error

        fail(world_error(error, doing="the operating system refused"), as_json=as_json)
    except Exception as error:
        if not hasattr(error, "format_message"):  # not a usage error of typer's, whose base class is private
            raise
        fail(usage_error(error.format_message()), as_json=as_json)
    sys.exit(code if isinstance(code, int) else 0)
