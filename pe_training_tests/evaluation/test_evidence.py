"""Prediction files, the question's digest and the report built from parts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pe_training.core.errors import PeError
from pe_training.core.records import Attachment
from pe_training.evaluation.build import build_report
from pe_training.evaluation.measures import Measure, Row
from pe_training.evaluation.predictions import from_parquet, to_parquet
from pe_training.evaluation.record import EvaluationReport, SuiteUse
from pe_training.evaluation.request import decoding, evaluation_code, evaluation_request
from pe_training.manifests.record import BaseModelPin, ResolvedManifest
from pe_training.manifests.schema import Manifest
from pe_training.training.record import Checkpoint
from pe_training_tests.evaluation import controls

USE = SuiteUse(digest="sha256:1", selection="sha256:2", available=10, used=5)


def manifest(**evaluation: object) -> ResolvedManifest:
    spec = Manifest.model_validate(
        {
            "apiVersion": "pe-training/v1", "name": "line", "task": "causal_lm",
            "dataset": {"name": "sample", "version": "ds_" + "0" * 32}, "model": {"base": "scratch:tiny-llama"},
            "hyperparameters": {"max_steps": 10, "batch_size": 2, "learning_rate": 0.1, "max_length": 64}, "seed": 1,
            "compute": {"instance": "cpu-local", "max_hours": 1.0}, "budget": {"max_cost_usd": 1.0}, "checkpoints": {"every_steps": 5},
            "evaluation": {"suites": ["safety"], **evaluation}, "promotion": {"policy": "staging"},
        }
    )  # fmt: skip
    pin = BaseModelPin(ref="scratch:tiny-llama", pin="sha256:0")
    return ResolvedManifest(spec=spec, base=pin, suites={"safety": "sha256:1"}, policy="sha256:9", inputs=())


def checkpoint(*, step: int) -> Checkpoint:
    return Checkpoint(
        run_id="run_" + "0" * 32, line="line", task="causal_lm", base=BaseModelPin(ref="scratch:tiny-llama", pin="sha256:0"),
        format="full", step=step, weights="sha256:w", val_loss_before=2.0, val_loss=1.0, content_files=(),
    )  # fmt: skip


def test_predictions_survive_the_file_and_the_same_rows_are_the_same_bytes() -> None:
    rows: list[Row] = [
        {"id": "a", "tuned_reply": "Hi \u2603", "score": 1, "harmful": False, "trap": None},
        {"id": "b", "tuned_reply": None, "score": 0.5, "harmful": True, "trap": None},
    ]
    data = to_parquet(rows)
    assert data == to_parquet([dict(reversed(row.items())) for row in rows])
    assert from_parquet(data) == [dict(row) for row in rows]
    assert data != to_parquet(rows[::-1])
    assert from_parquet(to_parquet([])) == []


def test_a_broken_prediction_file_is_corrupt() -> None:
    with pytest.raises(PeError, match="not a Parquet file"):
        from_parquet(b"PAR1 nothing")


def test_the_question_changes_with_everything_that_can_change_an_answer_and_with_nothing_else() -> None:
    def ask(m: ResolvedManifest, step: int = 10) -> str:
        return evaluation_request(checkpoint(step=step), m)

    first = ask(manifest())
    assert ask(manifest()) == first
    others = [
        ask(manifest(), step=20),
        ask(manifest().model_copy(update={"suites": {"safety": "sha256:other"}})),
        ask(manifest(max_new_tokens=12)),
        ask(manifest(batch_size=2)),
        ask(manifest(baseline="none")),
        ask(manifest(max_examples={"safety": 5})),
        ask(manifest(judges=["ck_" + "1" * 32])),
        ask(manifest(llm_judge={"model": "judge", "labels": ["exploration"]})),
        ask(manifest(llm_judge={"model": "other", "labels": ["exploration"]})),
        ask(manifest(llm_judge={"model": "judge", "labels": ["interpretation"]})),
        ask(manifest(incumbent="ck_" + "1" * 32)),
    ]
    assert len({first, *others}) == 12
    other_policy = manifest().model_copy(update={"policy": "sha256:8"})
    assert ask(other_policy) == first
    assert decoding(manifest(max_new_tokens=12)) == {"method": "greedy", "max_new_tokens": 12, "batch_size": 16}


def test_the_question_is_known_without_heavy_libraries() -> None:
    code = (
        "import sys; import pe_training.evaluation.request as r; r.evaluation_code(); "
        "sys.exit(bool({'torch', 'transformers', 'scipy', 'pandas', 'sacrebleu', 'sklearn'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert evaluation_code().startswith("sha256:")


def test_equal_evidence_in_any_order_is_an_equal_report() -> None:
    metrics = [
        Measure(suite="safety", name=name, better="higher", slice=part).rate([True, False], None)
        for name, part in [("b", "k=2"), ("b", "all"), ("a", "all"), ("b", "k=1")]
    ]
    files = [Attachment(path=f"predictions/{n}.parquet", digest="sha256:0", size_bytes=1) for n in "ba"]

    def report(order: int) -> EvaluationReport:
        return build_report(
            checkpoint_id="ck_1", line="line", request="sha256:r", suites={"safety": USE}, decoding={"method": "greedy"}, baseline="none",
            metrics=metrics[::order], predictions=files[::order], calibrations=controls.CALIBRATIONS[::order],
        )  # fmt: skip

    assert report(1).id == report(-1).id
    names = [(m.name, m.slice) for m in report(1).metrics if m.suite == "safety"]
    assert names == [("a", "all"), ("b", "all"), ("b", "k=1"), ("b", "k=2")]
    judged = [m for m in report(1).metrics if m.suite == "judge"]
    assert len(judged) == 3 * 25 + 2 * 3  # graded labels have a rank correlation and macro-F1, too
    assert report(1).judge == "conduct-v1, lexical-v3"
    assert EvaluationReport.from_json(report(1).to_json()) == report(1)
    with pytest.raises(AssertionError):
        build_report(
            checkpoint_id="ck_1", line="line", request="sha256:r", suites={}, decoding={}, baseline="none", metrics=metrics + metrics[:1],
            predictions=[], calibrations=(),
        )  # fmt: skip
