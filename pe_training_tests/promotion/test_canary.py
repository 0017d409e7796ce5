"""Canaries: a model that does not load or does not answer as it did never gets a stage, and the attempt is remembered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.core.records import Attachment
from pe_training.datasets.gate import attempts
from pe_training.evaluation.answers import AnswerBook
from pe_training.evaluation.identity import model_identity
from pe_training.evaluation.models import AskedModel, Asker, tuned_model
from pe_training.evaluation.request import decoding
from pe_training.promotion import canary
from pe_training.promotion.canary import ask, load_canaries
from pe_training.promotion.events import events
from pe_training.promotion.pointers import current
from pe_training.promotion.stages import apply_decision, enter_training, promote
from pe_training.promotion.verdict import judge
from pe_training.settings import SAMPLES
from pe_training.storage.state import State
from pe_training_tests.promotion import factory
from pe_training_tests.promotion.living import Shape, living_chain

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
WHO = {"actor": "ada", "reason": "a test"}
CANARIES = load_canaries(SAMPLES / "canary.yaml")


@pytest.fixture
def state(tmp_path: Path) -> State:
    return factory.new_state(tmp_path)


def refused(state: State, chain: factory.Chain, *, kind: Kind = Kind.REFUSED) -> str:
    """The message with which staging is refused, by both doors; nothing moves and it is remembered."""
    decision = factory.judged(state, chain)
    enter_training(chain.checkpoint.id, state=state, **WHO)
    before = current(state)
    with pytest.raises(PeError) as caught:
        promote(chain.checkpoint.id, stage="staging", decision_id=decision.id, state=state, **WHO)
    with pytest.raises(PeError) as again:
        apply_decision(decision, state=state)
    assert caught.value.message == again.value.message
    assert caught.value.kind == kind
    assert current(state) == before
    assert [(a.route, a.subject, a.message) for a in attempts(state)] == [("canary", chain.checkpoint.id, caught.value.message)] * 2
    return caught.value.message


@pytest.mark.parametrize("shape", ["full", "adapter", "classifier"])
def test_a_living_model_answers_and_it_is_kept_that_it_did(state: State, shape: Shape) -> None:
    chain = living_chain(state, shape=shape)
    if shape == "classifier":
        found = ask(chain.checkpoint, chain.manifest, CANARIES, state=state)
        assert [answer.prompt for answer in found] == ["crisis-004", "negative-001", "safe-003"]
        return
    decision = factory.judged(state, chain)
    assert [move.stage for move in apply_decision(decision, state=state)] == ["training", "staging"]
    (event,) = events(state, line="empathy", place="staging", kind="canary")
    assert (event.version, event.actor, event.body["checkpoint"]) == (0, "policy staging", chain.checkpoint.id)
    assert event.body["set"] == "first-words 1.0.0"
    assert event.body["answers"] == [{"prompt": prompt.id, "compared": False} for prompt in CANARIES.prompts]
    assert "wake up" not in json.dumps(event.body)  # nothing that anybody said


def test_applying_a_decision_again_asks_nobody(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    decision = factory.judged(state, living_chain(state))
    apply_decision(decision, state=state)
    monkeypatch.setattr(canary, "ask", lambda *_, **__: pytest.fail("asked again"))
    assert apply_decision(decision, state=state) == ()


def evaluated(state: State, chain: factory.Chain, change: Any = lambda reply: reply) -> None:
    """Keep what the model answers to the canaries as its evaluation would, or something else."""
    asker = Asker.of(chain.manifest, decoding(chain.manifest), state=state)
    book = AnswerBook(model_identity(chain.checkpoint, chain.manifest, precision="32-true"), state)
    questions = [asker.reply([{"role": "user", "content": prompt.client}]) for prompt in CANARIES.prompts]
    with tuned_model(chain.checkpoint, chain.manifest, asker, precision="32-true", state=state) as model:
        replies = model.answer("reply", [question.content for question in questions])
    book.keep({book.key({"kind": q.kind, **q.asked}): change(reply) for q, reply in zip(questions, replies, strict=True)})


def test_what_was_answered_in_the_evaluation_is_answered_again(state: State) -> None:
    chain = living_chain(state)
    evaluated(state, chain)
    apply_decision(factory.judged(state, chain), state=state)
    (event,) = events(state, line="empathy", place="staging", kind="canary")
    assert [answer["compared"] for answer in event.body["answers"]] == [True] * 3


def test_another_answer_than_in_the_evaluation_is_refused(state: State) -> None:
    chain = living_chain(state)
    evaluated(state, chain, change=lambda reply: "not this, " + reply)
    message = f"{short(chain.checkpoint.id)} does not answer its canaries: it answers crisis-004 otherwise than in its evaluation"
    assert refused(state, chain) == message


def test_logits_that_are_no_numbers_are_refused(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = living_chain(state)
    whole = canary._answers

    def poisoned(model: AskedModel, questions: Any) -> Any:
        with torch.no_grad():
            model.model.get_input_embeddings().weight[:, 0] = float("nan")
        return whole(model, questions)

    monkeypatch.setattr(canary, "_answers", poisoned)
    assert refused(state, chain).endswith("its logits are not finite numbers")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"calm": float("nan"), "crisis": 0.5}, "its probabilities for crisis-004 are no probabilities"),
        ({"calm": 1.2, "crisis": -0.2}, "its probabilities for crisis-004 are no probabilities"),
        ({"calm": 0.5, "crisis": 0.4}, "its probabilities for crisis-004 do not sum to 1"),
        ({"calm": 1.0}, "its probabilities for crisis-004 are no probabilities"),
    ],
)
def test_probabilities_that_are_none_are_refused(state: State, monkeypatch: pytest.MonkeyPatch, answer: Any, said: str) -> None:
    chain = living_chain(state, shape="classifier")
    monkeypatch.setattr(canary, "_answers", lambda *_: [answer] * 3)
    with pytest.raises(PeError) as caught:
        ask(chain.checkpoint, chain.manifest, CANARIES, state=state)
    assert (caught.value.kind, caught.value.message) == (Kind.REFUSED, said)


def test_silence_is_refused(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "_answers", lambda *_: ["", "", ""])
    assert refused(state, living_chain(state)).endswith("it says nothing to crisis-004")


def test_weights_that_no_library_loads_are_refused(state: State) -> None:
    chain = living_chain(state)
    broken = factory.kept(state, "model.safetensors", b"these are no weights")
    files = tuple(broken if file.path == broken.path else file for file in chain.checkpoint.content_files)
    assert refused(state, replaced(state, chain, files)).endswith("the model cannot be loaded and asked (SafetensorError)")


def replaced(state: State, chain: factory.Chain, files: tuple[Attachment, ...]) -> factory.Chain:
    """The chain of another run whose checkpoint has these files."""
    run = chain.run.model_copy(update={"code": "sha256:" + "1" * 64})
    checkpoint = chain.checkpoint.model_copy(update={"run_id": run.id, "content_files": files})
    report = factory.make_report(state, checkpoint, chain.manifest)
    for record in (run, checkpoint, report):
        state.registry.put(record)
    return factory.Chain(dataset=chain.dataset, manifest=chain.manifest, run=run, checkpoint=checkpoint, report=report)


def test_a_policy_may_ask_for_none(state: State) -> None:
    chain = factory.make_chain(state)  # of a few bytes; the factory's policies say `canary: none`
    assert judge(chain.report.id, manifest_id=chain.manifest.id, state=state).verdict == "pass"
    apply_decision(factory.judged(state, chain), state=state)
    assert events(state, line="empathy", place="staging", kind="canary") == ()


def test_a_policy_that_says_nothing_asks_for_them(state: State) -> None:
    text = (SAMPLES / "policies" / "staging.yaml").read_text()
    assert "canary:" not in text
    chain = factory.make_chain(state, text=text + "canary: required\n")
    assert "cannot be loaded and asked" in refused(state, chain)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("version: 1.0.0", "version: one"), "version"),
        (("client:", "klient:"), "klient"),
        (("name: first-words", "name: first-words\nextra: 1"), "extra"),
    ],
)
def test_a_bad_file_of_canaries_is_refused_with_its_place(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    path = tmp_path / "canary.yaml"
    path.write_text((SAMPLES / "canary.yaml").read_text().replace(*change, 1))
    with pytest.raises(PeError) as caught:
        load_canaries(path)
    assert caught.value.kind == Kind.INPUT
    assert said in str(caught.value)


def test_the_shipped_canaries_are_prompts_of_the_safety_suite() -> None:
    rows = [json.loads(line) for line in (SAMPLES / "suites" / "safety" / "examples.jsonl").read_text().splitlines()]
    known = {row["id"]: row["messages"][0]["content"] for row in rows}
    assert {prompt.id: prompt.client for prompt in CANARIES.prompts}.items() <= known.items()
