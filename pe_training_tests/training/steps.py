"""Single optimiser steps of tiny models, taken apart: the loss and every gradient, from the batches that training would see."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from pe_training.core.config import parse_config
from pe_training.manifests.base_models import SCRATCH
from pe_training.manifests.schema import Manifest
from pe_training.settings import SAMPLES
from pe_training.training.attention import BY_DOCUMENT
from pe_training.training.base import byte_tokenizer
from pe_training.training.batches import Batch, collate_dialogues
from pe_training.training.loader import Windows
from pe_training.training.order import Bin, DataOrder
from pe_training.training.tasks import Task
from pe_training.training.tokens import Dialogue, encode_dialogue

MAX_LENGTH = 256
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": SCRATCH["tiny-llama"],
    "gpt2": {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 2048,
             "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """What one optimiser step computed."""

    loss: float
    gradients: dict[str, torch.Tensor]

    def distance(self, other: Step) -> float:
        """The largest difference of a gradient tensor, as a share of that tensor's largest entry; or the relative one of the losses."""
        assert self.gradients.keys() == other.gradients.keys()
        apart = [float((g - other.gradients[name]).abs().max() / g.abs().max()) for name, g in self.gradients.items() if g.abs().max()]
        return max([*apart, abs(self.loss - other.loss) / abs(self.loss)])


def smoke(*changes: tuple[str, str], name: str = "smoke") -> Manifest:
    """A shipped manifest with text replaced."""
    text = (SAMPLES / "manifests" / f"{name}.yaml").read_text()
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    return parse_config(text, Manifest, name="test.yaml")


@cache
def dialogues() -> tuple[Dialogue, ...]:
    """Sample dialogues of 60 to 256 tokens (bytes), of very different lengths."""
    path = SAMPLES / "releases" / "sample-dialogues" / "v2026-11-23" / "val" / "part-00000.jsonl"
    rows = [json.loads(line)["messages"] for line in path.read_text().splitlines()]
    tokenizer = byte_tokenizer()
    rows = [messages[: 2 + 2 * (number % 2)] for number, messages in enumerate(rows) if messages[0]["role"] == "user"]
    found = [encode_dialogue(tokenizer, [{**m, "content": m["content"][: 24 + 4 * i]} for m in row], max_length=MAX_LENGTH)
             for i, row in enumerate(rows[:20])]  # fmt: skip
    return tuple(dialogue for dialogue in found if dialogue is not None)


def model(architecture: str, trained: str, *, seed: int = 0, attention: str = BY_DOCUMENT) -> Any:
    """A tiny model in training mode, attending as runs do.

    With ``lora`` an adapter whose second matrix is no longer zero, so that all gradients flow.
    """
    torch.manual_seed(seed)
    config = AutoConfig.for_model(**ARCHITECTURES[architecture], vocab_size=len(byte_tokenizer()), bos_token_id=None, eos_token_id=None)
    made = AutoModelForCausalLM.from_config(config).train()
    made.set_attn_implementation(attention)
    if trained == "full":
        return made
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(made, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return adapted


def windows(order: DataOrder, *, batch_size: int, micro: int) -> Windows:
    """Batches of the sample dialogues."""
    rows = dialogues()
    return Windows(
        order=order, collate=lambda bins: collate_dialogues([[rows[i] for i in each] for each in bins], pad_id=0),
        targets=[row.targets for row in rows], tokens=[row.tokens for row in rows], lengths=[row.length for row in rows],
        batch_size=batch_size, micro=micro,
    )  # fmt: skip


def plain_order(*, packed: bool = False, seed: int = 3) -> DataOrder:
    """An order of the sample dialogues."""
    rows = dialogues()
    return DataOrder(
        [row.length for row in rows], families=["f"] * len(rows), seed=seed, max_length=MAX_LENGTH if packed else None, mixture={}
    )  # fmt: skip


def take(task: Callable[..., Task], made: Any, batches: Iterable[Batch], *, spec: Manifest) -> Step:
    """The step that these micro-batches are, as Lightning would sum it."""
    batches = list(batches)
    made.zero_grad()
    module = task(made, spec=spec, accumulation=len(batches), rank=0)
    losses = [module.training_step(batch, number) / len(batches) for number, batch in enumerate(batches)]
    for loss in losses:
        loss.backward()
    gradients = {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}
    return Step(sum(float(loss.detach()) for loss in losses), gradients)


def of_step(found: Windows, step: int) -> list[Batch]:
    """The micro-batches of a step."""
    return [make() for make in found.micro_batches(step)]


def rows_of(bins: Sequence[Bin]) -> list[int]:
    """Rows in any order."""
    return sorted(row for each in bins for row in each)
