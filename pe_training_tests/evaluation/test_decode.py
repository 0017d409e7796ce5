"""A reply does not depend on who else is asked: with a model that can, by the bit; with one that cannot, one by one."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from pe_training.evaluation.decode import ROWS_GRAIN, Decoder
from pe_training.manifests.base_models import SCRATCH

NEW = 6
END = 9_999  # never said
VOCABULARY = 300


def config(**changes: Any) -> Any:
    return transformers.AutoConfig.for_model(**(SCRATCH["tiny-llama"] | {"vocab_size": VOCABULARY, "initializer_range": 0.1} | changes))


def made(model: Any) -> Any:
    return model.eval()


@pytest.fixture(scope="module")
def llama() -> Any:
    torch.manual_seed(3)
    return made(AutoModelForCausalLM.from_config(config()))


def some_prompts(count: int, seed: int = 1) -> list[list[int]]:
    of = random.Random(seed)  # noqa: S311
    return [[of.randrange(VOCABULARY) for _ in range(of.choice((1, 3, 14, 40, 63, 64, 65, 90)))] for _ in range(count)]


def by_transformers(model: Any, prompt: list[int], end: int = END) -> list[int]:
    ids = torch.tensor([prompt])
    said = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False, pad_token_id=0, eos_token_id=end
    )
    return [token for token in said[0, len(prompt) :].tolist() if token != end]


def test_a_reply_is_the_same_whoever_else_is_asked_and_what_transformers_says(llama: Any) -> None:
    decoder, prompts = Decoder.of(llama, rows=10), some_prompts(40)
    assert decoder.rows == ROWS_GRAIN
    together = decoder.replies(prompts, max_new_tokens=NEW, end=END)
    of = random.Random(2)  # noqa: S311
    for _ in range(6):
        chosen = of.sample(range(40), of.randint(1, 20))
        assert decoder.replies([prompts[i] for i in chosen], max_new_tokens=NEW, end=END) == [together[i] for i in chosen]
    assert together[:12] == [by_transformers(llama, prompt) for prompt in prompts[:12]]


def test_the_logits_are_the_same_bits(llama: Any) -> None:
    decoder, prompts = Decoder.of(llama, rows=16), some_prompts(16)
    with torch.inference_mode():
        among = [step.clone() for step in decoder._logits(prompts, max_new_tokens=NEW)]
        for row in (0, 5, 15):
            alone = [step[0] for step in decoder._logits([prompts[row]], max_new_tokens=NEW)]
            assert all(torch.equal(step[row], own) for step, own in zip(among, alone, strict=True))


def test_a_reply_ends_with_the_end_mark_and_does_not_hold_it(llama: Any) -> None:
    prompts = some_prompts(4)
    whole = Decoder.of(llama, rows=16).replies(prompts, max_new_tokens=NEW, end=END)
    end = whole[0][2]
    cut = Decoder.of(llama, rows=16).replies(prompts, max_new_tokens=NEW, end=end)
    assert cut == [reply[: reply.index(end)] if end in reply else reply for reply in whole]
    assert len(cut[0]) <= 2


class Gossip(LlamaForCausalLM):
    """A model whose rows hear of each other."""

    def forward(self, *args: Any, **named: Any) -> Any:
        found = super().forward(*args, **named)
        found.logits = found.logits + 1e-3 * found.logits.mean(dim=0, keepdim=True)
        return found


class Deaf(LlamaForCausalLM):
    """A model that takes no logits_to_keep, as a foreign one might not."""

    def forward(self, input_ids: Any = None, past_key_values: Any = None, use_cache: Any = None) -> Any:
        return super().forward(input_ids=input_ids, past_key_values=past_key_values, use_cache=use_cache)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gossip(config()),
        lambda: Deaf(config()),
        lambda: AutoModelForCausalLM.from_config(config(), attn_implementation="eager"),
        lambda: AutoModelForCausalLM.from_config(config(model_type="mistral", sliding_window=8)),
    ],
    ids=["rows that hear of each other", "another forward", "another attention", "a window"],
)
def test_a_model_that_gives_no_proof_is_asked_one_by_one(make: Any) -> None:
    torch.manual_seed(3)
    model, prompts = made(make()), some_prompts(5)
    decoder = Decoder.of(model, rows=16)
    assert decoder.rows == 1
    replies = decoder.replies(prompts, max_new_tokens=NEW, end=END)
    assert replies == [decoder.replies([prompt], max_new_tokens=NEW, end=END)[0] for prompt in prompts]
    if not isinstance(model, Gossip | Deaf):
        assert replies == [by_transformers(model, prompt) for prompt in prompts]


def test_models_that_transformers_lays_out_as_keys_and_values_give_proof() -> None:
    torch.manual_seed(3)
    for kind in ("qwen2", "llama"):
        assert Decoder.of(made(AutoModelForCausalLM.from_config(config(model_type=kind))), rows=16).rows == 16
