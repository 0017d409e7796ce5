"""Greedy decoding of many prompts at once, such that a reply does not depend on who else is in its batch.

Greedy decoding can turn on the last bit of a logit, and the usual batch makes that bit depend on the neighbours: by their number, and by
how long the longest is. A reply that depends on its neighbours can be neither kept for another evaluation nor asked again after a kill.
Here:

- each prompt is read by itself, at its own length, so that no padding is computed either;
- replies are then written together in a fixed number of rows, idle ones included: products of matrices have one shape, whoever is there;
- keys and values lie in one buffer from their first place on, and what lies behind a row's own is masked, which adds exact zeros.

Nothing of this is promised by the libraries below. So each model that is loaded is asked for proof (:meth:`Decoder.of`): a few prompts
among different neighbours, in different rows, must give the same bits, and what a plain reading of the same words gives. A model that
cannot (windows, states that are no keys and values, experts that count their tokens) is asked one prompt at a time, which is slower and
true.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

GRAIN = 64  # keys are looked at in multiples of this many
ROWS_GRAIN = 16  # kernels treat the rows of a smaller remainder in another way
_ROUNDING = 0.05  # of the largest logit: another model is further away, another order of sums is not
_PROBES = (9, 30, 17, 70)  # tokens


class Slots(Cache):  # type: ignore[misc] # untyped
    """Keys and values of a fixed number of rows, each from place 0 on: (rows, heads, capacity, size) per layer, written in place."""

    def __init__(self, *, rows: int, capacity: int, device: torch.device) -> None:
        super().__init__(layers=[])
        self._rows, self._capacity = rows, capacity
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        self._every = torch.arange(rows, device=device)
        self.at = torch.zeros(rows, dtype=torch.long, device=device)  # where the next token of each row goes
        self.reach = 0  # how many places are looked at

    def take(self, row: int, read: DynamicCache) -> None:
        """Put what was read of one prompt into a row."""
        for index, layer in enumerate(read.layers):
            if len(self._keys) <= index:
                heads, size = layer.keys.shape[1], layer.keys.shape[3]
                self._keys.append(layer.keys.new_zeros(self._rows, heads, self._capacity, size))
                self._values.append(layer.values.new_zeros(self._rows, heads, self._capacity, layer.values.shape[3]))
            length = layer.keys.shape[2]
            self._keys[index][row, :, :length] = layer.keys[0]
            self._values[index][row, :, :length] = layer.values[0]
        self.at[row] = length

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Transformers' seam: write one token of every row, return all that is looked at."""
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        keys[self._every, :, self.at] = key_states[:, :, 0]
        values[self._every, :, self.at] = value_states[:, :, 0]
        return keys[:, :, : self.reach], values[:, :, : self.reach]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Places that are looked at."""
        return self.reach


@dataclass(frozen=True)
class Decoder:
    """How one loaded model writes replies. ``rows``: how many at once; 1 where neighbours would show."""

    model: Any
    rows: int

    @classmethod
    def of(cls, model: Any, *, rows: int) -> Decoder:
        """With ``rows`` rounded up to a multiple of :data:`ROWS_GRAIN`, if the model proves that its replies stay the same there."""
        causal = model.get_base_model() if hasattr(model, "get_base_model") else model
        together = cls(causal, -(-rows // ROWS_GRAIN) * ROWS_GRAIN)
        with torch.inference_mode():
            return together if together._is_laid_out_right() and together._neighbours_do_not_show() else cls(causal, 1)

    def replies(self, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, end: int) -> list[list[int]]:
        """The tokens that follow each prompt (none of them empty), without the ``end`` mark and what would follow it."""
        found: list[list[int]] = []
        with torch.inference_mode():
            for start in range(0, len(prompts), self.rows):
                part = prompts[start : start + self.rows]
                written: list[list[int]] = [[] for _ in part]
                ended = [False] * len(part)
                for step in self._logits(part, max_new_tokens=max_new_tokens):
                    for row, token in enumerate(step[: len(part)].argmax(dim=-1).tolist()):
                        ended[row] = ended[row] or token == end
                        if not ended[row]:
                            written[row].append(token)
                    if all(ended):
                        break
                found += written
        return found

    def _logits(self, prompts: Sequence[Sequence[int]], *, max_new_tokens: int) -> Iterator[torch.Tensor]:
        """Logits of each new token: (rows, vocabulary), of which the first belong to the prompts. Each row goes on with its best token."""
        return self._alone(prompts[0], max_new_tokens) if self.rows == 1 else self._together(prompts, max_new_tokens)

    def _together(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> Iterator[torch.Tensor]:
        device = self.model.device
        longest = max(map(len, prompts))
        slots = Slots(rows=self.rows, capacity=_grains(longest + max_new_tokens), device=device)
        first = []
        for row, prompt in enumerate(prompts):
            read = DynamicCache(config=self.model.config)
            asked = {"input_ids": torch.tensor([list(prompt)], device=device), "past_key_values": read, "use_cache": True}
            first.append(self.model(**asked, logits_to_keep=1).logits[0, -1])
            slots.take(row, read)
        logits = torch.stack(first + [torch.zeros_like(first[0])] * (self.rows - len(first)))
        yield logits
        for length in range(longest + 1, longest + max_new_tokens):
            slots.reach = _grains(length)
            seen = torch.arange(slots.reach, device=device)[None] <= slots.at[:, None]
            logits = self.model(
                input_ids=logits.argmax(dim=-1)[:, None], position_ids=slots.at[:, None], attention_mask=seen[:, None, None],
                past_key_values=slots, use_cache=True, logits_to_keep=1,
            ).logits[:, -1]  # fmt: skip
            slots.at += 1
            yield logits

    def _alone(self, prompt: Sequence[int], max_new_tokens: int) -> Iterator[torch.Tensor]:
        cache = DynamicCache(config=self.model.config)
        tokens = torch.tensor([list(prompt)], device=self.model.device)
        for _ in range(max_new_tokens):
            logits = self.model(input_ids=tokens, past_key_values=cache, use_cache=True).logits[:, -1]
            yield logits
            tokens = logits.argmax(dim=-1)[:, None]

    def _is_laid_out_right(self) -> bool:
        """Whether this is attention over all keys and values of all layers, by torch's own kernel."""
        config = self.model.config.get_text_config()
        reaches = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
        layers = DynamicCache(config=self.model.config).layers
        known = all(type(layer) is DynamicLayer for layer in layers)
        takes = "logits_to_keep" in inspect.signature(self.model.forward).parameters
        return bool(known and takes and config._attn_implementation == "sdpa" and all(reach is None for reach in reaches))

    def _neighbours_do_not_show(self) -> bool:
        """Whether a prompt's logits are the same bits among others, elsewhere; and near those of reading it, as a whole, by itself."""
        vocabulary = self.model.get_input_embeddings().weight.shape[0]
        probes = [[(7 * length + 11 * at) % vocabulary for at in range(length)] for length in _PROBES]
        asked = probes[0]
        here = [step[0] for step in self._together(probes[:3], 4)]
        there = [step[3] for step in self._together([*probes[:0:-1], asked], 4)]
        whole = torch.tensor([[*asked, *(int(step.argmax()) for step in here[:-1])]], device=self.model.device)
        plain = self.model(input_ids=whole, use_cache=False).logits[0, -1].float()
        near = float((here[-1].float() - plain).abs().max()) <= _ROUNDING * float(plain.abs().max())
        return near and all(torch.equal(one, other) for one, other in zip(here, there, strict=True))


def _grains(length: int) -> int:
    return -(-length // GRAIN) * GRAIN
