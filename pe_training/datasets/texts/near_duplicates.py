"""Near-duplicates across splits: MinHash signatures, one a row, and the rows that another split nearly repeats.

A test that was trained on in another wording measures memory. Signatures are made in a streaming pass (any process makes the same ones);
matching then needs no texts. MinHash: Broder 1997; banding: Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, chapter 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import rensa  # type: ignore[import-untyped]

from pe_training.datasets.texts.shingles import Hashes, shingles, word_hashes

PERMUTATIONS = 128
SEED = 20_261_123
WINDOW = 32  # neighbours looked at in a bucket, so that rows of one template cost no square
RECALL_AT_THRESHOLD = 0.98  # of pairs at the threshold, the least share that banding proposes
_NOTHING = np.uint32(2**32 - 1)  # what rensa gives for no shingles
_MANY = -1  # group of a signature that several groups have
_CHUNK = 8_192

Signatures: TypeAlias = npt.NDArray[np.uint32]
Rows: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NearPair:
    """A row, the most similar row found for it in another group, and their estimated Jaccard similarity."""

    row: int
    other: int
    similarity: float


@dataclass(frozen=True)
class NearMatches:
    """``rows`` have a near-duplicate in another group; ``pairs`` are the first of them. ``capped``: buckets looked at only in part."""

    rows: int
    pairs: tuple[NearPair, ...]
    capped: int


def signature(text: str) -> Signatures:
    """Shape [PERMUTATIONS]. A text without words has a signature that matches nothing."""
    of: Signatures = signatures_of([shingles(word_hashes(text))])[0]
    return of


def signatures(texts: Sequence[str]) -> Signatures:
    """Shape [texts, PERMUTATIONS]."""
    return signatures_of([shingles(word_hashes(text)) for text in texts])


def signatures_of(shingle_hashes: Sequence[Hashes]) -> Signatures:
    """Signatures of texts that are shingled already: shape [texts, PERMUTATIONS]."""
    if not shingle_hashes:
        return np.empty((0, PERMUTATIONS), dtype=np.uint32)
    return signatures_of_flat(np.concatenate(shingle_hashes), [len(hashes) for hashes in shingle_hashes])


def signatures_of_flat(shingle_hashes: Hashes, counts: npt.ArrayLike) -> Signatures:
    """Signatures of texts whose shingles stand one after the other, ``counts`` of them each: shape [texts, PERMUTATIONS]."""
    ends = np.cumsum(counts, dtype=np.uint64)
    offsets = np.concatenate([np.zeros(1, dtype=np.uint64), ends])
    if len(offsets) == 1:
        return np.empty((0, PERMUTATIONS), dtype=np.uint32)
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(shingle_hashes, offsets, PERMUTATIONS, SEED)
    return np.array(matrix.to_rows(), dtype=np.uint32)


@cache
def band_width(threshold: float) -> int:
    """The widest band (fewest candidates) that still proposes :data:`RECALL_AT_THRESHOLD` of the pairs at the threshold."""
    assert 0 < threshold <= 1, threshold
    wide_enough = [w for w in range(1, 17) if 1 - (1 - threshold**w) ** (PERMUTATIONS // w) >= RECALL_AT_THRESHOLD]
    return max(wide_enough, default=1)


def band_keys(of: Signatures, *, width: int) -> Hashes:
    """One 64-bit key a band: shape [rows, PERMUTATIONS // width]. Equal keys propose a pair."""
    bands = PERMUTATIONS // width
    return _fold(of[:, : bands * width].reshape(-1, bands, width)) ^ _multipliers(bands)


def sketches(of: Signatures, *, threshold: float) -> Hashes:
    """What pairs are proposed by: shape [rows, 1 + bands], the key of the whole signature and then those of its bands."""
    return np.concatenate([_fold(of)[:, np.newaxis], band_keys(of, width=band_width(threshold))], axis=1)


def near_pairs(of: Signatures, sketched: Hashes, groups: Rows, *, threshold: float, limit: int) -> NearMatches:
    """Rows whose estimated Jaccard similarity to a row of another group is at least the threshold.

    ``of`` is [rows, PERMUTATIONS] and read only where pairs are proposed, so it may lie on the disk; ``sketched`` are its :func:`sketches`
    for the same threshold; ``groups`` is the number, 0 and up, of each row's split. Equal signatures are one from
    the start. Estimates have a standard error of sqrt(J(1-J)/128): 0.035 at 0.8, so a pair right at the threshold is found half of the
    time, one 0.07 above it 97 times in 100.
    Time grows with rows times :data:`WINDOW`, memory with rows. At most ``limit`` pairs are returned, in order of row.
    """
    assert len(of) == len(sketched) == len(groups), (len(of), len(sketched), len(groups))
    rows = np.flatnonzero(sketched[:, 0] != _key_of_nothing())
    _, first, member = np.unique(sketched[rows, 0], return_index=True, return_inverse=True)
    low = np.full(len(first), np.iinfo(np.int64).max)
    high = np.full(len(first), _MANY)
    np.minimum.at(low, member, groups[rows])
    np.maximum.at(high, member, groups[rows])
    group = np.where(low == high, low, _MANY)
    distinct = _Distinct(of, rows[first], keys=sketched[rows[first], 1:])
    similarity = np.zeros(len(first), dtype=np.float64)
    partner = np.full(len(first), -1, dtype=np.int64)
    several = group == _MANY
    partner[several], similarity[several] = np.flatnonzero(several), 1.0
    capped = _match(distinct, group, threshold=threshold, similarity=similarity, partner=partner)
    flagged = np.flatnonzero(partner[member] >= 0)
    order = np.argsort(member, kind="stable")
    starts = np.searchsorted(member[order], np.arange(len(first) + 1))
    pairs = []
    for position in flagged[:limit].tolist():
        mate = int(partner[member[position]])
        others = order[starts[mate] : starts[mate + 1]]
        other = others[np.argmax(groups[rows[others]] != groups[rows[position]])]
        pairs.append(NearPair(int(rows[position]), int(rows[other]), float(similarity[member[position]])))
    return NearMatches(rows=len(flagged), pairs=tuple(pairs), capped=capped)


@dataclass(frozen=True)
class _Distinct:
    """Signatures that differ, left where they lie: they may be many more than memory should hold."""

    of: Signatures
    rows: Rows
    keys: Hashes  # of the bands

    def similarities(self, one: Rows, other: Rows) -> npt.NDArray[np.float64]:
        """Estimated Jaccard similarity of pairs, by their place among the distinct."""
        equal: npt.NDArray[np.bool_] = self.of[self.rows[one]] == self.of[self.rows[other]]
        return np.asarray(equal.mean(axis=1), dtype=np.float64)


@cache
def _key_of_nothing() -> np.uint64:
    return np.uint64(_fold(np.full((1, PERMUTATIONS), _NOTHING, dtype=np.uint32))[0])


def _match(distinct: _Distinct, group: Rows, *, threshold: float, similarity: npt.NDArray[np.float64], partner: Rows) -> int:
    """Fill in the best partner of each signature, bucket by bucket; say how many buckets were larger than the window."""
    keys = distinct.keys
    capped = 0
    for band in range(keys.shape[1]):
        alike = _repeated(keys[:, band])
        # Within a bucket, those that share the next band too stand side by side: the window sees the likeliest first.
        order = alike[np.lexsort((group[alike], keys[alike, (band + 1) % keys.shape[1]], keys[alike, band]))]
        key = keys[order, band]
        _, sizes = np.unique(key, return_counts=True)
        capped += int(np.count_nonzero(sizes > WINDOW + 1))
        left = np.arange(len(order))
        for distance in range(1, WINDOW + 1):
            left = left[left + distance < len(order)]
            left = left[key[left] == key[left + distance]]
            if not len(left):
                break
            one, other = order[left], order[left + distance]
            across = (group[one] != group[other]) & ((similarity[one] < 1) | (similarity[other] < 1))
            _keep_best(distinct, one[across], other[across], threshold=threshold, similarity=similarity, partner=partner)
    return capped


def _repeated(keys: Hashes) -> Rows:
    """The places of keys that are not the only one of their value: few, so that only these are put in order."""
    order = np.argsort(keys)
    ordered, repeated = keys[order], np.zeros(len(keys), dtype=bool)
    same = ordered[1:] == ordered[:-1]
    repeated[1:] |= same
    repeated[:-1] |= same
    places: Rows = order[repeated]
    return places


def _keep_best(
    distinct: _Distinct, one: Rows, other: Rows, *, threshold: float, similarity: npt.NDArray[np.float64], partner: Rows
) -> None:
    for start in range(0, len(one), _CHUNK):
        left, right = one[start : start + _CHUNK], other[start : start + _CHUNK]
        score = distinct.similarities(left, right)
        near = score >= threshold
        left, right, score = left[near], right[near], score[near]
        for mine, theirs in ((left, right), (right, left)):
            rising = np.argsort(score, kind="stable")  # of several assignments to one place numpy keeps the last
            mine_up, theirs_up, score_up = mine[rising], theirs[rising], score[rising]
            better = score_up > similarity[mine_up]
            similarity[mine_up[better]], partner[mine_up[better]] = score_up[better], theirs_up[better]


def _fold(values: npt.NDArray[np.unsignedinteger]) -> Hashes:
    """One 64-bit number of the last axis: multilinear hashing (Lemire, Kaser 2014), the high bits folded onto the low."""
    total = (values.astype(np.uint64) * _multipliers(values.shape[-1])).sum(axis=-1, dtype=np.uint64)
    return np.asarray(total ^ (total >> np.uint64(31)), dtype=np.uint64)


@cache
def _multipliers(count: int) -> Hashes:
    return np.random.default_rng(SEED).integers(1, 2**63, count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
