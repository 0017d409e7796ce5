"""Judges that were trained here: classifiers that grade replies in the place of rules, as far as people agree with them.

A judge is compared with people on the test split of the dataset that it learnt from, which acceptance kept apart from its training rows.
One that reads replies alone learnt from utterances that had one label each, where a reply that reflects and then asks has two. So it is
asked about every sentence, and a reply has the highest grade of any. It is compared on whole replies as well (those of the word lists'
label set), since these are what it will be asked about. Nothing of a reply is cut: what is too long for a judge is read piece by piece.
Its answers are kept like those of any model, so that it is asked about a reply once, whatever report counts the grade.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

from pe_training.core.config import load_config
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_file, digest_json, short
from pe_training.datasets.read import read_rows
from pe_training.datasets.record import DatasetVersion
from pe_training.evaluation import conduct
from pe_training.evaluation.agreement import LabelMeaning, agreement
from pe_training.evaluation.answers import AnswerBook
from pe_training.evaluation.calibration import LabelSet, compare, meanings, read_labelled
from pe_training.evaluation.generate import Conversation, answer_all
from pe_training.evaluation.identity import judge_identity
from pe_training.evaluation.judges import Exchange, Grades, Judge, Spoken
from pe_training.evaluation.measures import Replies
from pe_training.evaluation.models import Asker, judge_model
from pe_training.evaluation.probability_scores import label_of
from pe_training.evaluation.record import JudgeCalibration
from pe_training.storage.state import State
from pe_training.training.data import class_of
from pe_training.training.precision import number_format
from pe_training.training.record import Checkpoint, TrainingRun

_AT_ONCE = 32  # answers that one file keeps
Progress = Callable[[str, int, int], None]  # judge, done, total


@contextmanager
def trained_judges(identifiers: Sequence[str], *, state: State, on_progress: Progress | None = None) -> Iterator[tuple[Judge, ...]]:
    """The judges of these checkpoints. Weights are loaded when the first exchange needs them."""
    with ExitStack() as stack:
        yield tuple(stack.enter_context(_judge(identifier, state=state, on_progress=on_progress)) for identifier in identifiers)


@contextmanager
def _judge(identifier: str, *, state: State, on_progress: Progress | None) -> Iterator[Judge]:
    checkpoint = state.registry.get(identifier, Checkpoint)
    run = state.registry.get(checkpoint.run_id, TrainingRun)
    precision = number_format(run.recipe["precision"], hardware=run.hardware)
    name, label = f"{checkpoint.line} {short(checkpoint.id)}", run.recipe["hyperparameters"]["label"]
    with judge_model(checkpoint, run, precision=precision, state=state) as (model, asker):
        book = AnswerBook(judge_identity(checkpoint, run, precision=precision), state)

        def tell(done: int, total: int) -> None:
            if on_progress:
                on_progress(name, done, total)

        def grade(exchanges: Sequence[Exchange]) -> list[Grades]:
            parts = [_parts(one, asker) for one in exchanges]
            questions = [
                asker.label([*one.asked, {"role": "assistant", "content": part}])
                for one, said in zip(exchanges, parts, strict=True)
                for part in said
            ]
            given = iter(answer_all(questions, model=model, book=book, batch_size=_AT_ONCE, on_progress=tell))
            return [{label: max(int(label_of(probabilities)) for probabilities in islice(given, len(said)))} for said in parts]

        digest = digest_json(
            {"checkpoint": checkpoint.id, "reading": [digest_file(path) for path in (Path(__file__), Path(conduct.__file__))]}
        )
        yield Judge(name=name, labels=(label,), digest=digest, grade=grade, checkpoint_id=checkpoint.id)


def _parts(exchange: Exchange, asker: Asker) -> list[str]:
    """What is graded of a reply, each by itself: its sentences, or all of it; in pieces where the judge would not hear all."""
    alone = asker.reads == "reply"
    parts = [sentence for line in exchange.reply.splitlines() for sentence in conduct.sentences(line)] if alone else []
    return [piece for part in parts or [exchange.reply] for piece in _pieces(part, exchange.asked, asker)]


def _pieces(part: str, asked: Conversation, asker: Asker) -> list[str]:
    """``part``, halved between words until the judge hears each piece to its end."""
    words = part.split()
    if len(words) < 2 or asker.hears([*asked, {"role": "assistant", "content": part}]):
        return [part]
    half = len(words) // 2
    return [piece for words in (words[:half], words[half:]) for piece in _pieces(" ".join(words), asked, asker)]


def calibrate_trained(judge: Judge, *, state: State) -> JudgeCalibration:
    """Compare a trained judge with the people who labelled the test split of its dataset. Raises input where the classes are no grades."""
    assert judge.checkpoint_id is not None
    checkpoint = state.registry.get(judge.checkpoint_id, Checkpoint)
    run = state.registry.get(checkpoint.run_id, TrainingRun)
    dataset = state.registry.get(run.dataset_id, DatasetVersion)
    (label,) = judge.labels
    meaning, file = meanings()[label]
    alone = run.recipe["hyperparameters"]["reads"] == "reply"
    meaning = meaning.model_copy(update={"elsewhere": None})  # that is about the judge of the label set
    rows = read_rows(dataset, "test", state=state)
    given = [class_of(row, label) for row in rows]
    if stray := sorted(set(given) - set(map(str, range(meaning.grades + 1)))):
        message = f"{dataset.name} has the class {stray[0]!r}, and {label} is graded 0 to {meaning.grades}"
        raise PeError(
            Kind.INPUT, message, where="evaluation.judges", hint=f"name a judge whose classes are grades as {file.name} means them"
        )
    found = compare(
        judge,
        [Exchange(asked=row.messages[:-1], reply=row.messages[-1]["content"]) for row in rows],
        [{label: int(grade)} for grade in given],
        meanings={label: meaning},
        label_set=f"{dataset.name}, test split",
        rubric_digest=digest_file(file),
        labels_digest=dataset.id if not alone else digest_json({"dataset": dataset.id, "replies": _whole_replies(file)}),
    )
    return _held_to_whole_replies(found, judge, meaning, file) if alone else found


def _whole_replies(file: Path) -> str:
    """The digest of the replies of a label set."""
    return digest_file(file.parent / load_config(file, LabelSet).replies)


def _held_to_whole_replies(found: JudgeCalibration, judge: Judge, meaning: LabelMeaning, file: Path) -> JudgeCalibration:
    """The same, lapsed where the judge does worse than is asked for on the replies of the label set."""
    labels, rows = read_labelled(file, every=True)
    ((label, own),) = [(one.label, one) for one in found.agreements]
    mine = [grades[label] for grades in judge.grade([Exchange(reply=row.reply) for row in rows])]
    whole = agreement(label, meaning, mine=mine, theirs=[row.given().get(label, 0) for row in rows])
    on = f"{len(rows)} whole replies ({labels.name})"
    lapse = own.lapse or (f"{whole.lapse}, on {on}" if whole.lapse else None)
    elsewhere = f"kappa {whole.kappa.value:.2f} on {on}" if whole.kappa else f"too few of {on} have it"
    return found.model_copy(update={"agreements": (own.model_copy(update={"elsewhere": elsewhere, "lapse": lapse}),)})


def heard(conversations: Sequence[Conversation], replies: Replies, judges: Sequence[Judge]) -> list[Spoken]:
    """What judges besides the rules say of every reply, by label. Nothing of a missing reply or an empty one: it is not put to them.

    Empty is what holds no sentence, as for the rules.
    """
    found: list[Spoken] = [{} for _ in replies]
    said = [i for i, reply in enumerate(replies) if reply and conduct.sentences(reply)]
    for judge in judges:
        for i, grades in zip(said, judge.grade([Exchange(asked=conversations[i], reply=replies[i] or "") for i in said]), strict=True):
            found[i] = {**found[i], **{label: grades.get(label) for label in judge.labels}}
    return found
