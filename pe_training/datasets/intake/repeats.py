"""Records that say what another says already: left out, or joined with it. One row stays, in the split that is most guarded.

A labelled set of short turns holds "How are you?" many times, in the part that teaches and in the part that judges. Which of two labels
such a turn has is then no longer known by heart. Where people labelled the same texts for several things, a file for each, a row has
the labels of all of them: of each label the one from the most guarded split, and of two there the first that was read. A text that one of
the files does not have is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field

from pe_training.core.ids import digest_json
from pe_training.datasets.intake.formats import Dropped
from pe_training.datasets.intake.tally import Converted
from pe_training.datasets.rows import Label, Row, content_hash

REPEATED = "says what another record says"
JOINED = "joined with another record that says the same"
INCOMPLETE = "lacks a label that the other texts have"
_GUARDED = {"test": 0, "val": 1, "train": 2}
_Records = Callable[[], Iterator[Converted]]


def without_repeats(records: _Records) -> Iterator[Converted]:
    """``records()``, read twice; of rows of one content hash the first of the most guarded split stays. Some hundred bytes a row."""
    home: dict[str, str] = {}
    for row in _rows(records()):
        meta = row.metadata
        home[meta.content_hash] = min(meta.split, home.get(meta.content_hash, meta.split), key=_GUARDED.__getitem__)
    for item in records():
        if isinstance(item.outcome, Row) and home.get(item.outcome.metadata.content_hash) != item.outcome.metadata.split:
            item = Converted(where=item.where, outcome=Dropped(reason=REPEATED))  # noqa: PLW2901
        elif isinstance(item.outcome, Row):
            home[item.outcome.metadata.content_hash] = ""  # the others repeat this one
        yield item


def joined(records: _Records) -> Iterator[Converted]:
    """``records()``, read twice; of rows with the same turns the first stays, with the labels of all, in the most guarded of their splits.

    One that then lacks any of the labels that there are is dropped, so that near copies by another hand stand for nothing. Provenance names
    the records whose labels a row has besides its own. Some hundred bytes a row.
    """
    known: dict[str, _Joined] = {}
    for row in _rows(records()):
        known.setdefault(_turns(row), _Joined(split=row.metadata.split)).add(row)
    labels = {label for one in known.values() for label in one.labels}
    for item in records():
        yield (Converted(where=item.where, outcome=_one_of(item.outcome, known, labels=labels)) if isinstance(item.outcome, Row) else item)


def _one_of(row: Row, known: Mapping[str, _Joined], *, labels: Set[str]) -> Row | Dropped:
    one = known[_turns(row)]
    if labels - one.labels.keys():
        return Dropped(reason=INCOMPLETE)
    return Dropped(reason=JOINED) if one.told else one.tell(row)


@dataclass(slots=True)
class _Joined:
    split: str
    labels: dict[str, Label] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)  # label -> the split that it is from
    others: list[str] = field(default_factory=list)  # source keys
    told: bool = False

    def add(self, row: Row) -> None:
        meta = row.metadata
        self.split = min(meta.split, self.split, key=_GUARDED.__getitem__)
        fresh = {
            name: label
            for name, label in (meta.labels or {}).items()
            if name not in self.labels or _GUARDED[meta.split] < _GUARDED[self.places[name]]
        }
        if self.labels and fresh:
            self.others.append(meta.source_key)
        self.labels |= fresh
        self.places |= dict.fromkeys(fresh, meta.split)

    def tell(self, row: Row) -> Row:
        self.told = True
        meta = row.metadata
        steps = (*(meta.provenance.processing_steps or ()), *(f"labels joined from {key}" for key in self.others))
        provenance = meta.provenance.model_copy(update={"processing_steps": steps})
        return row.model_copy(
            update={"metadata": meta.model_copy(update={"split": self.split, "labels": self.labels, "provenance": provenance})}
        )


def _turns(row: Row) -> str:
    """Who says what, in order; a content hash knows neither. Blanks and letters' case as there."""
    return digest_json([[turn.role, content_hash([turn.content])] for turn in row.messages])


def _rows(records: Iterator[Converted]) -> Iterator[Row]:
    return (item.outcome for item in records if isinstance(item.outcome, Row))
