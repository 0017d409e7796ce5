"""A classifier with two eyes: an encoder that reads for meaning, and a table of the runs of one to three tokens that a text holds.

Wide and deep (Cheng et al. 2016, arXiv:1606.07792). The table learns the phrases that people's labels turn on ("sorry to hear", "have you
tried") from a few thousand labelled rows. It sees the first of two texts only: the reply, not what it answers. A run of tokens falls into
one of ``buckets`` by its hash, and a text's weights are scaled so that a long one does not shout. What it brings: ADR 0022.

transformers' Auto classes know it once this module is imported. It is saved as any model of theirs is; who loads it needs this package.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

RUNS = (1, 2, 3)
BUCKETS = 131_071  # a prime, so that sums of multiples spread
_PRIMES = (1_000_003, 998_244_353, 754_974_721)  # one a place in a run; products stay within 64 bits


class WideConfig(PreTrainedConfig):
    """``encoder``: the configuration of the encoder, as a mapping. ``separator``: the token that ends the first text."""

    model_type = "pe-wide"

    def __init__(
        self, encoder: dict[str, Any] | None = None, *, separator: int = 102, buckets: int = BUCKETS, scale: float = 30.0, **others: Any
    ) -> None:
        super().__init__(**others)
        self.encoder, self.separator, self.buckets, self.scale = encoder or {}, separator, buckets, scale


class WideClassifier(PreTrainedModel):
    """Logits of each class: ``deep`` of what the encoder makes of the text, plus ``wide`` of the runs of tokens in the first text."""

    config_class = WideConfig

    def __init__(self, config: WideConfig) -> None:
        super().__init__(config)
        inner = AutoConfig.for_model(**config.encoder)
        self.encoder = AutoModel.from_config(inner)
        if hasattr(self.encoder, "pooler"):
            self.encoder.pooler = None  # nothing here would ever train it
        self._kinds = getattr(inner, "type_vocab_size", 0) > 1
        self.dropout = nn.Dropout(getattr(inner, "hidden_dropout_prob", 0.1))
        self.deep = nn.Linear(2 * inner.hidden_size, config.num_labels)
        self.wide = nn.EmbeddingBag(config.buckets, config.num_labels, mode="sum")
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.EmbeddingBag):
            nn.init.zeros_(module.weight)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any) -> SequenceClassifierOutput:
        """``input_ids`` and ``attention_mask``: (rows, tokens), one text or two, each ended by the separator. Logits: (rows, classes).

        The one hidden state, (rows, 2 x hidden), is what ``deep`` sees.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        ends = (input_ids == self.config.separator) & mask.bool()
        text = (ends.cumsum(dim=1) - ends.long()) * mask  # 0 in the first text and its end, more behind them
        kinds = {"token_type_ids": text.clamp(max=1)} if self._kinds else {}
        states = self.encoder(input_ids=input_ids, attention_mask=mask, **kinds).last_hidden_state
        first = ((text == 0) & mask.bool())[..., None].to(states.dtype)
        pooled = (states * first).sum(dim=1) / first.sum(dim=1)
        features = self.dropout(torch.cat([pooled, states[:, 0]], dim=-1))
        inside = (text == 0) & mask.bool() & ~ends
        inside[:, 0] = False  # the mark that every text begins with
        logits = self.deep(features) + self.config.scale * self._runs(input_ids, inside).to(features.dtype)
        return SequenceClassifierOutput(logits=logits, hidden_states=(features,))

    def _runs(self, input_ids: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        bags = [self._buckets(ids[kept]) for ids, kept in zip(input_ids, inside, strict=True)]
        sizes = torch.tensor([len(bag) for bag in bags], device=input_ids.device)
        shares = sizes.clamp(min=1).to(self.wide.weight.dtype).rsqrt()
        return self.wide(
            torch.cat(bags), sizes.cumsum(dim=0) - sizes, per_sample_weights=shares.repeat_interleave(sizes)
        )  # fmt: skip

    def _buckets(self, ids: torch.Tensor) -> torch.Tensor:
        """The buckets of a text's runs, each once, in order."""
        found = []
        for run in RUNS:
            ends = max(len(ids) - run + 1, 0)
            places = torch.stack([(ids[place : place + ends] + 1) * _PRIMES[place] for place in range(run)])
            found.append((places.sum(dim=0) + run) % self.config.buckets)
        return torch.unique(torch.cat(found))


def wide_classifier(encoder: PreTrainedModel, *, separator: int, **head: Any) -> WideClassifier:
    """One around a pretrained encoder, its head fresh. ``head``: what a configuration says of classes."""
    inner = {name: value for name, value in encoder.config.to_dict().items() if name not in ("_name_or_path", "transformers_version")}
    model = WideClassifier(WideConfig(inner, separator=separator, **head))  # without the folder it lay in, which would be in every digest
    missing = model.encoder.load_state_dict(encoder.state_dict(), strict=False).missing_keys
    assert not missing, missing
    return model


AutoConfig.register(WideConfig.model_type, WideConfig)
AutoModelForSequenceClassification.register(WideConfig, WideClassifier)
