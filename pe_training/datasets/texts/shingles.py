"""Words of a text and 64-bit hashes of their runs: what near-duplicates and contamination are both found by.

One normalisation for both, so that a copy which changed case, spaces, punctuation or the form of its letters is the same words. Scripts
that write no spaces (Chinese, Japanese, Thai) come out as one word a clause; copies are still found there, edited ones less often.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pe_training.datasets.texts.folding import caseless

Hashes: TypeAlias = npt.NDArray[np.uint64]
Places: TypeAlias = npt.NDArray[np.int64]
Turn: TypeAlias = tuple[str, str]  # role, content

SHINGLE_WORDS = 5
_WORD = re.compile(r"[^\W_]+")
_LETTERS = np.array(  # byte -> itself in lower case, 0 where it parts words; every byte of a letter beyond ASCII belongs to a word
    [ord(chr(code).lower()) if chr(code).isalnum() else 0 for code in range(128)] + list(range(128, 256)), dtype=np.uint64
)
_BASE = np.uint64(0xD1342543DE82EF95)  # odd, so that it has an inverse
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S29, _S30, _S27, _S31 = np.uint64(29), np.uint64(30), np.uint64(27), np.uint64(31)


def words(text: str) -> list[str]:
    """Caseless and folded (folding.py), without anything that is neither letter nor digit."""
    return _WORD.findall(caseless(text))


def normal(text: str) -> bytes:
    """A text whose bytes :func:`hash_words` reads: of plain ASCII the text itself, otherwise its words."""
    return text.encode() if text.isascii() else " ".join(words(text)).encode("utf-8", "surrogatepass")


def hash_words(text: bytes) -> tuple[Hashes, Places]:
    """Hash of every word of a :func:`normal` text and the byte that it starts at: shapes [words], [words].

    A word is a run of letters and digits, in either case. Its hash is a polynomial of its bytes modulo 2^64, by differences of running sums
    (Karp, Rabin 1987), mixed at the end: the same in every process, and some nanoseconds a byte for a text of any number of words.
    """
    letters = _LETTERS[np.frombuffer(text, dtype=np.uint8)]
    edges = np.flatnonzero(np.diff(letters != 0, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    powers, inverses = _powers(1 << max(16, len(letters).bit_length()))
    sums = np.zeros(len(letters) + 1, dtype=np.uint64)
    np.cumsum(letters * powers[: len(letters)], out=sums[1:])
    return _mix((sums[ends] - sums[starts]) * inverses[starts]), starts


def word_hashes(text: str) -> Hashes:
    """Shape [words]."""
    return hash_words(normal(text))[0]


@lru_cache(maxsize=2)
def _powers(count: int) -> tuple[Hashes, Hashes]:
    """Powers of :data:`_BASE` and of its inverse modulo 2^64."""
    inverse = np.uint64(pow(int(_BASE), -1, 1 << 64))
    ones = [np.concatenate([np.ones(1, dtype=np.uint64), np.full(count - 1, base, dtype=np.uint64)]) for base in (_BASE, inverse)]
    return np.cumprod(ones[0]), np.cumprod(ones[1])


def runs(hashes: Hashes, lengths: Sequence[int]) -> dict[int, Hashes]:
    """Hash of every run of ``length`` words, per length: shape [words - length + 1], empty where the text is shorter.

    One pass over the lengths up to the longest. The finish is the mixer of splitmix64 (Steele, Lea, Flood 2014).
    """
    wanted = set(lengths)
    found = {length: np.empty(0, dtype=np.uint64) for length in wanted}
    state = hashes
    for length in range(1, min(max(wanted, default=0), len(hashes)) + 1):
        if length > 1:
            state = state[:-1]
            state = (state ^ (state >> _S29)) * _STEP + hashes[length - 1 :]
        if length in wanted:
            found[length] = _mix(state + np.uint64(length))
    return found


def shingles(hashes: Hashes) -> Hashes:
    """Runs of five words; of a shorter text its one run of all words; of no words none."""
    size = min(SHINGLE_WORDS, len(hashes))
    return runs(hashes, (size,))[size] if size else hashes


def spoken(messages: Sequence[Turn]) -> str:
    """What user and assistant say. System prompts are left out: thousands of rows share one, and would look alike by it."""
    return "\n".join(content for role, content in messages if role != "system")


def jaccard(left: Hashes, right: Hashes) -> float:
    """Exact similarity of two texts' shingles, 0 to 1; 0 where a text has no words."""
    one, other = set(left.tolist()), set(right.tolist())
    return len(one & other) / len(one | other) if one and other else 0.0


def _mix(state: Hashes) -> Hashes:
    state = (state ^ (state >> _S30)) * _MIX_1
    state = (state ^ (state >> _S27)) * _MIX_2
    return state ^ (state >> _S31)
