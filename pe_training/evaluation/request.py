"""The question that a report answers, as one digest: which checkpoint, which examples, decoded and measured how.

Computed without torch, because ``pe run`` asks first whether the answer exists already. Two reports with the same
request would be two rolls of the same dice, and only one is ever kept.
"""

from __future__ import annotations

import importlib.metadata
from functools import cache
from pathlib import Path

from pe_training.core.ids import digest_file, digest_json
from pe_training.evaluation.calibration import LABEL_SETS
from pe_training.manifests.record import ResolvedManifest
from pe_training.training.identity import hardware_class
from pe_training.training.record import Checkpoint

# Libraries whose version can change a reply or a number.
LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "numpy", "scipy", "sacrebleu", "pyarrow")


def evaluation_request(checkpoint: Checkpoint, manifest: ResolvedManifest) -> str:
    """Digest of the question: the key of the report.

    Which examples are asked follows from the pinned suites, ``max_examples`` and the seed. The policy, the budget and the
    mirrors are not part of it: they do not change what the model answers. The hardware class is, since greedy decoding can
    turn on the last bit of a logit.
    """
    spec = manifest.spec
    return digest_json(
        {
            "checkpoint": checkpoint.id,
            "dataset": spec.dataset.version,
            "task": spec.task,
            "label": spec.hyperparameters.label,
            "reads": spec.hyperparameters.reads,
            "max_length": spec.hyperparameters.max_length,
            "precision": spec.compute.precision,
            "seed": spec.seed,
            "base": manifest.base.content(),
            "baseline": spec.evaluation.baseline,
            "incumbent": spec.evaluation.incumbent,
            "decoding": decoding(manifest),
            "suites": manifest.suites,
            "judges": spec.evaluation.judges,
            "llm_judge": spec.evaluation.llm_judge.content() if spec.evaluation.llm_judge else None,
            "max_examples": spec.evaluation.max_examples,
            "hardware": hardware_class().content(),
            "code": evaluation_code(),
        }
    )


def decoding(manifest: ResolvedManifest) -> dict[str, int | str]:
    """How replies are decoded. The batch size is part of it: the number of rows at once changes last bits, and they can change a word."""
    asked = manifest.spec.evaluation
    return {"method": "greedy", "max_new_tokens": asked.max_new_tokens, "batch_size": asked.batch_size}


@cache
def evaluation_code() -> str:
    """Digest of this package's sources, of the labelled replies that judges are compared on, and of library versions."""
    sources = {path.name: digest_file(path) for path in sorted(Path(__file__).parent.glob("*.py"))}
    libraries = {name: importlib.metadata.version(name) for name in LIBRARIES}
    labelled = {path.name: digest_file(path) for path in sorted(LABEL_SETS.iterdir())}
    return digest_json({"sources": sources, "labelled": labelled, "libraries": libraries})
