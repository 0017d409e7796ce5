"""A home in which a run can be done again as if for the first time.

Its registry holds the run, what the run was made from, and nothing that happened since; its artifacts are its own, and what it lacks is
read from the real store. So the same process trains by the same code, and whatever it saves, forgets or registers stays in the scratch
home.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import sqlalchemy as sa

from pe_training.manifests.record import ResolvedManifest
from pe_training.manifests.schema import Tracking
from pe_training.settings import Settings
from pe_training.storage import tables as t
from pe_training.storage.state import State
from pe_training.training.memory import OUT_OF_MEMORY
from pe_training.training.record import TrainingRun

LONGEST_HOURS = 240.0


def open_scratch(folder: Path, run: TrainingRun, manifest: ResolvedManifest, *, state: State) -> tuple[State, ResolvedManifest]:
    """A new scratch home in ``folder`` (what was there goes), and the manifest under which the run is known in it.

    That manifest mirrors nothing, and its window is the longest: the run may have had several. Its budget counts from zero.
    """
    shutil.rmtree(folder, ignore_errors=True)
    scratch = State(
        Settings(
            home=folder,
            artifacts_url=f"file://{folder.absolute() / 'artifacts'}",
            artifacts_behind_url=state.settings.artifacts,
            database_url=f"sqlite:///{folder.absolute() / 'registry.sqlite'}",
            signing_key=None,  # nobody vouches for what is only compared
        )
    )
    models, shared = folder / "cache" / "models", state.settings.root / "cache" / "models"  # converted once for all
    for made in (models.parent, shared):
        made.mkdir(parents=True, exist_ok=True)
    models.symlink_to(shared, target_is_directory=True)
    _copy(_ancestors(run.id, manifest.id, state=state), run.id, source=state, target=scratch)
    spec = manifest.spec
    quiet = spec.model_copy(update={"tracking": Tracking(), "compute": spec.compute.model_copy(update={"max_hours": LONGEST_HOURS})})
    asked = manifest.model_copy(update={"spec": quiet})
    assert asked.recipe() == manifest.recipe()
    scratch.registry.put(asked)
    return scratch, asked


def _ancestors(*identifiers: str, state: State) -> set[str]:
    """The records and all they were made from."""
    found: set[str] = set()
    waiting = list(identifiers)
    while waiting:
        identifier = waiting.pop()
        if identifier not in found:
            found.add(identifier)
            waiting += state.registry.parents(identifier).values()
    return found


def _copy(identifiers: set[str], run_id: str, *, source: State, target: State) -> None:
    """Records with links and files, acceptances of data, and the sizes of micro-batch that fitted."""
    owners = ((t.records, t.records.c.id), (t.edges, t.edges.c.child), (t.attachments, t.attachments.c.record_id))
    wanted: list[tuple[sa.Table, sa.ColumnElement[bool]]] = [
        (table, column.in_(identifiers)) for table, column in (*owners, (t.releases, t.releases.c.dataset_id))
    ]
    wanted.append((t.run_events, (t.run_events.c.run_id == run_id) & (t.run_events.c.kind == OUT_OF_MEMORY)))
    for table, which in wanted:
        with source.registry.reading() as connection:
            order = [table.c.seq] if "seq" in table.c else []
            rows = [dict(row._mapping) for row in connection.execute(sa.select(table).where(which).order_by(*order))]
        with target.registry.writing() as connection:
            for row in rows:
                row.pop("seq", None)
                connection.execute(sa.insert(table).values(**row))
