"""Evaluation prompts in training data: which suite a text repeats, if any.

Looked for by what a prompt is long enough for:
- 13 words or more: any run of thirteen words shared with it, in any turn (the rule of GPT-3, Brown et al. 2020, appendix C);
- 5 to 12: the whole prompt as a run of words within one user turn;
- 3 or 4: only as a whole user turn, since three words within another say nothing;
- fewer ("hello"): not looked for, they are everyone's; :attr:`SuiteIndex.passed_over` counts them.
Last, a user turn that nearly repeats a prompt: candidates by banding, decided by exact Jaccard similarity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pe_training.datasets.texts.near_duplicates import band_keys, band_width, signatures_of
from pe_training.datasets.texts.shingles import SHINGLE_WORDS, Hashes, Turn, jaccard, runs, shingles, word_hashes

RUN_WORDS = 13
WITHIN_WORDS = SHINGLE_WORDS  # shortest prompt that is looked for inside a turn
WHOLE_WORDS = 3  # shortest that is looked for at all
MAX_CANDIDATES = 64  # prompts of one band: thousands of a template share some


@dataclass(frozen=True)
class _Sieve:
    """Hashes with the suite each came from. A table of their low bits turns away nearly all others at one look."""

    suites: dict[int, int] = field(default_factory=dict)
    table: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(1, dtype=np.bool_))

    @classmethod
    def of(cls, suites: dict[int, int]) -> _Sieve:
        table = np.zeros(1 << max(12, (64 * len(suites)).bit_length()), dtype=np.bool_)
        table[np.fromiter(suites, dtype=np.uint64, count=len(suites)) & np.uint64(len(table) - 1)] = True
        return cls(suites, table)

    def hits(self, hashes: Hashes) -> list[tuple[int, int]]:
        """Position and suite of each hash that is known."""
        maybe = np.flatnonzero(self.table[hashes & np.uint64(len(self.table) - 1)])
        return [(at, self.suites[known]) for at in maybe.tolist() if (known := int(hashes[at])) in self.suites]


@dataclass(frozen=True)
class SuiteIndex:
    """All prompts of all suites as hashes: holds no text, and pickles, so that each worker gets one."""

    names: tuple[str, ...]
    passed_over: dict[str, int]  # prompts of one or two words, per suite
    threshold: float
    familiar: _Sieve  # every five words in a row of every prompt: a row without any of them is clean
    long_runs: _Sieve
    short_runs: dict[int, _Sieve]  # by number of words
    whole_turns: dict[int, _Sieve]
    bands: _Sieve  # band key to a place in `candidates`
    candidates: tuple[tuple[int, ...], ...]  # prompts
    prompts: tuple[Hashes, ...]  # shingles
    prompt_suites: tuple[int, ...]

    @classmethod
    def build(cls, prompts: Mapping[str, Sequence[str]], *, threshold: float) -> SuiteIndex:
        """``threshold`` is the policy's, of Jaccard similarity, for a turn that nearly repeats a prompt."""
        familiar: dict[int, int] = {}
        long_runs: dict[int, int] = {}
        by_length: dict[int, dict[int, int]] = {length: {} for length in range(WHOLE_WORDS, RUN_WORDS)}
        shingled: list[Hashes] = []
        suites: list[int] = []
        passed_over = dict.fromkeys(prompts, 0)
        for number, (name, texts) in enumerate(prompts.items()):
            for text in texts:
                hashes = word_hashes(text)
                length = min(len(hashes), RUN_WORDS)
                if length < WHOLE_WORDS:
                    passed_over[name] += 1
                    continue
                known = long_runs if length == RUN_WORDS else by_length[length]
                for run in runs(hashes, (length,))[length].tolist():
                    known.setdefault(run, number)
                if length >= WITHIN_WORDS:
                    shingled.append(shingles(hashes))
                    familiar.update(dict.fromkeys(shingled[-1].tolist(), number))
                    suites.append(number)
        keys = band_keys(signatures_of(shingled), width=band_width(threshold))
        bands: dict[int, list[int]] = {}
        for prompt, row in enumerate(keys.tolist()):
            for key in row:
                bands.setdefault(key, []).append(prompt)
        return cls(
            names=tuple(prompts),
            passed_over=passed_over,
            threshold=threshold,
            familiar=_Sieve.of(familiar),
            long_runs=_Sieve.of(long_runs),
            short_runs={length: _Sieve.of(known) for length, known in by_length.items() if known and length >= WITHIN_WORDS},
            whole_turns={length: _Sieve.of(known) for length, known in by_length.items() if known and length < WITHIN_WORDS},
            bands=_Sieve.of({key: place for place, key in enumerate(bands)}),
            candidates=tuple(tuple(of[:MAX_CANDIDATES]) for of in bands.values()),
            prompts=tuple(shingled),
            prompt_suites=tuple(suites),
        )

    def look(self, text: str) -> str | None:
        """The suite that a text repeats, taken as one user turn."""
        return self.look_row([("user", text)])

    def look_row(self, messages: Sequence[Turn]) -> str | None:
        """The suite that a dialogue repeats. Thirteen words count in any turn and across turns; the rest only in a user's."""
        turns = [word_hashes(content) for _, content in messages]
        if not turns:
            return None
        everything = np.concatenate(turns)
        familiar = [at for at, _ in self.familiar.hits(runs(everything, (SHINGLE_WORDS,))[SHINGLE_WORDS])]
        said = [turn for turn, (role, _) in zip(turns, messages, strict=True) if role == "user"]
        if not familiar:
            return self._whole_turn(said)
        if len(familiar) > RUN_WORDS - SHINGLE_WORDS and (hits := self.long_runs.hits(runs(everything, (RUN_WORDS,))[RUN_WORDS])):
            return self.names[hits[0][1]]
        ends = np.cumsum([len(turn) for turn in turns])
        users = [number for number in sorted(set(np.searchsorted(ends, familiar, side="right").tolist())) if messages[number][0] == "user"]
        suspects = [turns[number] for number in users]
        return self._within_turn(suspects) or self._whole_turn(said) or self._near_turn(suspects)

    def _within_turn(self, said: Sequence[Hashes]) -> str | None:
        for turn in said:
            run = runs(turn, tuple(self.short_runs))
            for length, sieve in self.short_runs.items():
                if hits := sieve.hits(run[length]):
                    return self.names[hits[0][1]]
        return None

    def _whole_turn(self, said: Sequence[Hashes]) -> str | None:
        for turn in said:
            sieve = self.whole_turns.get(len(turn))
            if sieve and (hits := sieve.hits(runs(turn, (len(turn),))[len(turn)])):
                return self.names[hits[0][1]]
        return None

    def _near_turn(self, said: Sequence[Hashes]) -> str | None:
        shingled = [shingles(turn) for turn in said if len(turn) >= WITHIN_WORDS]
        if not shingled or not self.prompts:
            return None
        keys = band_keys(signatures_of(shingled), width=band_width(self.threshold))
        proposed = {(at // keys.shape[1], prompt) for at, place in self.bands.hits(keys.ravel()) for prompt in self.candidates[place]}
        for turn, prompt in sorted(proposed):
            if jaccard(shingled[turn], self.prompts[prompt]) >= self.threshold:
                return self.names[self.prompt_suites[prompt]]
        return None
