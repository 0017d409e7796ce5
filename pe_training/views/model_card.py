"""The model card of a checkpoint, in the format of the Hugging Face Hub, from the same records as the evidence page.

The front matter holds the measures as a ``model-index``, each with its interval and n beside the value, so that a table made from many
cards cannot lose them. Below it, in words: the verdict, what was measured, what was not and why, and where all of it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from huggingface_hub import EvalResult, ModelCardData

from pe_training import __version__
from pe_training.evaluation.record import EvaluationReport, Metric
from pe_training.manifests.schema import Manifest
from pe_training.views import numbers, words
from pe_training.views.evidence import Evidence
from pe_training.views.markdown import cell

PIPELINES = {"causal_lm": "text-generation", "text_classification": "text-classification"}
_CELL = 200


def model_card(evidence: Evidence, said: Sequence[str] = ()) -> str:
    """The card as Markdown. The same evidence always gives the same text."""
    body = "\n\n".join(part for part in _parts(evidence, said) if part)
    return f"---\n{_front_matter(evidence)}\n---\n\n{body}\n"


def _front_matter(e: Evidence) -> str:
    scheme, _, name = e.manifest.spec.model.base.partition(":")
    card = ModelCardData(
        model_name=e.decision.line,
        pipeline_tag=PIPELINES[e.manifest.spec.model_task],
        library_name="peft" if e.checkpoint.format == "peft-adapter" else "transformers",
        base_model=name if scheme == "hub" else None,
        tags=["pe_training"],
        eval_results=list(_results(e.report, task=PIPELINES[e.manifest.spec.model_task])),
    )
    return card.to_yaml()


def _results(report: EvaluationReport, *, task: str) -> Iterator[EvalResult]:
    """What was measured over whole suites. A measure without a value is no result, and stands below in words."""
    for metric in _whole(report):
        if metric.tuned:
            found = metric.tuned
            yield EvalResult(
                task_type=task,
                dataset_type=f"pe-training/{metric.suite}",
                dataset_name=metric.suite,
                dataset_revision=report.suites[metric.suite].digest,
                metric_type=metric.name,
                metric_name=words.measure(metric.name),
                metric_value=found.value,
                metric_args={"low": found.low, "high": found.high, "n": found.n, "method": found.method}
                | ({"examples": found.examples} if found.examples else {})
                | ({"judge": metric.judge} if metric.judge else {}),
            )


def _parts(e: Evidence, said: Sequence[str]) -> Iterator[str]:
    spec = e.manifest.spec
    yield f"# {cell(e.decision.line)}"
    yield (
        f"**{numbers.VERDICT_WORDS[e.decision.verdict]}** under the policy {cell(e.decision.policy_name)}: "
        f"{cell(words.permission(e.decision))}. {cell(words.summary(e.decision), _CELL)}"
    )
    yield "\n".join(f"- {numbers.VERDICT_WORDS[o.verdict]}: {cell(o.reason, 2 * _CELL)}" for o in words.worst_first(e.decision.outcomes))
    if said:
        yield "\n".join(f"- {cell(text, 4 * _CELL)}" for text in said)
    yield "## What it is for"
    yield _use(spec)
    yield "## What was measured"
    yield (
        f"Values with 95 % intervals. {_beside(e.report)} Asked: "
        + ", ".join(cell(words.examples_used(name, use), _CELL) for name, use in e.report.suites.items())
        + "."
    )
    yield _table(e.report)
    unmeasured = [m for m in _whole(e.report) if m.tuned is None]
    if unmeasured:
        yield "## What was not measured"
        yield "\n".join(
            f"- {cell(m.suite)}, {cell(words.measure(m.name), _CELL)}: {cell(m.note or 'insufficient', 2 * _CELL)}" for m in unmeasured
        )
    yield "## Limits"
    yield _limits(e.report)
    yield "## What it learnt from"
    yield _data(e)
    yield "## Proof"
    yield (
        f"- decision `{e.decision.id}`\n- report `{e.report.id}`\n- checkpoint `{e.checkpoint.id}`, weights `{e.checkpoint.weights}`\n"
        f"- run `{e.run.id}`, code `{e.run.code}`\n- dataset `{e.dataset.id}`\n- base model {cell(e.checkpoint.base.ref)}, "
        f"`{e.checkpoint.base.pin}`"
    )
    yield f"`pe verify {e.decision.id}` recomputes every name and digest behind this card. Written by pe_training {__version__}."


def _whole(report: EvaluationReport) -> list[Metric]:
    return [metric for metric in report.metrics if metric.slice == "all" and metric.suite in report.suites]


def _use(spec: Manifest) -> str:
    if spec.model_task == "text_classification":
        what = {"client": "what a client says", "exchange": "a reply together with what it answers", "reply": "a reply"}[
            spec.hyperparameters.reads
        ]
        return f"It reads {what} and gives one of the labels of `{cell(spec.hyperparameters.label or '')}`."
    return (
        "It writes the next turn of a supporting conversation. It is not a clinician and not a crisis service; what it may be used for is "
        "what the stage allows that it was promoted to, with people who watch over it."
    )


def _beside(report: EvaluationReport) -> str:
    others = ["the base model"] if report.baseline == "base_model" else []
    others += [f"the incumbent `{report.incumbent}`"] if report.incumbent else []
    return f"Beside it {' and '.join(others)} answered the same questions." if others else "No other model was asked."


def _table(report: EvaluationReport) -> str:
    held = bool(report.incumbent)
    rows = [
        f"| suite | measure | tuned | base | tuned minus base |{' incumbent | tuned minus incumbent |' if held else ''} n |",
        f"|---|---|---|---|---|{'---|---|' if held else ''}---|",
    ]
    rows += [
        f"| {cell(m.suite)} | {cell(words.measure(m.name), _CELL)} ({words.sense(m)}) | {numbers.estimate(m.tuned, m.unit)} | "
        f"{numbers.estimate(m.base, m.unit)} | {numbers.difference(m.difference, m.unit)} | "
        + (f"{numbers.estimate(m.incumbent, m.unit)} | {numbers.difference(m.over_incumbent, m.unit)} | " if held else "")
        + f"{numbers.units(m.tuned)} |"
        for m in _whole(report)
        if m.tuned
    ]
    return "\n".join(rows)


def _limits(report: EvaluationReport) -> str:
    told = ["An interval says what so many examples support, and nothing about people and situations that no example stands for."]
    if report.calibrations:
        worth = ", ".join(f"{cell(judge, _CELL)} (`{found}`)" for judge, found in report.calibrations.items())
        told.append(f"Replies were judged by {worth}: no clinician read them. How far each judge agrees with people is in its record.")
    return "\n".join(f"- {sentence}" for sentence in told)


def _data(e: Evidence) -> str:
    rows = e.dataset.splits["train"].rows if "train" in e.dataset.splits else 0
    families = ", ".join(f"{cell(family)} {sum(counts.values()):,}" for family, counts in sorted(e.dataset.families.items()))
    licences = ", ".join(f"{cell(tag)} {count:,}" for tag, count in sorted(e.dataset.licenses.items()))
    adapter = e.manifest.spec.model.adapter
    how = f"low-rank adapters (r {adapter.r}) on a frozen base" if adapter else "every weight"
    return (
        f"{numbers.count(rows, 'row')} of {cell(e.dataset.name)} (families: {families}; licences: {licences}). Trained: {how}, "
        f"{cell(e.manifest.spec.task)}, weights of step {e.checkpoint.step:,}; held-out loss {e.checkpoint.val_loss_before:.3f} before and "
        f"{e.checkpoint.val_loss:.3f} after, in nats per target."
    )
