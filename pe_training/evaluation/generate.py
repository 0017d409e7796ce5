"""Asking a model many questions: batches of similar length, answers in the order of the questions.

Batches of similar length carry little padding. The model stays behind a protocol, so that this module needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

Conversation = Sequence[dict[str, str]]


class Replier(Protocol):
    """A model that answers. Decoding settings belong to the implementation."""

    def reply(self, conversations: Sequence[Conversation]) -> list[str]:
        """One reply for each conversation of a batch, in order."""
        ...


def generate_all(
    conversations: Sequence[Conversation], *, replier: Replier, batch_size: int, on_progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """A reply to every conversation, in order. ``on_progress(done, total)`` is called after each batch.

    Longest first, so that running out of memory happens in the first batch and not after an hour. Ties keep their order, hence
    the same questions always form the same batches.
    """
    order = sorted(range(len(conversations)), key=lambda index: (-_characters(conversations[index]), index))
    replies: dict[int, str] = {}
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        answers = replier.reply([conversations[index] for index in batch])
        assert len(answers) == len(batch), f"{len(answers)} replies to {len(batch)} questions"
        replies.update(zip(batch, answers, strict=True))
        if on_progress:
            on_progress(len(replies), len(order))
    return [replies[index] for index in range(len(conversations))]


def _characters(conversation: Conversation) -> int:
    return sum(len(message["content"]) for message in conversation)
