"""The resolved manifest: what was asked, with everything it points at pinned by digest. This is what runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pe_training.core.records import Attachment, Frozen, Record
from pe_training.manifests.schema import Manifest


class BaseModelPin(Frozen):
    """The base model that a manifest's ``model.base`` stood for when it was resolved."""

    ref: str
    pin: str  # sha256 digest of the packaged weights or of the architecture; git:<commit> of a hub model


class ResolvedManifest(Record):
    """A manifest whose references are digests. Two people who resolve the same inputs get the same id."""

    kind: ClassVar[str] = "mf"

    spec: Manifest  # dataset.version holds the ds_ id, model.parent, evaluation.judges and .incumbent the ck_ ids
    base: BaseModelPin
    suites: dict[str, str]  # suite name -> digest of its files
    policy: str  # digest of the policy file
    inputs: tuple[Attachment, ...]  # policies/<name>.yaml and suites/<name>/<file>, as they were when this was resolved

    def parents(self) -> dict[str, str]:
        """The dataset version, and the checkpoint that the run starts from."""
        parent = self.spec.model.parent
        return {"dataset": self.spec.dataset.version} | ({"parent": parent} if parent else {})

    def files(self) -> Sequence[Attachment]:
        """The policy and the suites."""
        return self.inputs

    def label(self) -> str:
        """The model line."""
        return self.spec.name

    def recipe(self) -> dict[str, Any]:
        """What decides the weights. Evaluation, policy, money, mirrors, batch workers and how long states are kept do not."""
        spec = self.spec.content()
        keys = ("name", "task", "dataset", "model", "hyperparameters", "seed", "recovery")
        kept = {key: spec["checkpoints"][key] for key in ("every_steps", "keep_best") if key in spec["checkpoints"]}
        compute: dict[str, Any] = {name: getattr(self.spec.compute, name) for name in ("precision", "compile", "ranks")}
        if self.spec.compute.strategy != "ddp":
            compute["strategy"] = self.spec.compute.strategy  # its sums are in another order
        return {key: spec[key] for key in keys} | compute | {"checkpoints": kept, "base": self.base.content()}
