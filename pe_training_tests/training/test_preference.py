"""Preference tuning: the loss is the published one, the reference is asked once, and the model learns what was planted."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pe_training.core.errors import PeError
from pe_training.manifests.hyperparameters import Dpo
from pe_training.manifests.schema import Manifest
from pe_training.settings import Settings
from pe_training.storage.state import State
from pe_training.training.base import byte_tokenizer
from pe_training.training.data import prepare
from pe_training.training.events import events
from pe_training.training.feed import Feed, read_feed
from pe_training.training.pairs import Pair, collate_pairs, encode_pair
from pe_training.training.preference import Preference, answer_log_probabilities, dpo_losses
from pe_training.training.ranks import Place
from pe_training.training.reference import refer
from pe_training.training.reproduction import reproductions
from pe_training.training.tokens import IGNORED
from pe_training_tests.lineage.recalling import accepted
from pe_training_tests.releases import make_row
from pe_training_tests.training.runs import Prepared, register_run
from pe_training_tests.training.steps import model, smoke, take

QUESTIONS = [
    f"{who} {what} and I lie awake."
    for who in ("My brother", "My boss", "Our neighbour", "A friend")
    for what in ("left in spring", "laughed at me", "moved out", "called again")
]
KIND, COLD = "I hear you. Go on.", "Stop it. Just sleep."
PREFERENCE = (
    ("task: causal_lm", "task: preference"),
    ("packing: true", "dpo: {beta: 0.1, label_smoothing: 0.1}"),
    ("max_steps: 30", "max_steps: 12"),
    ("every_steps: 10", "every_steps: 6"),
    ("name: sample-dialogues", "name: planted"),
)


def messages(number: int) -> list[dict[str, str]]:
    earlier = [("user", "Hello."), ("assistant", "Hello. What brings you?")] if number % 3 == 0 else []
    turns = [*earlier, ("user", QUESTIONS[number]), ("assistant", KIND)]
    return [{"role": role, "content": content} for role, content in turns]


def pair(number: int, *, max_length: int = 400) -> Pair:
    found = encode_pair(byte_tokenizer(), messages(number), [{"role": "assistant", "content": COLD}], max_length=max_length)
    assert found is not None
    return found


def rows(*, plain: int = 0) -> list[dict[str, Any]]:
    """Twelve pairs to train on, two to hold out and two to test; the first ``plain`` ones are no pairs."""
    splits = ["train"] * 12 + ["val"] * 2 + ["test"] * 2
    found = [
        make_row([(m["role"], m["content"]) for m in messages(i)], split=split, purpose="preference") for i, split in enumerate(splits)
    ]
    return [row if i < plain else row | {"rejected": [{"role": "assistant", "content": COLD}]} for i, row in enumerate(found)]


def prepared(folder: Path, spec: Manifest, *, plain: int = 0) -> Prepared:
    state = State(Settings(home=folder / "home"))
    accepted(state, folder, "planted", rows(plain=plain))
    return register_run(folder / "home", spec)


def by_hand(policy: Any, reference: Any, pairs: list[Pair], *, beta: float, smoothing: float) -> torch.Tensor:
    """Rafailov et al. 2023, equation 7, one sequence at a time over the whole vocabulary."""

    def log_p(asked: Any, side: Any) -> torch.Tensor:
        logits = asked(input_ids=torch.tensor([side.ids])).logits[0]
        chances = torch.log_softmax(logits, dim=-1)
        return sum(chances[at - 1, side.ids[at]] for at in range(1, len(side.ids)) if side.labels[at] != IGNORED)  # type: ignore[return-value]

    losses = []
    for one in pairs:
        h = beta * (
            (log_p(policy, one.chosen) - log_p(reference, one.chosen)) - (log_p(policy, one.rejected) - log_p(reference, one.rejected))
        )
        losses.append(-(1 - smoothing) * torch.log(torch.sigmoid(h)) - smoothing * torch.log(torch.sigmoid(-h)))
    return sum(losses) / len(losses)  # type: ignore[return-value]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("trained", ["full", "lora"])
def test_loss_and_gradients_are_those_of_the_formula_written_by_hand(trained: str, smoothing: float) -> None:
    """Tolerance: 1e-9 of each gradient tensor's largest entry, in float64."""
    policy, reference = model("llama", trained).double(), model("llama", trained, seed=1).double()
    pairs = [pair(number) for number in range(4)]
    expected = by_hand(policy, reference, pairs, beta=0.3, smoothing=smoothing)
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}
    batches = []
    for part in (pairs[:2], pairs[2:]):
        batch = collate_pairs(part, pad_id=0)
        with torch.no_grad():
            batches.append(batch | {"reference": answer_log_probabilities(reference, batch), "step_targets": torch.tensor(4)})
    spec = smoke(*PREFERENCE, ("beta: 0.1, label_smoothing: 0.1", f"beta: 0.3, label_smoothing: {smoothing}"))
    step = take(Preference, policy, batches, spec=spec)
    assert step.loss == pytest.approx(float(expected.detach()), rel=1e-12)
    assert step.gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert float((step.gradients[name] - gradient).abs().max()) <= 1e-9 * float(gradient.abs().max()) + 1e-18, name


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_a_model_that_is_its_own_reference_loses_ln_2_whatever_the_pairs() -> None:
    made = model("llama", "lora")
    batch = collate_pairs([pair(0), pair(1)], pad_id=0)
    with torch.no_grad():
        policy = answer_log_probabilities(made, batch)
    losses, rewards = dpo_losses(policy, policy, dpo=Dpo(beta=0.7, label_smoothing=0.3))
    assert losses.tolist() == pytest.approx([math.log(2)] * 2, rel=1e-6)
    assert rewards.abs().max() == 0


def test_only_the_last_answers_are_compared_and_both_follow_the_same_prompt() -> None:
    found = pair(3)
    tokenizer = byte_tokenizer()
    assert tokenizer.decode([label for label in found.chosen.labels if label != IGNORED]) == f"{KIND}<|im_end|>"
    assert tokenizer.decode([label for label in found.rejected.labels if label != IGNORED]) == f"{COLD}<|im_end|>"
    short = pair(3, max_length=found.length - 1)
    prompts = [[t for t, label in zip(side.ids, side.labels, strict=True) if label == IGNORED] for side in (short.chosen, short.rejected)]
    assert prompts[0] == prompts[1]
    assert "Hello" not in tokenizer.decode(prompts[0])


def test_a_pair_whose_longer_answer_does_not_fit_is_left_out_and_never_cut() -> None:
    long = [{"role": "assistant", "content": COLD * 20}]
    assert encode_pair(byte_tokenizer(), messages(1), long, max_length=300) is None
    assert encode_pair(byte_tokenizer(), messages(1), long, max_length=600) is not None


def test_the_reference_is_asked_once_and_answers_the_same_again(tmp_path: Path) -> None:
    run = prepared(tmp_path, smoke(*PREFERENCE))
    state, feed = run.state, Feed(tmp_path / "feed")
    from pe_training.manifests.record import ResolvedManifest

    manifest = state.registry.get(run.manifest, ResolvedManifest)
    pairs = {"train": [pair(0), pair(1), pair(2)], "val": [pair(3)]}

    class Never:
        def reason(self) -> None:
            return None

    def ask() -> Any:
        return refer(pairs, manifest=manifest, run_id=run.run, micro=2, pad_id=0, here=Place(), stops=Never(), state=state, feed=feed)  # type: ignore[arg-type]

    def asked() -> int:
        return sum(event["event"] == "refer" for _, event in read_feed(feed.path))

    first = ask()
    assert asked() > 0
    before = asked()
    assert (ask(), asked()) == (first, before)
    (digest,) = [body["digest"] for _, kind, body in events(state, run.run) if kind == "reference"]
    state.artifacts.delete(digest)
    assert ask() == first
    assert asked() > before
    feed._file.close()


def test_rows_without_a_rejected_answer_are_left_out_and_counted(tmp_path: Path) -> None:
    from pe_training.datasets.record import DatasetVersion
    from pe_training.manifests.record import ResolvedManifest

    run = prepared(tmp_path, smoke(*PREFERENCE), plain=3)
    manifest = run.state.registry.get(run.manifest, ResolvedManifest)
    dataset = run.state.registry.get(manifest.spec.dataset.version, DatasetVersion)
    found = prepare(manifest.spec, dataset, tokenizer=byte_tokenizer(), labels=None, state=run.state)
    assert (found.used, found.left_out) == ({"train": 9, "val": 2}, {"train": 3, "val": 0})


def test_a_dataset_without_pairs_is_refused(tmp_path: Path) -> None:
    from pe_training.datasets.record import DatasetVersion
    from pe_training.manifests.record import ResolvedManifest

    run = prepared(tmp_path, smoke(*PREFERENCE), plain=16)
    manifest = run.state.registry.get(run.manifest, ResolvedManifest)
    dataset = run.state.registry.get(manifest.spec.dataset.version, DatasetVersion)
    with pytest.raises(PeError, match="no row of planted/train is a preference pair"):
        prepare(manifest.spec, dataset, tokenizer=byte_tokenizer(), labels=None, state=run.state)


def test_a_family_of_which_nothing_is_left_cannot_be_drawn_and_the_reference_is_not_asked_first(tmp_path: Path) -> None:
    from pe_training.datasets.record import DatasetVersion
    from pe_training.manifests.record import ResolvedManifest

    state = State(Settings(home=tmp_path / "home"))
    without = [row | {"metadata": row["metadata"] | {"source_family": "synthetic_crisis"}} for row in rows(plain=4)[:4]]
    accepted(state, tmp_path, "planted", [*without, *rows()[4:]])
    mixture = ("name: planted", "name: planted, mixture: {professional_therapeutic: 1, synthetic_crisis: 1}")
    run = register_run(tmp_path / "home", smoke(*PREFERENCE, mixture))
    manifest = state.registry.get(run.manifest, ResolvedManifest)
    dataset = state.registry.get(manifest.spec.dataset.version, DatasetVersion)

    def refer(_: Any) -> Any:
        raise AssertionError

    with pytest.raises(PeError) as caught:
        prepare(manifest.spec, dataset, tokenizer=byte_tokenizer(), labels=None, state=state, refer=refer)
    assert str(caught.value).startswith("dataset.mixture: every training row of 'synthetic_crisis' is left out: ")


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["", ", adapter: {type: lora, r: 8, alpha: 16}"], ids=["full", "lora"])
def test_a_planted_preference_is_learned_from_ln_2_on(tmp_path: Path, adapter: str) -> None:
    run = prepared(tmp_path, smoke(*PREFERENCE, ('tiny-llama"}', f'tiny-llama"{adapter}}}')))
    made = run.finish()
    history = next(file for file in made.content_files if file.path == "history.jsonl")
    lines = [json.loads(line) for line in run.state.artifacts.get(history.digest).decode().splitlines()]
    assert (lines[0]["val_loss"], lines[0]["val_reward_margin"]) == (pytest.approx(math.log(2), abs=1e-5), pytest.approx(0, abs=1e-4))
    assert lines[1]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert lines[0]["val_reward_accuracy"] < 1 or lines[0]["val_reward_margin"] < 1e-4
    assert lines[-1]["val_reward_accuracy"] == 1
    assert lines[-1]["val_reward_margin"] > 0.01
    assert lines[-1]["reward_accuracy"] == 1
    assert lines[-1]["val_loss"] < lines[0]["val_loss"]
    assert all("padded_share" in line for line in lines[1:])
    assert (made.task, list(run.happened())) == ("causal_lm", ["reference", "started", "finished"])


LACKING = """
import sys
from pe_training.training import __main__, reference, tasks

def once(whole, happened=[]):
    def lack(*given, **named):
        if whole not in happened:
            happened.append(whole)
            raise RuntimeError("out of memory")
        return whole(*given, **named)
    return lack

reference.answer_log_probabilities = once(reference.answer_log_probabilities)
tasks.Task.training_step = once(tasks.Task.training_step)
sys.exit(__main__.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_the_reference_is_asked_again_in_the_parts_that_fitted_it_and_not_in_those_of_training(tmp_path: Path) -> None:
    run = prepared(tmp_path, smoke(*PREFERENCE, ("micro_batch_size: 2", "micro_batch_size: 4")))
    command = [sys.executable, "-c", LACKING, run.run, run.manifest]
    assert subprocess.run(command, env=run.environment, stdin=subprocess.DEVNULL, timeout=300, check=False).returncode == 0, run.log
    bodies = [body for _, kind, body in events(run.state, run.run) if kind == "out_of_memory"]
    assert bodies == [{"micro": 2, "from_step": 0, "reference": True}, {"micro": 1, "from_step": 0, "reference": False}]
    assert run.reproduce().wait(timeout=300) == 0, run.log
    ((_, outcome),) = reproductions(run.state, run.run)
    assert (outcome.ended, outcome.determinism) == ("finished", "bitwise")
