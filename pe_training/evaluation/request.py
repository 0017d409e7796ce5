"""The question that a report answers, as one digest: which checkpoint, which examples, decoded and measured how.

Computed without torch, because ``pe run`` asks first whether the answer exists already. Two reports with the same
request would be two rolls of the same dice, and only one is ever kept.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pe_training.core.ids import digest_file, digest_json
from pe_training.evaluation.record import SuiteUse
from pe_training.evaluation.rubric import LABELLED_REPLIES
from pe_training.manifests.record import ResolvedManifest

# Libraries whose version can change a reply or a number.
LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "numpy", "scipy", "sacrebleu", "pyarrow")


def request_digest(checkpoint_id: str, *, manifest: ResolvedManifest, suites: Mapping[str, SuiteUse], code: str) -> str:
    """Digest of the question. ``suites``: the examples to be asked, by suite; ``code``: :func:`evaluation_code` or wider.

    The policy, the budget and the mirrors are not part of it: they do not change what the model answers.
    """
    assert set(suites) == set(manifest.spec.evaluation.suites), (sorted(suites), manifest.spec.evaluation.suites)
    return digest_json(
        {
            "checkpoint": checkpoint_id,
            "dataset": manifest.spec.dataset.version,
            "task": manifest.spec.task,
            "label": manifest.spec.hyperparameters.label,
            "max_length": manifest.spec.hyperparameters.max_length,
            "precision": manifest.spec.compute.precision,
            "seed": manifest.spec.seed,
            "base": manifest.base.content(),
            "baseline": manifest.spec.evaluation.baseline,
            "decoding": decoding(manifest),
            "suites": {name: use.content() for name, use in suites.items()},
            "code": code,
        }
    )


def decoding(manifest: ResolvedManifest) -> dict[str, int | str]:
    """How replies are decoded. The batch size is part of it: padding changes the last bits, and they can change a word."""
    asked = manifest.spec.evaluation
    return {"method": "greedy", "max_new_tokens": asked.max_new_tokens, "batch_size": asked.batch_size}


@cache
def evaluation_code() -> str:
    """Digest of this package's sources, of the labelled replies that the judge is checked on, and of library versions."""
    sources = {path.name: digest_file(path) for path in sorted(Path(__file__).parent.glob("*.py"))}
    libraries = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return digest_json({"sources": sources, "labelled_replies": digest_file(LABELLED_REPLIES), "libraries": libraries})
