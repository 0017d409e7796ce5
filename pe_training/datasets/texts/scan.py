"""What checks need to know of the texts of many rows, found in one pass over their words and kept as numbers, never as text.

Rows are scanned a block at a time: their words become one array of hashes, on which runs, signatures and the first look for evaluation
prompts are a few operations of numpy for the whole block. Only a row that may repeat a prompt is looked at by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pe_training.datasets.policy import ReleasePolicy
from pe_training.datasets.suite_prompts import SuitePrompts
from pe_training.datasets.texts.contamination import SuiteIndex
from pe_training.datasets.texts.near_duplicates import Signatures, signatures_of_flat, sketches
from pe_training.datasets.texts.personal_data import PhoneBook, findings
from pe_training.datasets.texts.redaction import redacted_share
from pe_training.datasets.texts.shingles import SHINGLE_WORDS, Hashes, Turn, hash_words, normal, runs, shingles


@dataclass(frozen=True, kw_only=True)
class TextFacts:
    """Of n rows, in their order."""

    personal: tuple[str, ...]  # kinds of personal data found, comma between; empty where none
    suites: tuple[str | None, ...]  # the evaluation suite whose prompt the row repeats
    redaction: npt.NDArray[np.float32]  # (n,) share of the text that was cut away
    signatures: Signatures  # (n, PERMUTATIONS)
    sketches: Hashes  # of the signatures: (n, 1 + bands)
    counted: Counter[str]  # kind of personal data -> how often, in all rows


@dataclass(frozen=True, kw_only=True)
class TextScan:
    """How texts are scanned. Pickles, so that each working process gets one."""

    suites: SuiteIndex
    suite_digests: Mapping[str, str]  # suite -> the digest that names its version
    phones: PhoneBook

    @classmethod
    def of(cls, policy: ReleasePolicy, suites: SuitePrompts) -> TextScan:
        """What a policy looks for in texts, with the prompts of these suites."""
        index = SuiteIndex.build(suites.prompts, threshold=policy.near_duplicate_similarity)
        return cls(suites=index, suite_digests=suites.digests, phones=policy.phone_book)

    def facts(self, dialogues: Sequence[Sequence[Turn]]) -> TextFacts:
        """What the texts of a block of dialogues hold."""
        texts = ["\n".join([content for _, content in turns]) for turns in dialogues]
        found = [findings(text, phones=self.phones) for text in texts]
        counted: Counter[str] = Counter()
        for kinds in found:
            counted.update(kinds)
        said = _Words.of(dialogues)
        signatures = said.without_system().signatures()
        return TextFacts(
            personal=tuple([",".join(kinds) for kinds in found]),
            suites=tuple(self._suites(dialogues, said)),
            redaction=np.array([redacted_share(text) for text in texts], dtype=np.float32),
            signatures=signatures,
            sketches=sketches(signatures, threshold=self.suites.threshold),
            counted=counted,
        )

    def _suites(self, dialogues: Sequence[Sequence[Turn]], said: _Words) -> list[str | None]:
        found: list[str | None] = [None] * len(dialogues)
        for row in said.suspects(self.suites):
            found[row] = self.suites.look_row(dialogues[row])
        return found


def suspects(dialogues: Sequence[Sequence[Turn]], suites: SuiteIndex) -> list[int]:
    """Of a block of dialogues, the numbers of those that may repeat a prompt: the others do not."""
    return _Words.of(dialogues).suspects(suites)


@dataclass(frozen=True)
class _Words:
    """The words of a block of dialogues as hashes, one after the other."""

    rows: int
    hashes: Hashes
    row_of: npt.NDArray[np.int64]  # of every word
    turns: tuple[tuple[int, str, int], ...]  # row, role and number of words of every turn

    @classmethod
    def of(cls, dialogues: Sequence[Sequence[Turn]]) -> _Words:
        turns = [(row, role, content) for row, dialogue in enumerate(dialogues) for role, content in dialogue]
        parts = [normal(content) for _, _, content in turns]
        flat, starts = hash_words(b"\n".join(parts))
        turn_starts = np.cumsum([0, *[len(part) + 1 for part in parts]])
        lengths = np.diff(np.searchsorted(starts, turn_starts)).tolist()
        row_of = np.repeat(np.array([row for row, _, _ in turns], dtype=np.int64), lengths)
        listed = tuple((row, role, length) for (row, role, _), length in zip(turns, lengths, strict=True))
        return cls(rows=len(dialogues), hashes=flat, row_of=row_of, turns=listed)

    def without_system(self) -> _Words:
        """What user and assistant say. System prompts are left out: thousands of rows share one, and would look alike by it."""
        keep = np.repeat(np.array([role != "system" for _, role, _ in self.turns], dtype=bool), [length for _, _, length in self.turns])
        turns = tuple(turn for turn in self.turns if turn[1] != "system")
        return _Words(rows=self.rows, hashes=self.hashes[keep], row_of=self.row_of[keep], turns=turns)

    def runs_of(self, length: int) -> tuple[Hashes, npt.NDArray[np.int64]]:
        """Hashes of the runs of ``length`` words that lie within one row, and the row of each."""
        if len(self.hashes) < length:
            return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
        within = self.row_of[: len(self.row_of) - length + 1] == self.row_of[length - 1 :]
        return runs(self.hashes, (length,))[length][within], self.row_of[: len(within)][within]

    def suspects(self, suites: SuiteIndex) -> list[int]:
        """Rows that may repeat a prompt: they share five words in a row with one, or have a user's turn as short as a short prompt."""
        fives, row_of = self.runs_of(SHINGLE_WORDS)
        familiar = {int(row_of[at]) for at, _ in suites.familiar.hits(fives)}
        short = {row for row, role, length in self.turns if role == "user" and length in suites.whole_turns}
        return sorted(familiar | short)

    def signatures(self) -> Signatures:
        """Shape [rows, PERMUTATIONS]."""
        fives, row_of = self.runs_of(SHINGLE_WORDS)
        counts = np.bincount(self.row_of, minlength=self.rows)
        short = np.flatnonzero((counts > 0) & (counts < SHINGLE_WORDS))
        if len(short):  # a text of fewer words is one shingle
            starts = np.concatenate([[0], np.cumsum(counts)])
            whole = [shingles(self.hashes[starts[row] : starts[row + 1]]) for row in short.tolist()]
            order = np.argsort(np.concatenate([row_of, short]), kind="stable")
            fives = np.concatenate([fives, *whole])[order]
            row_of = np.concatenate([row_of, short])[order]
        return signatures_of_flat(fives, np.bincount(row_of, minlength=self.rows))
