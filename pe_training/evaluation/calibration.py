"""How far a judge agrees with people, label by label, on replies that it was not made with: the right to be believed, as a record.

A label set is data: a YAML file that says what each label means and how much agreement is asked for, and a JSON Lines file of replies with
the labels that a person saw. Its digests, the judge's and the figures make one record, so another judge, another wording of a label
or another reply is another calibration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pe_training.core.config import load_config
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_file
from pe_training.core.records import Frozen
from pe_training.evaluation.agreement import LabelMeaning, agreement
from pe_training.evaluation.examples import Example, Text, read_examples
from pe_training.evaluation.judges import Exchange, Grades, Judge, rules
from pe_training.evaluation.record import Agreement, JudgeCalibration
from pe_training.evaluation.statistics import proportion
from pe_training.settings import SAMPLES
from pe_training.storage.state import State
from pe_training.storage.taints import taints_in

_NEWEST = 200  # calibrations that are looked at for those of judges that speak now
_FURTHER = re.compile(r"(\S+) ck_|(llm \S+)")  # a line and its checkpoint, or a model at an endpoint
LABEL_SETS = SAMPLES / "suites" / "calibration"


class LabelSet(Frozen):
    """``apiVersion: pe-training/label-set-v1``."""

    apiVersion: Literal["pe-training/label-set-v1"]
    name: Text
    judge: Text = Field(description="whose labels these are")
    replies: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*\.jsonl$")]
    judged_on: Literal["all", "even"] = Field(default="all", description="even: only those whose number is even; the others made the judge")
    labels: dict[str, LabelMeaning] = Field(min_length=1)


class LabelledReply(Example):
    """A reply with the labels that a person saw in it; one that is not there was looked for and not seen. Some labels are graded."""

    context: Literal["crisis", "hard_negative", "ordinary"] | None = None
    reply: Text
    seen: Annotated[tuple[str, ...], Field(strict=False)]
    grades: dict[str, Annotated[int, Field(ge=0)]] = Field(default={})

    @model_validator(mode="after")
    def _numbered(self) -> Self:
        if not self.id.rpartition("-")[2].isdigit():
            raise ValueError("id must end in a number, such as reply-017")
        return self

    def given(self) -> Grades:
        """Label -> the grade that the person gave."""
        return {**dict.fromkeys(self.seen, 1), **self.grades}


def label_sets(folder: Path = LABEL_SETS) -> dict[str, Path]:
    """Judge -> the file of its label set. Raises input where a file is not one."""
    return {load_config(path, LabelSet).judge: path for path in sorted(folder.glob("*.yaml"))}


def meanings(folder: Path = LABEL_SETS) -> dict[str, tuple[LabelMeaning, Path]]:
    """Label -> what it means, and the file that says so."""
    return {label: (meaning, path) for path in label_sets(folder).values() for label, meaning in load_config(path, LabelSet).labels.items()}


def read_labelled(path: Path, *, every: bool = False) -> tuple[LabelSet, tuple[LabelledReply, ...]]:
    """A label set and the replies that a judge is compared on. Raises input as ``file:line``.

    ``every``: those that the judge of the label set was made with, too, for another judge.
    """
    labels = load_config(path, LabelSet)
    file = path.parent / labels.replies
    rows = tuple(row for row in read_examples(file, LabelledReply) if isinstance(row, LabelledReply))
    for number, row in enumerate(rows, start=1):
        ungraded = [label for label, meaning in labels.labels.items() if meaning.grades > 1 and label not in row.grades]
        if ungraded:
            hint = "0 where a person did not see it"
            raise PeError(Kind.INPUT, f"{ungraded[0]!r} has no grade", where=f"{file}:{number}", hint=hint)
        for label, grade in row.given().items():
            if label not in labels.labels:
                hint = f"known: {', '.join(labels.labels)}"
                raise PeError(Kind.INPUT, f"{label!r} is no label of {path.name}", where=f"{file}:{number}", hint=hint)
            if grade > labels.labels[label].grades:
                hint = f"{path.name} says that its highest grade is {labels.labels[label].grades}"
                raise PeError(Kind.INPUT, f"{label!r} has the grade {grade}", where=f"{file}:{number}", hint=hint)
    return labels, rows if every or labels.judged_on == "all" else tuple(row for row in rows if int(row.id.rpartition("-")[2]) % 2 == 0)


def calibrate(judge: Judge, path: Path) -> JudgeCalibration:
    """Ask a judge about every reply of a label set."""
    labels, rows = read_labelled(path)
    return compare(
        judge,
        [Exchange(reply=row.reply) for row in rows],
        [row.given() for row in rows],
        meanings={label: meaning for label, meaning in labels.labels.items() if label in judge.labels},
        label_set=labels.name,
        rubric_digest=digest_file(path),
        labels_digest=digest_file(path.parent / labels.replies),
    )


def compare(
    judge: Judge,
    exchanges: Sequence[Exchange],
    given: Sequence[Grades],
    *,
    meanings: Mapping[str, LabelMeaning],
    label_set: str,
    rubric_digest: str,
    labels_digest: str,
) -> JudgeCalibration:
    """A judge's grades of replies beside those that people gave, asked twice: as they stand, and set differently.

    What a person did not name was looked for and not seen. A label of which a judge gave no grade somewhere may not be relied on: the
    grades that it did give are not those of a fair sample.
    """
    found = judge.grade(exchanges)
    again = judge.grade([Exchange(asked=one.asked, reply=_set_differently(one.reply)) for one in exchanges])
    return JudgeCalibration(
        judge=judge.name,
        judge_digest=judge.digest,
        checkpoint_id=judge.checkpoint_id,
        label_set=label_set,
        rubric_digest=rubric_digest,
        labels_digest=labels_digest,
        replies=len(exchanges),
        consistency=proportion(sum(bool(one) and one == other for one, other in zip(found, again, strict=True)), len(found)),
        agreements=tuple(_agreement(label, meaning, found, given) for label, meaning in sorted(meanings.items())),
    )


def _agreement(label: str, meaning: LabelMeaning, found: Sequence[Grades], given: Sequence[Grades]) -> Agreement:
    graded = [(one[label], other.get(label, 0)) for one, other in zip(found, given, strict=True) if label in one]
    agreed = agreement(label, meaning, mine=[mine for mine, _ in graded], theirs=[theirs for _, theirs in graded])
    missing = len(found) - len(graded)
    return agreed.model_copy(update={"lapse": f"no grade of {missing} of {len(found)} replies"}) if missing else agreed


def calibrations(state: State, *, folder: Path = LABEL_SETS) -> tuple[JudgeCalibration, ...]:
    """The calibration of every rule that has a label set, kept as records. The same judge and labels give the same record."""
    paths = label_sets(folder)
    found = tuple(calibrate(judge, paths[judge.name]) for judge in rules() if judge.name in paths)
    for calibration in found:
        state.registry.put(calibration)
    return found


def further_calibrations(state: State) -> tuple[JudgeCalibration, ...]:
    """Of the newest calibrations of judges but the word lists, the last of each line, by name.

    They are made where a judge speaks (``trained.py``, ``llm_judge.py``); one that was trained anew, or serves another model now, takes the
    place of the one before. One whose judge is recalled is left out, since it may not speak, and so are word lists of an older version.
    """
    newest: dict[str, str] = {}  # line, or the name of a model at an endpoint
    for row in state.registry.rows(JudgeCalibration.kind, limit=_NEWEST):
        if named := _FURTHER.match(row.label):
            newest.setdefault(named[1] or named[2], row.id)
    with state.registry.reading() as connection:
        held = [identifier for _, identifier in sorted(newest.items()) if not taints_in(connection, identifier)]
    return tuple(state.registry.get(identifier, JudgeCalibration) for identifier in held)


def _set_differently(reply: str) -> str:
    """The same words with other blanks, line ends and apostrophes."""
    return "  " + reply.replace(" ", "  ").replace("'", "\u2019").replace(". ", ".\n") + "\n"
