"""Dialogues as token ids, with the loss only where the therapist speaks.

A predecessor trained on padding and on the client's words and called the falling loss progress. Here a token is a target
exactly when it lies in an assistant turn (its words and the mark that ends the turn); everything else is context.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.read import SealedRow
from pe_training.manifests.hyperparameters import Reads

IGNORED = -100  # the label that cross-entropy skips


@dataclass(frozen=True)
class Dialogue:
    """One dialogue: ``ids`` and ``labels`` of equal length; a label is the token itself or :data:`IGNORED`."""

    ids: list[int]
    labels: list[int]

    @property
    def length(self) -> int:
        """Tokens."""
        return len(self.ids)

    tokens = length

    @property
    def targets(self) -> int:
        """Tokens that carry loss; the first token of a sequence never does."""
        return sum(label != IGNORED for label in self.labels[1:])


def encode_dialogue(tokenizer: Any, messages: Sequence[dict[str, str]], *, max_length: int) -> Dialogue | None:
    """Tokens of a dialogue, at most ``max_length``: the oldest turns go first. ``None`` if no therapist token is left."""
    messages = list(messages)
    while True:
        encoded = encode_turns(tokenizer, messages, taught={i for i, turn in enumerate(messages) if turn["role"] == "assistant"})
        oldest = 1 if messages[0]["role"] == "system" else 0
        if len(encoded.ids) <= max_length or len(messages) - oldest <= 2:
            break
        del messages[oldest : oldest + 2]
    cut = Dialogue(ids=encoded.ids[:max_length], labels=encoded.labels[:max_length])
    return cut if cut.targets else None


def encode_turns(tokenizer: Any, messages: Sequence[dict[str, str]], *, taught: Set[int]) -> Dialogue:
    """Tokens of a dialogue, whole; targets are the words and end marks of the turns numbered in ``taught``. Raises input."""
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    spans = []
    for index in sorted(taught):
        before = tokenizer.apply_chat_template(messages[:index], tokenize=False, add_generation_prompt=True)
        after = tokenizer.apply_chat_template(messages[: index + 1], tokenize=False)
        if not (text.startswith(before) and text.startswith(after.rstrip("\n"))):
            hint = "use a model whose chat template renders turns one after another"
            raise PeError(Kind.INPUT, "this tokenizer's chat template rewrites earlier turns", where="model.base", hint=hint)
        spans.append((len(before), len(after.rstrip("\n"))))
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids = list(encoding["input_ids"])
    inside = [any(start <= a and b <= end and b > a for start, end in spans) for a, b in encoding["offset_mapping"]]
    return Dialogue(ids=ids, labels=[token if keep else IGNORED for token, keep in zip(ids, inside, strict=True)])


def encode_prompt(tokenizer: Any, messages: Sequence[dict[str, str]], *, max_length: int) -> list[int]:
    """Token ids of a prompt up to where the reply begins; the newest ``max_length`` of them."""
    text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])[-max_length:]


def client_text(messages: Sequence[dict[str, str]]) -> str:
    """What the client says, turn by turn: the input of a classifier."""
    return "\n".join(message["content"] for message in messages if message["role"] == "user")


def encode_text(tokenizer: Any, messages: Sequence[dict[str, str]], *, reads: Reads, max_length: int) -> list[int]:
    """Token ids of what a classifier reads: the client's words; the last turn, whoever says it; or the last reply and, as a second text,
    what it answers.

    Of an exchange the longer of the two texts is cut. A mark that somebody types ("[SEP]") is words like any. Raises data where it does not
    end with a reply.
    """
    if reads != "exchange":
        text = client_text(messages) if reads == "client" else messages[-1]["content"]
        return list(tokenizer(text, truncation=True, max_length=max_length, split_special_tokens=True)["input_ids"])
    asked = [message["content"] for message in messages[:-1] if message["role"] == "user"]
    if messages[-1]["role"] != "assistant" or not asked:
        hint = "leave hyperparameters.reads out to read what the client says"
        raise PeError(Kind.DATA, "a row does not end with a reply to a client", where="hyperparameters.reads", hint=hint)
    said, answered = messages[-1]["content"], asked[-1]
    return list(tokenizer(said, answered, truncation="longest_first", max_length=max_length, split_special_tokens=True)["input_ids"])


def encode_rows(tokenizer: Any, rows: Sequence[SealedRow], *, max_length: int) -> list[Dialogue]:
    """Every row that has a therapist token within ``max_length``. Raises data if none has."""
    found = [encode_dialogue(tokenizer, row.messages, max_length=max_length) for row in rows]
    kept = [sequence for sequence in found if sequence is not None]
    if not kept:
        hint = "raise hyperparameters.max_length or look at the dataset"
        raise PeError(Kind.DATA, f"none of {len(rows)} rows has a therapist turn within {max_length} tokens", hint=hint)
    return kept
