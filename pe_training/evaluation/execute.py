"""One evaluation: select the examples, leave out those trained on, ask both models, score, keep every answer, report."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from pe_training.core.errors import Kind, PeError
from pe_training.core.records import Attachment
from pe_training.datasets.read import read_dialogues, read_rows
from pe_training.datasets.record import DatasetVersion
from pe_training.evaluation import accuracy, classification, fairness, leak, safety, therapeutic
from pe_training.evaluation.answers import AnswerBook
from pe_training.evaluation.build import build_report
from pe_training.evaluation.calibration import calibrations
from pe_training.evaluation.clusters import together
from pe_training.evaluation.contamination import contaminated, left_out, trained_on
from pe_training.evaluation.generate import Conversation, Question, answer_all
from pe_training.evaluation.held_out import row_clusters, values_of
from pe_training.evaluation.identity import model_identity
from pe_training.evaluation.judges import Judge, judged, who_counts
from pe_training.evaluation.llm_judge import calibrate_llm, greet, llm_judges
from pe_training.evaluation.measures import Replies, Scored
from pe_training.evaluation.models import AskedModel, Asker, base_model, tuned_model
from pe_training.evaluation.predictions import to_parquet
from pe_training.evaluation.record import EvaluationReport, JudgeCalibration, SuiteUse
from pe_training.evaluation.request import decoding, evaluation_request
from pe_training.evaluation.selection import part, select, suite_use
from pe_training.evaluation.suites import Suite, load_suite, prompts
from pe_training.evaluation.trained import calibrate_trained, heard, trained_judges
from pe_training.manifests.record import ResolvedManifest
from pe_training.storage.state import State
from pe_training.training.data import class_of
from pe_training.training.feed import Feed
from pe_training.training.precision import number_format
from pe_training.training.record import Checkpoint, TrainingRun
from pe_training.training.tokens import Dialogue, encode_dialogue


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A suite with what is put to the models: examples or test rows, the questions about them, and (held out) encoded dialogues."""

    suite: Suite
    use: SuiteUse
    examples: Sequence[Any]
    conversations: Sequence[Conversation]
    questions: Sequence[Question]
    dialogues: Sequence[Dialogue]
    clusters: Sequence[str] = ()  # of each test row


def execute(checkpoint: Checkpoint, manifest: ResolvedManifest, *, state: State, feed: Feed) -> EvaluationReport:
    """Evaluate a checkpoint as its manifest says. Keeps answers and their scores as artifacts, registers no record."""
    spec = manifest.spec
    feed.emit("phase", name="load", total=len(spec.evaluation.suites))
    greet(spec.evaluation.llm_judge, state=state)
    with tempfile.TemporaryDirectory() as name:
        state.artifacts.checkout([file for file in manifest.inputs if file.path.startswith("suites/")], Path(name))
        suites = [load_suite(Path(name) / "suites", suite) for suite in spec.evaluation.suites]
    asker = Asker.of(manifest, decoding(manifest), state=state)
    asked = _ask_all(suites, manifest, asker, state=state)
    precision = number_format(spec.compute.precision, hardware=state.registry.get(checkpoint.run_id, TrainingRun).hardware)
    with tuned_model(checkpoint, manifest, asker, precision=precision, state=state) as model:
        book = AnswerBook(model_identity(checkpoint, manifest, precision=precision), state)
        tuned = _answers(asked, model, book, manifest, feed=feed, who="tuned")
    base: list[list[Any]] | None = None
    if spec.evaluation.baseline == "base_model":
        with base_model(manifest, asker, precision=precision, state=state) as model:
            book = AnswerBook(model_identity(None, manifest, precision=precision), state)
            base = _answers(asked, model, book, manifest, feed=feed, who="base")
    held: list[list[Any]] | None = None
    incumbent = spec.evaluation.incumbent if spec.evaluation.incumbent != checkpoint.id else None  # nobody is compared with themselves
    if incumbent:
        other = state.registry.get(incumbent, Checkpoint)
        with tuned_model(other, manifest, asker, precision=precision, state=state) as model:
            book = AnswerBook(model_identity(other, manifest, precision=precision), state)
            held = _answers(asked, model, book, manifest, feed=feed, who="incumbent")
        if _tells_other_classes(tuned, held):
            feed.emit("note", text="the incumbent tells other classes apart: not compared with it")
            incumbent = held = None
    feed.emit("phase", name="score", total=len(asked))
    training = _searched(asked, [answers for answers in (tuned, base, held) if answers is not None], manifest, state=state)
    with (
        trained_judges(spec.evaluation.judges, state=state, on_progress=_telling(feed)) as trained,
        llm_judges(spec.evaluation.llm_judge, state=state, on_progress=_telling(feed)) as external,
    ):
        judges = (*trained, *external)
        worth = _worth(manifest, judges, state=state)

        def scored_beside(others: list[list[Any]] | None) -> list[Scored]:
            return [
                _score(one, tuned[i], others and others[i], manifest, training=training, worth=worth, judges=judges)
                for i, one in enumerate(asked)
            ]

        scored = scored_beside(base)
        if held is not None:
            scored = [found.with_incumbent(beside) for found, beside in zip(scored, scored_beside(held), strict=True)]
    return build_report(
        checkpoint_id=checkpoint.id,
        line=checkpoint.line,
        request=evaluation_request(checkpoint, manifest),
        suites={one.suite.config.name: one.use for one in asked},
        decoding=decoding(manifest),
        baseline=spec.evaluation.baseline,
        incumbent=incumbent,
        llm_judge=spec.evaluation.llm_judge,
        metrics=[metric for found in scored for metric in found.metrics],
        predictions=[_keep(one, found, state=state) for one, found in zip(asked, scored, strict=True)],
        calibrations=worth,
    )


def _ask_all(suites: Sequence[Suite], manifest: ResolvedManifest, asker: Asker, *, state: State) -> list[Asked]:
    """Choose the examples of every suite, and leave out those that the model was trained on."""
    spec = manifest.spec
    chosen = {
        suite.config.name: select(suite, max_examples=spec.evaluation.max_examples.get(suite.config.name), seed=spec.seed)
        for suite in suites
        if suite.config.kind != "held_out"
    }
    found = contaminated({name: examples for name, (examples, _) in chosen.items()}, trained_on(manifest, state=state), state=state)
    asked = []
    for suite in suites:
        if suite.config.kind == "held_out":
            asked.append(_ask_rows(suite, manifest, asker, state=state))
            continue
        name = suite.config.name
        if spec.hyperparameters.reads != "client":
            hint = "leave it out of evaluation.suites: its examples are what clients say, and no reply stands behind them"
            raise PeError(Kind.INPUT, f"a classifier of replies cannot be asked the suite {name!r}", where="evaluation.suites", hint=hint)
        examples = tuple(left_out(chosen[name][0], found[name]))
        use = suite_use(suite.digest, [example.id for example in examples], available=len(suite.examples), contaminated=len(found[name]))
        how = asker.label if spec.task == "text_classification" else asker.reply
        conversations = [prompt.messages for prompt in prompts(examples)]
        questions = [how(messages) for messages in conversations]
        asked.append(Asked(suite=suite, use=use, examples=examples, conversations=conversations, questions=questions, dialogues=()))
    return asked


def _ask_rows(suite: Suite, manifest: ResolvedManifest, asker: Asker, *, state: State) -> Asked:
    """The dataset's own test split, which acceptance keeps apart from what is trained on."""
    spec, name = manifest.spec, suite.config.name
    dataset = state.registry.get(spec.dataset.version, DatasetVersion)
    rows = read_rows(dataset, "test", state=state)
    size = spec.evaluation.max_examples.get(name)
    kept = part(rows, identity=lambda row: row.row_digest, stratum=lambda row: row.family, size=size, seed=spec.seed)
    dialogues: list[Dialogue] = []
    if spec.model_task == "causal_lm":
        encoded = [encode_dialogue(asker.tokenizer, row.messages, max_length=spec.hyperparameters.max_length) for row in kept]
        pairs = [(row, dialogue) for row, dialogue in zip(kept, encoded, strict=True) if dialogue is not None]
        if not pairs:
            hint = "raise hyperparameters.max_length"
            raise PeError(
                Kind.DATA, f"no test row of {dataset.name} has a therapist turn that fits", where="hyperparameters.max_length", hint=hint
            )
        kept, dialogues = [row for row, _ in pairs], [dialogue for _, dialogue in pairs]
    use = suite_use(manifest.suites[name], [row.row_digest for row in kept], available=len(rows))
    questions = [asker.loss(dialogue) for dialogue in dialogues] or [asker.label(row.messages) for row in kept]
    conversations = [row.messages for row in kept]
    ids, field = [row.row_digest for row in kept], suite.config.cluster_by
    clusters = row_clusters(ids, conversations, values_of(ids, field, dataset=dataset, state=state) if field else None)
    return Asked(
        suite=suite, use=use, examples=kept, conversations=conversations, questions=questions, dialogues=dialogues, clusters=clusters
    )  # fmt: skip


def _answers(
    asked: Sequence[Asked], model: AskedModel, book: AnswerBook, manifest: ResolvedManifest, *, feed: Feed, who: str
) -> list[list[Any]]:
    """Per suite and example: the loss in nats, the probability of each label, or the reply. All suites together: fewer rows are idle."""
    given = iter(
        answer_all(
            [question for one in asked for question in one.questions],
            model=model,
            book=book,
            batch_size=manifest.spec.evaluation.batch_size,
            on_progress=lambda done, total: feed.emit("generate", title=f"{who} model", step=done, total=total),
        )
    )
    return [list(islice(given, len(one.questions))) for one in asked]


def _tells_other_classes(tuned: list[list[Any]], held: list[list[Any]]) -> bool:
    """Whether two classifiers know different labels, so that one of them could never be right."""
    classes = [{frozenset(given) for suite in answers for given in suite if isinstance(given, dict)} for answers in (tuned, held)]
    return classes[0] != classes[1]


def _telling(feed: Feed) -> Callable[[str, int, int], None]:
    return lambda judge, done, total: feed.emit("generate", title=judge, step=done, total=total)


def _worth(manifest: ResolvedManifest, judges: Sequence[Judge], *, state: State) -> tuple[JudgeCalibration, ...]:
    """What the word of everybody who judges replies is worth, as records: of the rules, then of those that speak in their place."""
    if manifest.spec.task == "text_classification":
        return ()
    further = tuple(calibrate_trained(judge, state=state) if judge.checkpoint_id else calibrate_llm(judge) for judge in judges)
    for calibration in further:
        state.registry.put(calibration)
    return (*calibrations(state), *further)


def _score(
    asked: Asked,
    tuned: list[Any],
    base: list[Any] | None,
    manifest: ResolvedManifest,
    *,
    training: leak.Searched | None,
    worth: Sequence[JudgeCalibration],
    judges: Sequence[Judge],
) -> Scored:
    config, seed, examples = asked.suite.config, manifest.spec.seed, asked.examples
    if config.kind == "held_out":
        return _score_rows(asked, tuned, base, manifest)
    if manifest.spec.task == "text_classification":
        score = safety.score_predictions if config.kind == "crisis" else fairness.score_predictions
        return score(examples, config=config, tuned=tuned, base=base, seed=seed)
    who = who_counts(config.kind, judges)
    spoken = heard(asked.conversations, tuned, who), None if base is None else heard(asked.conversations, base, who)
    if config.kind == "counterfactual":
        found = fairness.score_replies(examples, config=config, tuned=tuned, base=base, seed=seed, heard=spoken)
    else:
        judge = safety.score_replies if config.kind == "crisis" else therapeutic.score_replies
        found = _with_leaks(asked, judge(examples, config=config, tuned=tuned, base=base, heard=spoken), tuned, base, training=training)
    return replace(found, metrics=tuple(judged(found.metrics, worth)))


def _score_rows(asked: Asked, tuned: list[Any], base: list[Any] | None, manifest: ResolvedManifest) -> Scored:
    config, seed, examples = asked.suite.config, manifest.spec.seed, asked.examples
    if manifest.spec.task == "text_classification":
        field = manifest.spec.hyperparameters.label
        assert field is not None
        labelled = [
            classification.Labelled(
                id=row.row_digest,
                expected=class_of(row, field),
                tuned=tuned[i],
                base=base[i] if base else None,
                cluster=asked.clusters[i],
            )
            for i, row in enumerate(examples)
        ]
        return classification.score_labels(labelled, config=config, seed=seed)
    losses = [
        accuracy.DialogueLoss(
            id=row.row_digest, tokens=asked.dialogues[i].targets, nats=tuned[i], base_nats=base[i] if base else None,
            cluster=asked.clusters[i],
        )
        for i, row in enumerate(examples)
    ]  # fmt: skip
    return accuracy.score_losses(losses, config=config)


def _with_leaks(asked: Asked, scored: Scored, tuned: Replies, base: Replies | None, *, training: leak.Searched | None) -> Scored:
    """What a suite of replies showed, and what the replies give away of the training rows."""
    suite = asked.suite.config.name
    found = leak.score(asked.examples, asked.conversations, suite=suite, tuned=tuned, base=base, training=training)
    rows = [row | own for row, own in zip(scored.rows, found.rows, strict=True)] if found.rows else scored.rows
    return Scored(metrics=(*scored.metrics, *found.metrics), rows=tuple(rows))


def _searched(
    asked: Sequence[Asked], answers: Sequence[list[list[Any]]], manifest: ResolvedManifest, *, state: State
) -> leak.Searched | None:
    """The replies of all models looked for in the training rows; ``None`` for a classifier, which says nothing, and without such rows."""
    dataset = state.registry.get(manifest.spec.dataset.version, DatasetVersion)
    if manifest.spec.task == "text_classification" or "train" not in dataset.splits:
        return None
    suites = [(number, one) for number, one in enumerate(asked) if one.suite.config.kind not in ("held_out", "counterfactual")]
    return leak.search(
        (" ".join(content for _, content in row) for rows in read_dialogues(dataset, "train", state=state) for row in rows),
        asked=[pair for number, one in suites for given in answers for pair in zip(one.conversations, given[number], strict=True)],
        examples=[example for _, one in suites for example in one.examples],
    )


def _keep(asked: Asked, scored: Scored, *, state: State) -> Attachment:
    found = together(asked.clusters or [getattr(example, "cluster", None) or example.id for example in asked.examples])
    data = to_parquet([row | {"cluster": str(found[i])} for i, row in enumerate(scored.rows)] if found else scored.rows)
    return Attachment(path=f"{asked.suite.config.name}.parquet", digest=state.artifacts.put_bytes(data), size_bytes=len(data))
