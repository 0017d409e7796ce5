"""However a step is cut into batches, it is the same step: packing, bucketing and accumulation change no loss and no gradient.

Tolerance: 1e-5 of each gradient tensor's largest entry, and of the loss. What is left is float32 summed in another order; the
largest that was measured is 2e-6. Planted mistakes must be a thousand times farther off.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from pe_training.training.attention import BY_DOCUMENT
from pe_training.training.batches import Batch, collate_dialogues
from pe_training.training.buckets import BucketedOrder
from pe_training.training.tasks import CausalLM
from pe_training_tests.training.steps import (
    Step,
    dialogues,
    model,
    of_step,
    plain_order,
    rows_of,
    smoke,
    take,
    windows,
)

TOLERANCE = 1e-5
FAR = 1e-2
STEPS = 2
MODELS = [(architecture, trained) for architecture in ("llama", "gpt2") for trained in ("full", "lora")]
pytestmark = [
    pytest.mark.parametrize(("architecture", "trained"), MODELS),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),  # peft about transformers
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False"),  # peft about GPT-2's transposed layers, which it then handles
]


def step_of(architecture: str, trained: str, batches: list[Batch]) -> Step:
    return take(CausalLM, model(architecture, trained), batches, spec=smoke())


@pytest.mark.parametrize("micro", [1, 2])
def test_a_step_in_smaller_parts_is_the_same_step(architecture: str, trained: str, micro: int) -> None:
    for step in range(STEPS):
        whole = step_of(architecture, trained, of_step(windows(plain_order(), batch_size=4, micro=4), step))
        parts = of_step(windows(plain_order(), batch_size=4, micro=micro), step)
        assert len(parts) == 4 // micro
        assert whole.distance(step_of(architecture, trained, parts)) < TOLERANCE


def test_a_mean_of_the_means_of_the_parts_would_be_seen(architecture: str, trained: str) -> None:
    whole = step_of(architecture, trained, of_step(windows(plain_order(), batch_size=4, micro=4), 0))
    parts = of_step(windows(plain_order(), batch_size=4, micro=1), 0)
    for part in parts:
        part["step_targets"] = (part["labels"] >= 0).sum() * len(parts)
    assert whole.distance(step_of(architecture, trained, parts)) > FAR


def test_rows_of_like_length_together_are_the_same_step_with_less_padding(architecture: str, trained: str) -> None:
    rows = dialogues()
    sorted_order = BucketedOrder([row.length for row in rows], families=["f"] * len(rows), seed=3, mixture={}, batch_size=8)
    plain, bucketed = windows(plain_order(), batch_size=8, micro=2), windows(sorted_order, batch_size=8, micro=2)
    for step in range(STEPS):
        assert rows_of(plain.order.bins(step * 8, 8)) == rows_of(bucketed.order.bins(step * 8, 8))
        before, after = of_step(plain, step), of_step(bucketed, step)
        assert float(after[0]["step_padding"]) < float(before[0]["step_padding"])
        assert step_of(architecture, trained, before).distance(step_of(architecture, trained, after)) < TOLERANCE


def unpacked(step: int) -> list[Batch]:
    """The rows of a packed step, one a sequence."""
    packed = windows(plain_order(packed=True), batch_size=2, micro=2)
    rows = [row for each in packed.order.bins(step * 2, 2) for row in each]
    assert len(rows) > 2
    batch = collate_dialogues([[dialogues()[row]] for row in rows], pad_id=0)
    return [batch | {"step_targets": (batch["labels"] >= 0).sum()}]


def test_packed_rows_are_the_same_step_as_rows_alone(architecture: str, trained: str) -> None:
    packed = windows(plain_order(packed=True), batch_size=2, micro=1)
    for step in range(STEPS):
        alone = step_of(architecture, trained, unpacked(step))
        assert alone.distance(step_of(architecture, trained, of_step(packed, step))) < TOLERANCE


@pytest.mark.parametrize("packed", [True, False])
def test_attention_by_document_is_attention_behind_a_mask(architecture: str, trained: str, *, packed: bool) -> None:
    found = windows(plain_order(packed=packed), batch_size=2, micro=2)
    for step in range(STEPS):
        batches = of_step(found, step)
        assert (batches[0]["documents"] > 0).sum() > len(batches[0]["documents"]) or not packed
        by_document, masked = (
            take(CausalLM, model(architecture, trained, attention=attention), batches, spec=smoke()) for attention in (BY_DOCUMENT, "sdpa")
        )
        assert by_document.distance(masked) < TOLERANCE


def attending_across_documents(batch: Batch) -> Batch:
    return batch | {"documents": batch["documents"].sum(dim=1, keepdim=True)}


def with_positions_that_run_on(batch: Batch) -> Batch:
    length = batch["input_ids"].shape[1]
    return batch | {"position_ids": torch.arange(length).expand_as(batch["position_ids"])}


def trained_on_first_tokens(batch: Batch) -> Batch:
    """The last token of a dialogue would predict the first one of the next."""
    first = (batch["position_ids"] == 0) & (batch["input_ids"] != 0)
    first[:, 0] = False
    return batch | {"labels": torch.where(first, batch["input_ids"], batch["labels"])}


@pytest.mark.parametrize("spoil", [attending_across_documents, with_positions_that_run_on, trained_on_first_tokens])
def test_a_mistake_in_packing_would_be_seen(architecture: str, trained: str, spoil: Callable[[Batch], Batch]) -> None:
    packed = of_step(windows(plain_order(packed=True), batch_size=2, micro=1), 0)
    distance = step_of(architecture, trained, unpacked(0)).distance(step_of(architecture, trained, [spoil(batch) for batch in packed]))
    if architecture == "llama" and spoil is with_positions_that_run_on:
        assert distance < TOLERANCE * 10  # rotary positions are relative: within a dialogue nothing changes but rounding
    else:
        assert distance > FAR
