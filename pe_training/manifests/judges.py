"""The trained judges that an evaluation asks, named by id or by the stage they hold, pinned by id before anything runs.

A judge is a classifier that was trained here on one of :data:`JUDGED`. Anything else would be asked a question that it never learnt,
hours after the money for the training was spent: it is refused when the manifest is resolved. What it reads follows from its own run:
a reply together with what it answers, or the reply alone.
"""

from __future__ import annotations

import json

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import kind_of, short
from pe_training.core.records import Attachment
from pe_training.datasets.gate import require_untainted
from pe_training.manifests.llm_judge import LlmJudge, pin_llm_judge
from pe_training.manifests.parent import named_checkpoint, proved
from pe_training.manifests.schema import Manifest
from pe_training.storage.signatures import require_signed
from pe_training.storage.state import State

WHERE = "evaluation.judges"
MECHANISMS = ("emotional_reaction", "interpretation", "exploration")  # graded 0 to 2
HARM = ("insult",)  # never asked of an endpoint: one reply without a grade would leave harm unmeasured
SEEN_OR_NOT = ("reflection", "open_question", *HARM)
# Labels that a trained judge may speak for -> the classes that it must tell apart.
JUDGED: dict[str, tuple[str, ...]] = {**dict.fromkeys(MECHANISMS, ("0", "1", "2")), **dict.fromkeys(SEEN_OR_NOT, ("0", "1"))}


def pin_judges(spec: Manifest, *, state: State) -> list[str]:
    """The checkpoints that ``spec.evaluation.judges`` names, in its order. Raises not_found, refused (recalled, unsigned), input."""
    return list(_speakers(spec, state=state).values())


def pin_external(spec: Manifest, *, state: State) -> LlmJudge | None:
    """The language model that ``spec.evaluation.llm_judge`` asks, for labels that no trained judge speaks for. Raises input."""
    asked, known = spec.evaluation.llm_judge, [label for label in JUDGED if label not in HARM]
    return asked and pin_llm_judge(asked, known=known, taken=_speakers(spec, state=state), settings=state.settings)


def _speakers(spec: Manifest, *, state: State) -> dict[str, str]:
    """Label -> the trained judge of it."""
    speakers: dict[str, str] = {}
    for asked in spec.evaluation.judges:
        identifier = named_checkpoint(asked, where=WHERE, state=state)
        label = _label(identifier, state=state)
        if label in speakers:
            message = f"{short(speakers[label])} and {short(identifier)} both judge {label!r}"
            raise PeError(Kind.INPUT, message, where=WHERE, hint="name one of them")
        speakers[label] = identifier
    return speakers


def _label(identifier: str, *, state: State) -> str:
    """What a judge judges, once it has been seen to be one that may be asked."""
    require_untainted(identifier, state=state, route="manifest")
    if kind_of(identifier) != "ck":
        raise _no_judge(identifier, "is no checkpoint")
    checkpoint = proved(identifier, state=state)
    require_signed(identifier, [Attachment(**file) for file in checkpoint["content_files"]], state=state)
    learnt = proved(checkpoint["run_id"], state=state)["recipe"]["hyperparameters"]
    if checkpoint["task"] != "text_classification" or learnt.get("reads", "client") == "client":
        raise _no_judge(identifier, "is no classifier of replies")
    if learnt["label"] not in JUDGED:
        raise _no_judge(identifier, f"learnt {learnt['label']!r}, which no suite asks about")
    wanted = JUDGED[learnt["label"]]
    config = next((file["digest"] for file in checkpoint["content_files"] if file["path"] == "config.json"), None)
    classes = set(json.loads(state.artifacts.get(config)).get("id2label", {}).values()) if config else set()
    if classes != set(wanted):
        raise _no_judge(identifier, f"tells {', '.join(sorted(classes)) or 'nothing'} apart, and not the grades {', '.join(wanted)}")
    return str(learnt["label"])


def _no_judge(identifier: str, why: str) -> PeError:
    hint = f"a judge has task text_classification, reads exchange or reply, and learnt one of these labels: {', '.join(JUDGED)}"
    return PeError(Kind.INPUT, f"{short(identifier)} {why}", where=WHERE, hint=hint)
