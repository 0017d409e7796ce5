"""Which rows of a test split hang together: windows that share an opening, several answers to one post, pairs with one prompt.

No field of a release names the conversation, so its opening does: rows in which the client begins with the same words, eight or more of
them, come from one conversation. ``source_key`` is no such name by itself: in one release it is the file of a whole family, in another
the record. Whoever has one source a conversation says so in the suite (``cluster_by: source_key``). ADR 0019 has the reasons.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from pe_training.datasets.read import read_columns
from pe_training.datasets.record import DatasetVersion
from pe_training.evaluation.generate import Conversation
from pe_training.evaluation.language import words
from pe_training.storage.state import State

OPENING_WORDS = 8  # of the client: fewer are a greeting, and everybody's
Opening = tuple[tuple[str, tuple[str, ...]], ...]


def opening(conversation: Conversation) -> Opening:
    """What is said until the client has said eight words, instructions left out; all of it where the client never does."""
    turns: list[tuple[str, tuple[str, ...]]] = []
    heard = 0
    for turn in conversation:
        if turn["role"] == "system":
            continue
        said = tuple(words(turn["content"]))
        turns.append((turn["role"], said))
        heard += len(said) if turn["role"] == "user" else 0
        if heard >= OPENING_WORDS:
            break
    return tuple(turns)


def row_clusters(ids: Sequence[str], conversations: Sequence[Conversation], sources: Sequence[str] | None = None) -> list[str]:
    """The cluster of each row, by the id of its first row: those with one opening and, where ``sources`` are given, with one source."""
    first = list(range(len(ids)))

    def root(row: int) -> int:
        while first[row] != row:
            row = first[row]
        return row

    keys: list[Sequence[Hashable]] = [[opening(conversation) for conversation in conversations], *([sources] if sources else [])]
    for column in keys:
        seen: dict[Hashable, int] = {}
        for row, key in enumerate(column):
            joined = sorted((root(seen.setdefault(key, row)), root(row)))
            first[joined[1]] = joined[0]
    return [ids[root(row)] for row in range(len(ids))]


def values_of(ids: Sequence[str], column: str, *, dataset: DatasetVersion, state: State) -> list[str]:
    """What the rows of these digests have in a column."""
    digests, values = (found.to_pylist() for found in read_columns(dataset, ["row_digest", column], state=state).columns)
    value_of = dict(zip(digests, values, strict=True))
    return [value_of[name] for name in ids]
