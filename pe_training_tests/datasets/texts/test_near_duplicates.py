"""Rows that another split nearly repeats are found, whatever their case and number, and others are not."""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pe_training.datasets.texts.near_duplicates import (
    PERMUTATIONS,
    WINDOW,
    NearMatches,
    Signatures,
    band_width,
    near_pairs,
    signature,
    signatures,
    sketches,
)
from pe_training.datasets.texts.shingles import jaccard, runs, shingles, spoken, word_hashes, words
from pe_training_tests.datasets.texts import planted

THRESHOLD = 0.8
TEXT = "I keep putting off my exams and feel stuck; every evening I promise myself that tomorrow will be different."


def pairs(of: Signatures, groups: Sequence[str], *, threshold: float, limit: int) -> NearMatches:
    names = sorted(set(groups))
    codes = np.array([names.index(group) for group in groups], dtype=np.int64)
    return near_pairs(of, sketches(of, threshold=threshold), codes, threshold=threshold, limit=limit)


def exact(left: str, right: str) -> float:
    return jaccard(shingles(word_hashes(left)), shingles(word_hashes(right)))


@pytest.mark.parametrize(
    "other", [TEXT.upper(), TEXT.replace(" ", "\n  "), TEXT.replace(";", " --"), "\u201c" + TEXT + "\u201d", TEXT.replace("fi", "\ufb01")]
)
def test_case_spaces_marks_and_letter_forms_make_no_other_text(other: str) -> None:
    assert np.array_equal(signature(other), signature(TEXT))


@given(st.text(max_size=300), st.sampled_from(["\t", "\n\n", " - ", "... "]))
@settings(max_examples=100, deadline=None)
def test_any_text_stays_a_near_duplicate_when_its_spaces_and_case_change(text: str, space: str) -> None:
    changed = space.join(words(text)).swapcase()
    if words(changed) == words(text):  # some letters change for good when their case does
        found = pairs(signatures([text, changed]), ["train", "test"], threshold=THRESHOLD, limit=5)
        assert found.rows == (2 if words(text) else 0)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40))
@settings(max_examples=50)
def test_runs_of_words_are_equal_exactly_where_the_words_are(numbers: list[int]) -> None:
    hashes = np.array(numbers + numbers, dtype=np.uint64)
    for length, found in runs(hashes, (1, 3, 13)).items():
        spans = [tuple(hashes[at : at + length].tolist()) for at in range(len(hashes) - length + 1)]
        assert len(found) == len(spans)
        assert len(set(found.tolist())) == len(set(spans))


def test_a_signature_is_the_same_in_every_process_and_pickles() -> None:
    mine = signature(TEXT)
    assert mine.dtype == np.uint32
    assert mine.shape == (PERMUTATIONS,)
    for seed in ("1", "2"):
        assert planted.said_by_another_process(f"near_duplicates.signature({TEXT!r}).tolist()", hash_seed=seed) == str(mine.tolist())
    assert np.array_equal(pickle.loads(pickle.dumps(mine)), mine)  # noqa: S301 - our own bytes
    assert np.array_equal(signatures([TEXT, "another"])[0], mine)


def test_texts_without_words_match_nothing() -> None:
    assert pairs(signatures(["", "...", "?!"]), ["train", "val", "test"], threshold=THRESHOLD, limit=9).rows == 0
    assert signatures([]).shape == (0, PERMUTATIONS)
    assert pairs(signatures([]), [], threshold=THRESHOLD, limit=9).pairs == ()


def test_a_system_prompt_that_all_rows_share_makes_no_near_duplicates() -> None:
    of = planted.seeded(5)
    known = planted.vocabulary(of)
    prompt = planted.text(of, known, words=400)
    rows = [[("system", prompt), ("user", planted.text(of, known, words=30))] for _ in range(20)]
    assert pairs(signatures([spoken(row) for row in rows]), list(range(20)), threshold=THRESHOLD, limit=9).rows == 0


def test_only_rows_of_different_groups_are_matched_and_each_names_one_of_the_other() -> None:
    of = planted.seeded(6)
    known = planted.vocabulary(of)
    first, second = planted.text(of, known, words=200), planted.text(of, known, words=200)
    near = planted.edited(of, first, known, changes=2)
    found = pairs(signatures([first, near, second, second, first]), ["train", "test", "val", "val", "train"], threshold=THRESHOLD, limit=9)
    assert [(pair.row, pair.other) for pair in found.pairs] == [(0, 1), (1, 0), (4, 1)]
    assert found.rows == 3
    assert all(abs(pair.similarity - exact(first, near)) < 0.1 for pair in found.pairs)
    assert pairs(signatures([first, near, first]), ["train"] * 3, threshold=THRESHOLD, limit=9).rows == 0
    assert len(pairs(signatures([first] * 10), [0, 1] * 5, threshold=THRESHOLD, limit=4).pairs) == 4


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 1.0])
def test_bands_propose_nearly_all_pairs_at_the_threshold(threshold: float) -> None:
    width = band_width(threshold)
    assert 1 - (1 - threshold**width) ** (PERMUTATIONS // width) >= 0.98


def test_recall_and_precision_against_brute_force() -> None:
    """A pair well over the threshold is found, one well under it is not, by exact Jaccard of all pairs."""
    of = planted.seeded(20_261_123)
    known = planted.vocabulary(of)
    originals = [planted.text(of, known, words=150) for _ in range(250)]
    copies = [planted.edited(of, original, known, changes=at % 10) for at, original in enumerate(originals)]
    texts, groups = originals + copies, ["train"] * 250 + ["test"] * 250
    hashed = [shingles(word_hashes(text)) for text in texts]
    sets = [set(hashes.tolist()) for hashes in hashed]
    best = [max(len(one & other) / len(one | other) for other in sets[250:]) for one in sets[:250]]
    found = pairs(signatures(texts), groups, threshold=THRESHOLD, limit=1_000)
    rows = {pair.row for pair in found.pairs}
    sure = [row for row in range(250) if best[row] >= THRESHOLD + 0.07]
    near = [row for row in range(250) if best[row] >= THRESHOLD]
    far = [row for row in range(250) if best[row] < THRESHOLD - 0.1]
    assert min(len(sure), len(near), len(far)) > 50
    assert len(rows & set(sure)) / len(sure) >= 0.97
    assert len(rows & set(near)) / len(near) >= 0.85
    assert not rows & set(far)


def test_a_hundred_thousand_equal_rows_cost_no_square() -> None:
    one = signature(TEXT)
    of = np.tile(one, (100_000, 1))
    began = time.process_time()
    found = pairs(of, ["train"] * 99_999 + ["test"], threshold=THRESHOLD, limit=3)
    assert time.process_time() - began < 10
    assert found.rows == 100_000
    assert [pair.other for pair in found.pairs] == [99_999] * 3
    assert found.capped == 0


def test_rows_of_one_template_cost_no_square_and_the_near_one_is_still_found() -> None:
    """20,000 different rows share a quarter of their bands: buckets are looked at through a window, and the answer says so."""
    of = np.random.default_rng(9).integers(0, 2**32 - 1, (20_000, PERMUTATIONS), dtype=np.uint32)
    of[:, :32] = of[0, :32]
    of[19_999] = of[7]
    of[19_999, 120:] = 5
    began = time.process_time()
    found = pairs(of, ["train"] * 19_000 + ["test"] * 1_000, threshold=THRESHOLD, limit=9)
    assert time.process_time() - began < 20
    assert {(pair.row, pair.other) for pair in found.pairs} == {(7, 19_999), (19_999, 7)}
    assert 0 < found.capped <= 32
    assert WINDOW < 100
