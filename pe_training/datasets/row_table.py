"""The rows of a release as columns: a few bytes a row in memory, the text in a file beside it.

The merged set has 608,000 rows and 2.6 GB. Checks look at facts, and most facts repeat: rows that agree in all of them share one
:class:`Profile`, which is judged once. The canonical JSON of the rows goes to a spool, a nameless file that vanishes with its
last reader, so that memory does not grow with the length of the dialogues.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice
from typing import TYPE_CHECKING, TypeVar

import msgspec

from pe_training.datasets.parse import Profile
from pe_training.datasets.spool import Spool

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pe_training.datasets.block import Block

Key = TypeVar("Key", str, int, tuple[str, str])
DIGEST_BYTES = 32
MAX_LABEL_VALUES = 1_000  # a label with more values, each split's counted, is free text


def having(**facts: object) -> Callable[[Profile], bool]:
    """Whether a profile has these facts, for :meth:`RowTable.mask`."""
    return lambda profile: all(getattr(profile, name) == value for name, value in facts.items())


class _Turn(msgspec.Struct, gc=False):
    role: str
    content: str


class _Messages(msgspec.Struct, gc=False):
    messages: list[_Turn]


_messages = msgspec.json.Decoder(_Messages).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row of the table."""

    where: str  # file:line
    digest: str
    profile: Profile

    @property
    def split(self) -> str:
        """Its split."""
        return self.profile.split


class RowTable(Sequence[TableRow]):
    """Rows in the order in which they were added."""

    def __init__(self, files: Sequence[str]) -> None:
        """``files``: names of the shards, which :attr:`Profile.file` counts."""
        self.files = tuple(files)
        self.profiles: list[Profile] = []
        self._known: dict[Profile, int] = {}
        self._profile, self._line = array("I"), array("I")
        self._starts, self._scores = array("Q", [0]), array("d")
        self._words, self._redaction = array("I"), bytearray()
        self.personal: Counter[str] = Counter()  # kind of personal data -> how often it was found
        self.labels: dict[str, Counter[tuple[str, str]]] = {}  # label -> (split, value) -> rows
        self.free_text: set[str] = set()  # labels with too many values to be names; they are not counted
        self._digests, self._contents, self._sketches = bytearray(), bytearray(), bytearray()
        self._spool, self._signatures = Spool(), Spool()

    def extend(self, block: Block) -> None:
        """Append the rows of a block."""
        numbers = [self._number(profile) for profile in block.profiles]
        self._profile.extend([numbers[of] for of in block.profile_of])
        self._line.extend(block.lines)
        self._words.extend(block.words)
        self._scores.extend(block.scores)
        self._redaction += block.redaction
        self._digests += block.digests
        self._contents += block.contents
        self._sketches += block.sketches
        self._starts.extend(islice(accumulate(block.sizes, initial=self._starts[-1]), 1, None))
        self._spool.write(block.canonical)
        self._signatures.write(block.signatures)
        self.personal.update(block.personal)
        for (label, split, value), count in block.labels.items():
            self._count_label(label, split, value, count)

    def _number(self, profile: Profile) -> int:
        number = self._known.setdefault(profile, len(self.profiles))
        if number == len(self.profiles):
            self.profiles.append(profile)
        return number

    def _count_label(self, label: str, split: str, value: str, count: int) -> None:
        if label in self.free_text:
            return
        counts = self.labels.setdefault(label, Counter())
        counts[split, value] += count
        if len(counts) > MAX_LABEL_VALUES:
            self.free_text.add(label)
            del self.labels[label]

    def finish(self) -> RowTable:
        """The table, ready to be read."""
        self._spool.flush()
        self._signatures.flush()
        return self

    def __len__(self) -> int:
        return len(self._profile)

    def __getitem__(self, index: int) -> TableRow:  # type: ignore[override]  # a slice of it is never wanted
        at = index + len(self) if index < 0 else index
        return TableRow(where=self.where(at), digest=self.digest(at), profile=self.profile(at))

    def __iter__(self) -> Iterator[TableRow]:
        return (self[index] for index in range(len(self)))

    def where(self, index: int) -> str:
        """``file:line`` of a row."""
        return f"{self.files[self.profile(index).file]}:{self._line[index]}"

    def profile(self, index: int) -> Profile:
        """What a row shares with others."""
        return self.profiles[self._profile[index]]

    def digest(self, index: int) -> str:
        """``sha256:`` digest of a row."""
        return f"sha256:{self._digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES].hex()}"

    def content_hash(self, index: int) -> str:
        """The producer's hash, recomputed."""
        return f"sha256:{self._contents[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES].hex()}"

    def canonical(self, index: int) -> bytes:
        """Canonical JSON of a row."""
        start = self._starts[index]
        return self._spool.read(start, self._starts[index + 1] - start)

    @property
    def profile_of(self) -> NDArray[np.uint32]:
        """(n,) index into :attr:`profiles` of every row."""
        import numpy as np

        return np.frombuffer(self._profile, dtype=np.uint32) if len(self) else np.zeros(0, dtype=np.uint32)

    @property
    def quality_scores(self) -> NDArray[np.float64]:
        """(n,) quality scores; NaN where a row has none, which a row cannot say itself."""
        import numpy as np

        return np.frombuffer(self._scores, dtype=np.float64) if len(self) else np.zeros(0)

    @property
    def redacted_shares(self) -> NDArray[np.float32]:
        """(n,) how much of each row's text was cut away."""
        import numpy as np

        return np.frombuffer(self._redaction, dtype=np.float32) if len(self) else np.zeros(0, dtype=np.float32)

    def signatures(self) -> NDArray[np.uint32]:
        """(n, PERMUTATIONS) similarity signatures of the rows' texts, mapped from the disk."""
        import numpy as np

        from pe_training.datasets.texts.near_duplicates import PERMUTATIONS

        return np.frombuffer(self._signatures.map(), dtype=np.uint32).reshape(-1, PERMUTATIONS)

    def sketches(self) -> NDArray[np.uint64]:
        """(n, 1 + bands) what near-duplicates are proposed by."""
        import numpy as np

        return np.frombuffer(self._sketches, dtype=np.uint64).reshape(len(self), -1) if len(self) else np.zeros((0, 2), dtype=np.uint64)

    def messages(self, index: int) -> list[tuple[str, str]]:
        """Role and content of every message of a row."""
        return [(turn.role, turn.content) for turn in _messages(self.canonical(index)).messages]

    def spoken(self, index: int) -> dict[str, str]:
        """What user and assistant say in a row, by role."""
        said: dict[str, list[str]] = {}
        for role, content in self.messages(index):
            if role != "system":
                said.setdefault(role, []).append(content)
        return {role: "\n".join(turns) for role, turns in said.items()}

    def smallest(self, groups: NDArray[np.int64], *, limit: int) -> Iterator[NDArray[np.int64]]:
        """Of each group, 0 and up, the rows that have the smallest digests: a sample that no order of the rows changes."""
        import numpy as np

        heads = np.frombuffer(self._digests, dtype=">u8").reshape(-1, 4)[:, 0] if len(self) else np.zeros(0)
        order = np.lexsort((heads, groups))
        ends = np.cumsum(np.bincount(groups)) if len(groups) else np.zeros(0, dtype=np.int64)
        return (order[start : min(start + limit, end)] for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=False))

    @property
    def words(self) -> NDArray[np.uint32]:
        """(n,) words between blanks, in all messages."""
        import numpy as np

        return np.frombuffer(self._words, dtype=np.uint32) if len(self) else np.zeros(0, dtype=np.uint32)

    @property
    def turns(self) -> NDArray[np.int64]:
        """(n,) messages that are not the system's."""
        import numpy as np

        return np.asarray([profile.turns for profile in self.profiles], dtype=np.int64)[self.profile_of]

    def means(self, chosen: NDArray[np.bool_] | None = None) -> tuple[float, float]:
        """Mean words and mean turns of the chosen rows (of all without a choice), of which there is at least one."""
        of = slice(None) if chosen is None else chosen
        return float(self.words[of].mean()), float(self.turns[of].mean())

    def mask(self, holds: Callable[[Profile], bool]) -> NDArray[np.bool_]:
        """(n,) which rows have a profile for which ``holds`` is true; asked once a profile."""
        import numpy as np

        judged = np.fromiter((holds(profile) for profile in self.profiles), dtype=bool, count=len(self.profiles))
        return judged[self.profile_of]

    def grouped(self, by: Callable[[Profile], Key]) -> tuple[list[Key], NDArray[np.int64]]:
        """The answers to ``by`` there are, sorted, and (n,) the place of each row's own among them: thousands of groups cost one pass."""
        import numpy as np

        answers = [by(profile) for profile in self.profiles]
        found = sorted(set(answers))
        place = {answer: number for number, answer in enumerate(found)}
        codes = np.fromiter((place[answer] for answer in answers), dtype=np.int64, count=len(answers))
        return found, codes[self.profile_of]

    def counted(self) -> Iterator[tuple[Profile, int]]:
        """Every profile with the number of rows that have it."""
        import numpy as np

        counts = np.bincount(self.profile_of.astype(np.int64), minlength=len(self.profiles))
        return zip(self.profiles, counts.tolist(), strict=True)

    @cached_property
    def content_groups(self) -> NDArray[np.int32]:
        """(n,) the same number for rows with the same content, whatever their roles, order and metadata."""
        import pyarrow as pa

        kind = pa.binary(DIGEST_BYTES)
        hashes = pa.FixedSizeBinaryArray.from_buffers(kind, len(self), [None, pa.py_buffer(bytes(self._contents))])
        groups: NDArray[np.int32] = hashes.dictionary_encode().indices.to_numpy()
        return groups

    def canonical_order(self, split: str) -> NDArray[np.int64]:
        """(m,) the rows of a split by digest: the order in which they are sealed."""
        import numpy as np

        rows = np.flatnonzero(self.mask(having(split=split)))
        words = np.frombuffer(self._digests, dtype=">u8").reshape(-1, 4)[rows] if len(rows) else np.zeros((0, 4))
        return rows[np.lexsort((words[:, 3], words[:, 2], words[:, 1], words[:, 0]))]
