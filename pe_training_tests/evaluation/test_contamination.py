"""Examples that the model was trained on are found in the training split, counted and left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pe_training.datasets.read import read_dialogues, read_rows
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.texts.shingles import words
from pe_training.evaluation.contamination import contaminated, left_out, trained_on
from pe_training.evaluation.examples import ReferenceExample, Scenario
from pe_training.evaluation.suites import load_suite
from pe_training.manifests.record import BaseModelPin
from pe_training.settings import SAMPLES, Settings
from pe_training.storage.state import State
from pe_training.training.record import Checkpoint, Hardware, TrainingRun
from pe_training_tests.evaluation.test_evidence import manifest

CLEAN = "Every other Thursday the ferry to my grandmother's lighthouse is late and nobody at the harbour can say why that is so"


@pytest.fixture(scope="module")
def state(accepting: Path) -> State:
    return State(Settings(home=accepting))


@pytest.fixture(scope="module")
def dataset(state: State) -> DatasetVersion:
    return state.registry.get(state.registry.rows("ds", label="sample-dialogues")[0].id, DatasetVersion)


@pytest.fixture(scope="module")
def trained_text(state: State, dataset: DatasetVersion) -> str:
    said = [m["content"] for row in read_rows(dataset, "train", state=state) for m in row.messages if m["role"] == "user"]
    return next(text for text in said if len(words(text)) >= 15)


def example(name: str, *texts: str) -> ReferenceExample:
    turns: list[dict[str, str]] = []
    for text in texts:
        turns += [{"role": "user", "content": text}, {"role": "assistant", "content": "I see."}]
    row: dict[str, Any] = {"id": name, "topic": "any", "reference": "I hear you.", "messages": turns[:-1]}
    return ReferenceExample.model_validate_json(json.dumps(row))


def test_a_planted_prompt_is_found_however_it_is_written_and_no_other(state: State, dataset: DatasetVersion, trained_text: str) -> None:
    half = trained_text.split()
    planted = {
        "as it is": [trained_text],
        "in capitals": [trained_text.upper()],
        "with other marks": [trained_text.replace(" ", "  ").replace(".", " ...")],
        "with what nobody sees": [trained_text[:9] + "\u200b" + trained_text[9:]],
        "within more": [f"Well. {trained_text} So it goes with me and mine these days."],
        "in an earlier turn": [trained_text, CLEAN],
    }
    clean = {"clean": [CLEAN], "its words in another order": [" ".join(sorted(half))], "too short": ["hello you"]}
    suite = [example(name, *texts) for name, texts in (planted | clean).items()]
    found = contaminated({"mine": suite, "empty": []}, [dataset], state=state)
    assert found == {"mine": set(planted), "empty": set()}


def test_a_scenario_is_contaminated_by_any_of_its_groups(state: State, dataset: DatasetVersion, trained_text: str) -> None:
    body = {"id": "s", "dimension": "d", "crisis_type": "none", "crisis_level": "none"}
    text = " ".join(trained_text.split()[:14])
    groups = {"a": "man", "b": text}
    scenario = Scenario.model_validate_json(json.dumps(body | {"text": "I am a {group} and here", "groups": groups}))
    assert contaminated({"fair": [scenario]}, [dataset], state=state) == {"fair": {"s"}}


def test_the_shipped_suites_are_clean(state: State, dataset: DatasetVersion) -> None:
    suites = {name: load_suite(SAMPLES / "suites", name).examples for name in ("safety", "fairness", "therapeutic")}
    assert contaminated(suites, [dataset], state=state) == {name: set() for name in suites}


def test_only_the_training_split_counts_and_rejected_answers_are_in_it(state: State, dataset: DatasetVersion) -> None:
    (dialogues,) = read_dialogues(dataset, "train", state=state)
    assert len(dialogues) == dataset.splits["train"].rows
    row = read_rows(dataset, "train", state=state)[0]
    assert dialogues[0] == [(m["role"], m["content"]) for m in (*row.messages, *(row.rejected or ()))]


def test_what_a_parent_was_trained_on_counts(ready_home: Path, dataset: DatasetVersion) -> None:
    state = State(Settings(home=ready_home))
    other = DatasetVersion(name="older", splits=dataset.splits, shards=(), families={}, licenses={})
    hardware = Hardware(arch="x", isa="x", threads=1, accelerator="none")
    run = TrainingRun(line="older", dataset_id=other.id, recipe={"model": {}}, code="sha256:0", hardware=hardware)
    parent = Checkpoint(
        run_id=run.id, line="older", task="causal_lm", base=BaseModelPin(ref="scratch:tiny-llama", pin="sha256:0"), format="full", step=1,
        weights="sha256:w", val_loss_before=2.0, val_loss=1.0, content_files=(),
    )  # fmt: skip
    for record in (other, run, parent):
        state.registry.put(record)
    asked = manifest()
    spec = asked.spec.model_copy(
        update={
            "dataset": asked.spec.dataset.model_copy(update={"version": dataset.id}),
            "model": asked.spec.model.model_copy(update={"parent": parent.id}),
        }
    )
    assert trained_on(asked.model_copy(update={"spec": spec}), state=state) == [dataset, other]


def test_few_are_left_out_and_many_leave_no_suite() -> None:
    suite = [example(f"{number}", CLEAN) for number in range(20)]
    assert left_out(suite, set()) == suite
    assert left_out(suite, {"3", "7"}) == [one for one in suite if one.id not in {"3", "7"}]
    assert left_out(suite, {"3", "7", "9"}) == []
    assert left_out([], set()) == []
