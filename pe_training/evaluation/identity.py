"""Which model is asked, on what machine and by what code: what an answer is filed under.

The base model's answers are shared by every run of the same base, so nothing of the run is part of this but what changes an answer. How
answers are judged is not: a better judge reads the same replies.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pe_training.core.ids import digest_file, digest_json
from pe_training.manifests.record import BaseModelPin, ResolvedManifest
from pe_training.manifests.schema import ModelRef
from pe_training.training.identity import hardware_class, source_digests
from pe_training.training.precision import Format
from pe_training.training.record import Checkpoint, TrainingRun

ANSWERING = ("decode.py", "models.py")  # of this room: what stands between a model and its answers
LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "numpy")


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """Two digests: of the model as it is asked here, and of the same with the code that asks it."""

    subject: str
    digest: str


def model_identity(checkpoint: Checkpoint | None, manifest: ResolvedManifest, *, precision: Format) -> ModelIdentity:
    """Of a checkpoint's model, or of the manifest's base model where there is none."""
    return _identity(checkpoint, manifest.base, manifest.spec.model, seed=manifest.spec.seed, precision=precision)


def judge_identity(checkpoint: Checkpoint, run: TrainingRun, *, precision: Format) -> ModelIdentity:
    """Of a trained judge, from the run that it comes from: the same as when its own evaluation asked it."""
    model = ModelRef.model_validate(run.recipe["model"])
    return _identity(checkpoint, checkpoint.base, model, seed=run.recipe["seed"], precision=precision)


def _identity(checkpoint: Checkpoint | None, base: BaseModelPin, model: ModelRef, *, seed: int, precision: Format) -> ModelIdentity:
    subject = {
        "checkpoint": checkpoint.id if checkpoint else None,
        "base": base.content(),
        "seed": seed if model.base.startswith("scratch:") else None,  # what its random weights come from
        "precision": precision,
        "quantization": model.quantization.content() if model.quantization else None,
        "hardware": hardware_class().content(),
    }
    return ModelIdentity(subject=digest_json(subject), digest=digest_json(subject | {"code": answering_code()}))


@cache
def answering_code() -> str:
    """Digest of the sources and library versions that can change an answer."""
    here = {name: digest_file(Path(__file__).parent / name) for name in ANSWERING}
    libraries = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return digest_json({"evaluation": here, "training": source_digests(), "libraries": libraries})
