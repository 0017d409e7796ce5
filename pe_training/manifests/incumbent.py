"""The checkpoint that a new model is compared with beside its base: what holds a stage of its line when the run begins, pinned by id."""

from __future__ import annotations

import sqlalchemy as sa

from pe_training.core.records import Attachment
from pe_training.datasets.gate import require_untainted
from pe_training.manifests.parent import INCUMBENT, named_checkpoint, proved, require_comparable
from pe_training.manifests.record import BaseModelPin
from pe_training.manifests.schema import Manifest
from pe_training.storage import tables as t
from pe_training.storage.signatures import require_signed
from pe_training.storage.state import State


def pin_incumbent(spec: Manifest, base: BaseModelPin, *, state: State) -> str | None:
    """The id of the checkpoint, or ``None`` where none is asked for or nobody holds the stage. Raises not_found, refused, input."""
    asked = spec.evaluation.incumbent
    if asked is None:
        return None
    identifier = (
        named_checkpoint(asked, where=INCUMBENT, state=state) if asked.startswith("ck_") else _holder(spec.name, asked, state=state)
    )
    if identifier is None:
        return None
    require_untainted(identifier, state=state, route="manifest")
    checkpoint = proved(identifier, state=state)
    require_signed(identifier, [Attachment(**file) for file in checkpoint["content_files"]], state=state)
    recipe = proved(checkpoint["run_id"], state=state)["recipe"]
    require_comparable(identifier, checkpoint, recipe, spec, base, where=INCUMBENT)
    return identifier


def _holder(line: str, stage: str, *, state: State) -> str | None:
    s = t.stages.c
    with state.registry.reading() as connection:
        found = connection.execute(sa.select(s.checkpoint_id).where(s.line == line, s.stage == stage, s.withdrawn.is_(None))).scalar()
    return None if found is None else str(found)
