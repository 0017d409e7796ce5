"""Suite examples that the model was trained on: looked for when it is evaluated, in the training split that it really had.

Acceptance keeps the suites of its day out of a dataset; a suite that is written later, by a user or from the same source, was never looked
for. The rule is the one of acceptance (datasets/texts/contamination.py), so a prompt of one or two words is everyone's and is passed over.

**A contaminated example is left out and counted**, before anything is asked. Keeping it would give credit for what was learned by heart,
and a wrong "safe" can hurt a person. Leaving it out is the closed side: fewer examples make wider intervals and fewer full slices, so
gates that lack them are inconclusive and none passes on them; and nothing takes its place, so a report shows what it lost. Whoever would
plant hard examples to be rid of them loses the suite, not the hard part: above :data:`MOST_LEFT_OUT` of it no example counts.

What a parent checkpoint was trained on counts as trained on. Of weights from elsewhere (base models, imported ones) nobody here can know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from pe_training.core.ids import kind_of
from pe_training.datasets.read import read_dialogues
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.texts.contamination import SuiteIndex
from pe_training.datasets.texts.scan import suspects
from pe_training.evaluation.examples import Example
from pe_training.evaluation.suites import prompts
from pe_training.manifests.record import ResolvedManifest
from pe_training.storage.state import State
from pe_training.training.record import Checkpoint, TrainingRun

SIMILARITY = 0.8  # of a user's turn that nearly repeats a prompt: the shipped release policy's
MOST_LEFT_OUT = 0.1  # of the chosen examples


def trained_on(manifest: ResolvedManifest, *, state: State) -> list[DatasetVersion]:
    """The dataset versions behind a manifest's weights: its own, and those of the checkpoints that it starts from."""
    versions, parent = [manifest.spec.dataset.version], manifest.spec.model.parent
    while parent and kind_of(parent) == Checkpoint.kind:
        run = state.registry.get(state.registry.get(parent, Checkpoint).run_id, TrainingRun)
        versions.append(run.dataset_id)
        parent = run.parents().get("parent")
    return [state.registry.get(version, DatasetVersion) for version in dict.fromkeys(versions)]


def contaminated(suites: Mapping[str, Sequence[Example]], datasets: Iterable[DatasetVersion], *, state: State) -> dict[str, set[str]]:
    """Per suite, the ids of the examples of which some user turn occurs in the training split of one of ``datasets``."""
    texts = {
        (name, example.id): [m["content"] for prompt in prompts((example,)) for m in prompt.messages if m["role"] == "user"]
        for name, examples in suites.items()
        for example in examples
    }
    search = _Search(texts)
    for dataset in datasets:
        for dialogues in read_dialogues(dataset, "train", state=state):
            search.look(dialogues)
    return {name: {example for suite, example in search.found if suite == name} for name in suites}


def left_out(chosen: Sequence[Any], found: Set[str]) -> list[Any]:
    """The examples that count: those not in ``found``, or none where too many are."""
    clean = [example for example in chosen if example.id not in found]
    return clean if len(chosen) - len(clean) <= MOST_LEFT_OUT * len(chosen) else []


class _Search:
    """One index of all prompts turns clean rows away; what a suspect repeats is asked of each prompt by itself."""

    def __init__(self, texts: Mapping[tuple[str, str], Sequence[str]]) -> None:
        self._texts = texts
        self._all = SuiteIndex.build({"all": [text for several in texts.values() for text in several]}, threshold=SIMILARITY)
        self._each: dict[tuple[str, str], SuiteIndex] = {}
        self.found: set[tuple[str, str]] = set()

    def look(self, dialogues: Sequence[Sequence[tuple[str, str]]]) -> None:
        """Note which prompts occur in some rows."""
        for row in suspects(dialogues, self._all):
            if self._all.look_row(dialogues[row]) is None:
                continue
            if not self._each:
                self._each = {key: SuiteIndex.build({"one": list(texts)}, threshold=SIMILARITY) for key, texts in self._texts.items()}
            self.found |= {key for key, index in self._each.items() if key not in self.found and index.look_row(dialogues[row])}
