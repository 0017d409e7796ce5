"""How far a judge agrees with people, label by label, on replies that it was not made with: the right to be believed, as a record.

A label set is data: a YAML file that says what each label means and how much agreement is asked for, and a JSON Lines file of replies with
the labels that a person saw. Its digests, the judge's and the figures make one record, so another judge, another wording of a label
or another reply is another calibration.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from pe_training.core.config import load_config
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_file
from pe_training.core.records import Frozen
from pe_training.evaluation.examples import Example, Text, read_examples
from pe_training.evaluation.judges import Judge, rules
from pe_training.evaluation.record import Agreement, Estimate, JudgeCalibration
from pe_training.evaluation.resampling import bootstrap
from pe_training.evaluation.statistics import estimate, proportion
from pe_training.settings import SAMPLES
from pe_training.storage.state import State

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LABEL_SETS = SAMPLES / "suites" / "calibration"
MIN_POSITIVES = 5  # replies with a label, and without it: fewer show nothing
_SEED = 1
Share = Annotated[float, Field(ge=0, le=1)]


class LabelMeaning(Frozen):
    """One label: what a person looked for, and how far a judge must agree before it is relied on."""

    means: Text
    min_kappa: Share
    min_recall: Share | None = Field(default=None, description="for labels where a miss can hurt somebody")


class LabelSet(Frozen):
    """``apiVersion: pe-training/label-set-v1``."""

    apiVersion: Literal["pe-training/label-set-v1"]
    name: Text
    judge: Text = Field(description="whose labels these are")
    replies: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*\.jsonl$")]
    judged_on: Literal["all", "even"] = Field(default="all", description="even: only those whose number is even; the others made the judge")
    labels: dict[str, LabelMeaning] = Field(min_length=1)


class LabelledReply(Example):
    """A reply with the labels that a person saw in it; one that is not there was looked for and not seen."""

    context: Literal["crisis", "hard_negative", "ordinary"] | None = None
    reply: Text
    seen: Annotated[tuple[str, ...], Field(strict=False)]

    @model_validator(mode="after")
    def _numbered(self) -> Self:
        if not self.id.rpartition("-")[2].isdigit():
            raise ValueError("id must end in a number, such as reply-017")
        return self


def label_sets(folder: Path = LABEL_SETS) -> dict[str, Path]:
    """Judge -> the file of its label set. Raises input where a file is not one."""
    return {load_config(path, LabelSet).judge: path for path in sorted(folder.glob("*.yaml"))}


def read_labelled(path: Path) -> tuple[LabelSet, tuple[LabelledReply, ...]]:
    """A label set and the replies that a judge is compared on. Raises input as ``file:line``."""
    labels = load_config(path, LabelSet)
    rows = tuple(row for row in read_examples(path.parent / labels.replies, LabelledReply) if isinstance(row, LabelledReply))
    for number, row in enumerate(rows, start=1):
        if stray := sorted(set(row.seen) - labels.labels.keys()):
            where = f"{path.parent / labels.replies}:{number}"
            raise PeError(Kind.INPUT, f"{stray[0]!r} is no label of {path.name}", where=where, hint=f"known: {', '.join(labels.labels)}")
    return labels, rows if labels.judged_on == "all" else tuple(row for row in rows if int(row.id.rpartition("-")[2]) % 2 == 0)


def calibrate(judge: Judge, path: Path) -> JudgeCalibration:
    """Ask a judge about every reply of a label set, twice: as it stands, and set differently."""
    labels, rows = read_labelled(path)
    found = [judge.sees(row.reply) for row in rows]
    same = [seen == judge.sees(_set_differently(row.reply)) for row, seen in zip(rows, found, strict=True)]
    return JudgeCalibration(
        judge=judge.name,
        judge_digest=judge.digest,
        label_set=labels.name,
        rubric_digest=digest_file(path),
        labels_digest=digest_file(path.parent / labels.replies),
        replies=len(rows),
        consistency=proportion(sum(same), len(same)),
        agreements=tuple(
            agreement(label, meaning, mine=[label in seen for seen in found], theirs=[label in row.seen for row in rows])
            for label, meaning in sorted(labels.labels.items())
            if label in judge.labels
        ),
    )


def calibrations(state: State, *, folder: Path = LABEL_SETS) -> tuple[JudgeCalibration, ...]:
    """The calibration of every judge that has a label set, kept as records. The same judge and labels give the same record."""
    paths = label_sets(folder)
    found = tuple(calibrate(judge, paths[judge.name]) for judge in rules() if judge.name in paths)
    for calibration in found:
        state.registry.put(calibration)
    return found


def agreement(label: str, meaning: LabelMeaning, *, mine: Sequence[bool], theirs: Sequence[bool]) -> Agreement:
    """How a judge's verdicts on one label compare with a person's, and why they may not be relied on, if so."""
    hits, positives, called = sum(a and b for a, b in zip(mine, theirs, strict=True)), sum(theirs), sum(mine)
    kappa = cohens_kappa(mine, theirs)
    recall = proportion(hits, positives) if positives else None
    return Agreement(
        label=label,
        n=len(theirs),
        positives=positives,
        kappa=kappa,
        precision=proportion(hits, called) if called else None,
        recall=recall,
        min_kappa=meaning.min_kappa,
        min_recall=meaning.min_recall,
        lapse=_lapse(meaning, kappa=kappa, recall=recall, rarer=min(positives, len(theirs) - positives)),
    )


def cohens_kappa(mine: Sequence[bool], theirs: Sequence[bool]) -> Estimate | None:
    """Agreement beyond chance (Cohen 1960), BCa interval; ``None`` where a person saw the label nowhere, everywhere, or but for one.

    Replies with the label and without it are drawn apart, since whoever wrote them chose how many there are. Half an imagined
    disagreement is added to each where the lower end is drawn: no sample of perfect agreement has one (see ``confusion.py``).
    """
    import numpy as np

    if not 2 <= sum(theirs) <= len(theirs) - 2:
        return None
    cells = np.array([[a and b, a and not b, b and not a, not (a or b)] for a, b in zip(mine, theirs, strict=True)], dtype=np.float64)
    found = bootstrap(cells, _kappa, seed=_SEED, strata=theirs)
    doubts = [[0.0, 0.0, 0.5, 0.0], [0.0, 0.5, 0.0, 0.0]]
    doubted = bootstrap(np.vstack([cells, doubts]), _kappa, seed=_SEED, strata=[*theirs, True, False])
    return estimate(found.value, min(found.low, doubted.low), found.high, n=found.n, method=f"{found.method}-plus-one")


def _kappa(totals: Floats) -> Floats:
    """Of (samples, cells): both, only the first, only the second, neither. 0 where chance alone would agree everywhere."""
    import numpy as np

    both, first, second, neither = totals.T
    n = totals.sum(axis=1)
    chance = ((both + first) * (both + second) + (second + neither) * (first + neither)) / n**2
    return np.where(chance < 1, ((both + neither) / n - chance) / np.where(chance < 1, 1 - chance, 1), 0.0)


def _lapse(meaning: LabelMeaning, *, kappa: Estimate | None, recall: Estimate | None, rarer: int) -> str | None:
    if kappa is None or rarer < MIN_POSITIVES:
        return f"people gave or withheld it {rarer} times, and {MIN_POSITIVES} are needed"
    if kappa.value < meaning.min_kappa:
        return f"kappa {kappa.value:.2f}, and {meaning.min_kappa:.2f} is needed"
    if kappa.low <= 0:
        return f"kappa may be {kappa.low:.2f}: no better than chance"
    if recall is not None and meaning.min_recall is not None and recall.value < meaning.min_recall:
        return f"recall {recall.value:.2f}, and {meaning.min_recall:.2f} is needed"
    return None


def _set_differently(reply: str) -> str:
    """The same words with other blanks, line ends and apostrophes."""
    return "  " + reply.replace(" ", "  ").replace("'", "\u2019").replace(". ", ".\n") + "\n"
