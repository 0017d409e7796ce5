"""The checkpoint that a run starts from, named by id or by the stage it holds, pinned by id before anything runs.

A curriculum is a chain of manifests, each of which names the one before as its parent. A stage moves and an id does not, so the
name is resolved once, here. A parent of another shape would be loaded in part, or as something that it is not: it is refused
before money is spent. This room lies below the one that makes checkpoints, so it reads their stored bodies, which their ids prove.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from pe_training.core.config import suggest
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import KINDS, kind_of, make_id, short
from pe_training.core.records import Attachment
from pe_training.datasets.gate import require_untainted
from pe_training.manifests.record import BaseModelPin
from pe_training.manifests.schema import Manifest
from pe_training.storage import tables as t
from pe_training.storage.signatures import require_signed
from pe_training.storage.state import State

WHERE, INCUMBENT = "model.parent", "evaluation.incumbent"
_HINTS = {
    WHERE: "a run goes on with the same base model and adapter; change one of the two",
    INCUMBENT: "models are compared on the same questions in the same tokens; leave it out to be compared with the base model only",
}
IMPORTED = "im"


def pin_parent(spec: Manifest, base: BaseModelPin, *, state: State) -> str | None:
    """The id of the checkpoint that ``spec`` starts from, or ``None``. Raises not_found, refused (recalled, unsigned), input, corrupt."""
    asked = spec.model.parent
    if asked is None:
        return None
    identifier = named_checkpoint(asked, where=WHERE, state=state)
    require_untainted(identifier, state=state, route="manifest")
    checkpoint = proved(identifier, state=state)
    require_signed(identifier, [Attachment(**file) for file in checkpoint["content_files"]], state=state)
    if kind_of(identifier) == IMPORTED:
        return _fitting_import(identifier, checkpoint, spec, base)
    recipe = proved(checkpoint["run_id"], state=state)["recipe"]
    require_comparable(identifier, checkpoint, recipe, spec, base, where=WHERE)
    require_same("head", recipe["model"].get("head", "linear"), spec.model.head, identifier, where=WHERE)
    require_same("adapter", _shape(recipe["model"]), _shape(spec.content()["model"]), identifier, where=WHERE)
    return identifier


def require_comparable(
    identifier: str, checkpoint: dict[str, Any], recipe: dict[str, Any], spec: Manifest, base: BaseModelPin, *, where: str
) -> None:
    """Refuse a checkpoint that cannot be asked what a model of ``spec`` is asked, in the same tokens and for the same answers."""
    require_same("task", checkpoint["task"], spec.model_task, identifier, where=where)
    require_same("base model", checkpoint["base"], base.content(), identifier, where=where)
    if spec.model.adapter and spec.model.base.startswith("scratch:"):  # whose random weights under the adapter come from the seed
        require_same("seed", recipe["seed"], spec.seed, identifier, where=where)
    require_same("label", recipe["hyperparameters"].get("label"), spec.hyperparameters.label, identifier, where=where)
    require_same("reads", recipe["hyperparameters"].get("reads", "client"), spec.hyperparameters.reads, identifier, where=where)
    quantization = spec.model.quantization.content() if spec.model.quantization else None
    require_same("quantization", recipe["model"].get("quantization"), quantization, identifier, where=where)


def _fitting_import(identifier: str, imported: dict[str, Any], spec: Manifest, base: BaseModelPin) -> str:
    """Which modules an imported adapter has, and its labels, are compared when the weights are loaded."""
    require_same("task", imported["task"], spec.model_task, identifier, where=WHERE)
    require_same("base model", imported["base"], base.content(), identifier, where=WHERE)
    adapter = spec.model.adapter
    require_same("adapter", imported.get("adapter"), adapter and {"r": adapter.r, "alpha": adapter.alpha}, identifier, where=WHERE)
    return identifier


def named_checkpoint(asked: str, *, where: str, state: State) -> str:
    """The id that an id or ``LINE@stage`` stands for now. Raises not_found with ``where``."""
    if "@" not in asked:
        return state.registry.resolve(asked)
    line, _, stage = asked.partition("@")
    s = t.stages.c
    with state.registry.reading() as connection:
        held = {
            str(row.stage): str(row.checkpoint_id)
            for row in connection.execute(sa.select(s.stage, s.checkpoint_id).where(s.line == line, s.withdrawn.is_(None)))
        }
        lines = [str(name) for name in connection.execute(sa.select(s.line).distinct()).scalars()]
    if not held:
        raise PeError(Kind.NOT_FOUND, f"no stage of {line!r} holds a checkpoint", where=where, hint=suggest(line, lines))
    if stage not in held:
        raise PeError(Kind.NOT_FOUND, f"nothing holds {stage!r} of {line}", where=where, hint=suggest(stage, held))
    return held[stage]


def proved(identifier: str, *, state: State) -> dict[str, Any]:
    """The content of a record, which its id must follow from."""
    body: dict[str, Any] = json.loads(state.registry.body(identifier))
    if make_id(kind_of(identifier), body) != identifier:
        message = f"this {KINDS[kind_of(identifier)]} does not match its content"
        raise PeError(Kind.CORRUPT, message, where=identifier, hint="restore the registry from a backup")
    return body


def _shape(model: dict[str, Any]) -> dict[str, Any] | None:
    """What of a manifest's ``model`` decides which tensors are trained, on what; dropout does not."""
    adapter = model.get("adapter")
    return adapter and {key: value for key, value in adapter.items() if key != "dropout"} | {"quantization": model.get("quantization")}


def require_same(what: str, before: Any, after: Any, identifier: str, *, where: str) -> None:
    """Refuse a checkpoint that differs from the manifest in ``what``. Raises input."""
    if before != after:
        message = f"{short(identifier)} has another {what} than this manifest: {_said(before)}, not {_said(after)}"
        raise PeError(Kind.INPUT, message, where=where, hint=_HINTS[where])


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(found)}" for key, found in sorted(value.items()))
    return "none" if value is None else str(value)
