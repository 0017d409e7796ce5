"""What a release is made of: rows by family, licence, label and split, lengths, and a few rows without their words.

It is taken when a release is judged and kept in the report, because of a refused release nothing else is kept. No text of a dialogue is in
it: words of examples become bars of one length, and a label value or family that does not look like a name is not shown.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from pe_training.core.records import Frozen
from pe_training.datasets.complaints import shown
from pe_training.datasets.record import SPLITS
from pe_training.datasets.row_table import RowTable, having

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OTHERS = "(others)"
MAX_VALUES = 12  # of a label; rarer ones are pooled
MAX_TURNS_SHOWN = 20
EXAMPLE_FAMILIES, EXAMPLES_PER_FAMILY = 6, 2
EXAMPLE_TURNS, EXAMPLE_CHARACTERS = 6, 400
BAR = "\u25ac\u25ac\u25ac"
_WORD = re.compile(r"\w+")
Counts = dict[str, dict[str, int]]  # name -> split -> rows


class Bin(Frozen):
    """Rows whose number lies in a range."""

    label: str
    rows: int


class Lengths(Frozen):
    """Words or turns a dialogue. ``bins`` follow one another without gaps and are the same in all splits."""

    mean: float
    quartiles: tuple[float, float, float]
    bins: tuple[Bin, ...]


class Turn(Frozen):
    """One message without its words."""

    role: str
    shown: str
    words: int


class Example(Frozen):
    """One row without its words."""

    where: str
    row_digest: str
    family: str
    split: str
    turns: tuple[Turn, ...]
    more_turns: int


class Makeup(Frozen):
    """What the rows of a release are. Splits without rows are left out."""

    families: Counts
    licences: Counts
    words: dict[str, Lengths]  # by split
    turns: dict[str, Lengths]
    labels: dict[str, Counts]  # label -> value -> split -> rows
    labels_left_out: int  # free text, or without a name
    examples: tuple[Example, ...]  # of the largest families the rows with the smallest digests


def makeup_of(rows: RowTable) -> Makeup:
    """The makeup of all rows that could be read."""
    families: dict[str, Counter[str]] = {}
    licences: dict[str, Counter[str]] = {}
    for profile, count in rows.counted():
        families.setdefault(shown(profile.family), Counter())[profile.split] += count
        licences.setdefault(profile.license_tag, Counter())[profile.split] += count
    in_split = {split: rows.mask(having(split=split)) for split in SPLITS}
    there = {split: mask for split, mask in in_split.items() if mask.any()}
    named = {label: counts for label, counts in rows.labels.items() if is_name(label)}
    return Makeup(
        families=_sorted(families),
        licences=_sorted(licences),
        words=_lengths(rows.words, there, place=_octave, label=_octave_label),
        turns=_lengths(rows.turns, there, place=_turn, label=_turn_label),
        labels={label: _values(counts) for label, counts in sorted(named.items())},
        labels_left_out=len(rows.free_text) + len(rows.labels) - len(named),
        examples=tuple(_examples(rows)),
    )


def is_name(text: str) -> bool:
    """Whether a value of the data may be shown: a short word, so that no sentence of a dialogue can hide in it."""
    return shown(text) == text


def without_words(text: str) -> str:
    """The text with every word as a bar of one length; its lines and its punctuation stay."""
    cut = text[:EXAMPLE_CHARACTERS]
    return _WORD.sub(BAR, cut) + (" ..." if len(text) > len(cut) else "")


def _sorted(counts: Mapping[str, Mapping[str, int]]) -> Counts:
    return {name: {split: counts[name][split] for split in SPLITS if counts[name].get(split)} for name in sorted(counts)}


def _lengths(
    numbers: NDArray[np.integer],
    there: Mapping[str, NDArray[np.bool_]],
    *,
    place: Callable[[NDArray[np.integer]], NDArray[np.integer]],
    label: Callable[[int], str],
) -> dict[str, Lengths]:
    """Lengths by split. All splits have the same bins, from the first to the last that any of them needs, so that they can be compared."""
    import numpy as np

    places = place(numbers)
    bins = range(int(places.min()), int(places.max()) + 1) if there else range(0)
    found = {}
    for split, mask in there.items():
        lower, middle, upper = np.quantile(numbers[mask], [0.25, 0.5, 0.75], method="inverted_cdf")
        counts = np.bincount(places[mask], minlength=bins.stop)
        found[split] = Lengths(
            mean=round(float(numbers[mask].mean()), 6),
            quartiles=(float(lower), float(middle), float(upper)),
            bins=tuple(Bin(label=label(number), rows=int(counts[number])) for number in bins),
        )
    return found


def _octave(numbers: NDArray[np.integer]) -> NDArray[np.integer]:
    """Bins of which each is twice as wide as the one before: 1, 2 to 3, 4 to 7 and so on; a dialogue without a word is in the first."""
    import numpy as np

    powers: NDArray[np.integer] = np.log2(np.maximum(numbers, 1)).astype(np.int64)
    return powers


def _octave_label(power: int) -> str:
    low, high = 1 << power, (2 << power) - 1
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _turn(numbers: NDArray[np.integer]) -> NDArray[np.integer]:
    import numpy as np

    turns: NDArray[np.integer] = np.minimum(numbers, MAX_TURNS_SHOWN)
    return turns


def _turn_label(number: int) -> str:
    return f"{number} or more" if number == MAX_TURNS_SHOWN else str(number)


def _values(counts: Mapping[tuple[str, str], int]) -> Counts:
    """The commonest values; the others, and those that are no names, pooled."""
    totals: Counter[str] = Counter()
    for (_, value), count in counts.items():
        totals[shown(value)] += count
    kept = sorted(totals, key=lambda value: (-totals[value], value))[:MAX_VALUES]
    found: dict[str, Counter[str]] = {value: Counter() for value in kept}
    for (split, value), count in counts.items():
        name = shown(value)
        found.setdefault(name if name in kept else OTHERS, Counter())[split] += count
    return {value: {split: of[split] for split in SPLITS if of[split]} for value, of in found.items()}


def _examples(rows: RowTable) -> Iterator[Example]:
    sizes: Counter[str] = Counter()
    for profile, count in rows.counted():
        sizes[profile.family] += count
    families, of = rows.grouped(lambda profile: profile.family)
    smallest = dict(zip(families, rows.smallest(of, limit=EXAMPLES_PER_FAMILY), strict=True))
    for family in sorted(sizes, key=lambda name: (-sizes[name], name))[:EXAMPLE_FAMILIES]:
        for index in smallest[family].tolist():
            said = rows.messages(index)
            yield Example(
                where=rows.where(index),
                row_digest=rows.digest(index),
                family=shown(family),
                split=rows[index].split,
                turns=tuple(Turn(role=role, shown=without_words(text), words=len(text.split())) for role, text in said[:EXAMPLE_TURNS]),
                more_turns=max(0, len(said) - EXAMPLE_TURNS),
            )
