"""A judge is trained here, speaks in another model's report as far as people agree with it, and its word goes with its data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pe_training.core.config import load_config
from pe_training.evaluation.judges import Exchange
from pe_training.evaluation.predictions import from_parquet
from pe_training.evaluation.record import EvaluationReport, JudgeCalibration
from pe_training.evaluation.trained import trained_judges
from pe_training.manifests.schema import Manifest
from pe_training.settings import SAMPLES, Settings
from pe_training.storage.state import State
from pe_training_tests.e2e.chain import pe, smoke_with

pytestmark = pytest.mark.slow

SOURCE = """\
apiVersion: pe-training/source-v1
name: NAME
version: v1
format: labelled_text
files: FILES
family: mental_health_datasets
license_tag: synthetic
pii_status: none_detected
language: en
purpose: classification
processing_pipeline: by hand
split: {field: split}
"""
THREE = """\
  - {path: exchanges.jsonl, label: exploration}
  - {path: warmth.jsonl, label: emotional_reaction}
  - {path: sense.jsonl, label: interpretation}
repeats: join
"""
ASKS = ("What did you feel when {}?", "How do you feel since {}?", "What went through your mind when {}?", "What do you fear since {}?")
FACTS = ("Where was it that {}?", "Was it on Monday that {}?", "Is it true that {}?", "Did anybody see that {}?")
TELLS = ("So {}.", "It is a pity that {}.", "Then {}, and that was that.", "I read that {}.")
EVENTS = (
    "the bus left without you", "your brother sold the boat", "the letter came back", "nobody rang", "the choir began without you",
    "your manager moved your desk", "the cat did not come home", "your daughter moved out", "the lift stopped between floors",
    "your friend forgot the date", "the garden was flooded", "the neighbours stopped greeting", "the shop closed for good",
    "your son hid the report", "the wedding was called off", "your mother sold the house",
)  # fmt: skip


def exchanges() -> list[dict[str, object]]:
    """Replies of three grades to sixteen events: the first ten to learn from, two to choose weights by, four to be judged on."""
    rows = []
    for number, event in enumerate(EVENTS):
        split = "train" if number < 10 else "val" if number < 12 else "test"
        for grade, patterns in enumerate((TELLS, FACTS, ASKS)):
            rows += [
                {
                    "id": f"{number}-{grade}-{i}",
                    "text": pattern.format(event),
                    "context": f"Yesterday {event}.",
                    "label": grade,
                    "split": split,
                }
                for i, pattern in enumerate(patterns)
            ]
    return rows


def judge_manifest(folder: Path, *, steps: int, name: str = "explorations") -> Path:
    """The sample manifest of a judge, for as many steps as there is time for."""
    text = (SAMPLES / "judges" / f"{name}.yaml").read_text()
    most = load_config(SAMPLES / "judges" / f"{name}.yaml", Manifest).hyperparameters.max_steps
    changes = (
        (f"max_steps: {most}", f"max_steps: {steps}"),
        (f"warmup_steps: {most // 10}", "warmup_steps: 2"),
        (f"every_steps: {most // 4}", f"every_steps: {steps}"),
    )
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path = folder / f"judge-{steps}.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """``(PE_HOME, folder)`` with a judge of explorations in the stage training."""
    folder = tmp_path_factory.mktemp("judges")
    rows = exchanges()
    given = {
        "exchanges": [row["label"] for row in rows],
        "warmth": [2 * ("pity" in str(row["text"])) for row in rows],
        "sense": [int(str(row["text"]).startswith("So ")) for row in rows],
    }
    for name, labels in given.items():
        lines = [json.dumps(row | {"label": label}) + "\n" for row, label in zip(rows, labels, strict=True)]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    (folder / "source.yaml").write_text(SOURCE.replace("NAME", "judge-empathy").replace("FILES\n", f"\n{THREE}"))
    home = folder / "home"
    accepted = pe("dataset", "add", folder / "source.yaml", home=home, PE_RELEASE_POLICY=str(SAMPLES / "judges" / "release_policy.yaml"))
    assert accepted.code == 0, accepted.stdout + accepted.stderr
    ended = pe("run", judge_manifest(folder, steps=40), "--json", home=home)
    assert ended.code in (0, 1), ended.stderr
    return home, folder


def report_with(home: Path, manifest: Path) -> EvaluationReport:
    ended = pe("run", manifest, "--json", home=home)
    assert ended.code in (0, 1), ended.stderr
    state = State(Settings(home=home))
    return state.registry.get(ended.json["report"], EvaluationReport)


def test_a_trained_judge_speaks_for_its_label_and_rules_for_the_others(trained: tuple[Path, Path], tmp_path: Path) -> None:
    home, _ = trained
    state = State(Settings(home=home))
    (judge,) = state.registry.rows("ck")
    suites = ("[accuracy, safety, fairness, therapeutic]", f"[accuracy, therapeutic]\n  judges: [{judge.id}]")
    manifest = smoke_with(tmp_path, suites, (", safety: 24, fairness: 4", ""))
    report = report_with(home, manifest)
    worth = {name: state.registry.get(found, JudgeCalibration) for name, found in (report.calibrations or {}).items()}
    (name,) = set(worth) - {"conduct-v1", "lexical-v3"}
    assert name.startswith("judge-explorations ck_")
    (agreed,) = worth[name].agreements
    assert (worth[name].checkpoint_id, worth[name].replies, agreed.n, agreed.grades) == (judge.id, 48, 48, 2)
    assert agreed.kappa
    assert agreed.kappa.value > 0.6  # it did learn
    assert agreed.lapse is None
    levels = {m.name: m for m in report.metrics if m.name.endswith("_level")}
    assert {name: m.judge for name, m in levels.items()} == {
        "emotional_reaction_level": "lexical-v3", "interpretation_level": "lexical-v3", "exploration_level": name,
    }  # fmt: skip
    (file,) = [file for file in report.predictions if file.path == "therapeutic.parquet"]
    given = [row["tuned_exploration"] for row in from_parquet(state.artifacts.get(file.digest))]
    level = levels["exploration_level"]
    assert level.tuned
    assert level.base
    assert level.tuned.value == pytest.approx(sum(map(int, given)) / len(given))
    kept = {(m.name, m.slice): m for m in report.metrics if m.suite == "judge"}
    assert (kept["kappa", "label=exploration"].note or "").startswith(name)  # in the place of the rules' own agreement
    assert kept["macro_f1", "label=exploration"].tuned == agreed.macro_f1
    asked = ({"role": "user", "content": "Yesterday the shop closed for good."},)
    said = ("Then the shop closed for good, and that was that.", "What did you feel when the shop closed for good?")
    with trained_judges([judge.id], state=state) as (reader,):  # the sample's tiny model says nothing that it could read
        graded = reader.grade([Exchange(asked=asked, reply=reply) for reply in said])
    assert graded == [{"exploration": 0}, {"exploration": 2}]
    shown = pe("show", worth[name].id, home=home).stdout
    assert "judge-empathy, test split" in shown
    assert agreed.macro_f1
    assert f"{agreed.macro_f1.value:.2f} ({agreed.macro_f1.low:.2f} to" in " ".join(shown.split())
    above = pe("trace", report.id, home=home).stdout
    assert "judge-explorations" in above


def test_a_judge_that_people_do_not_agree_with_measures_nothing(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """It reads single replies, learnt next to nothing, and is held to whole replies as well."""
    home, folder = trained
    text = SOURCE.replace("NAME", "judge-open-questions").replace("FILES", "[{path: exchanges.jsonl}]")
    (folder / "questions.yaml").write_text(text + 'label: open_question\nclasses: {"2": 1, "*": 0}\n')
    policy = str(SAMPLES / "judges" / "release_policy.yaml")
    accepted = pe("dataset", "add", folder / "questions.yaml", home=home, PE_RELEASE_POLICY=policy)
    assert accepted.code == 0, accepted.stdout + accepted.stderr
    poor = pe("run", judge_manifest(folder, steps=3, name="open-questions"), "--json", home=home)
    assert poor.code in (0, 1), poor.stderr
    state = State(Settings(home=home))
    checkpoint = poor.json["checkpoint"]
    manifest = smoke_with(
        tmp_path, ("[accuracy, safety, fairness, therapeutic]", f"[accuracy, therapeutic]\n  judges: [{checkpoint}]"),
        (", safety: 24, fairness: 4", ""),
    )  # fmt: skip
    report = report_with(home, manifest)
    rate = report.metric("therapeutic", "open_question_rate")
    assert rate
    assert (rate.tuned, rate.base, rate.difference) == (None, None, None)
    assert rate.note
    assert rate.note.startswith("not measured: judge-open-questions")
    (name,) = [name for name in report.calibrations or {} if name.startswith("judge-open-questions")]
    (agreed,) = state.registry.get((report.calibrations or {})[name], JudgeCalibration).agreements
    assert agreed.lapse
    assert agreed.elsewhere
    assert agreed.elsewhere.endswith("on 120 whole replies (replies)")
    recalled = pe("recall", state.registry.rows("ds", label="judge-open-questions")[0].id, "--reason", "a test", home=home)
    assert recalled.code == 0, recalled.stderr
    shown = pe("show", report.id, home=home).stdout
    assert "recall" in shown.lower()
    refused = pe("run", manifest, home=home)
    assert refused.code == 1
    judged = pe("show", report.id, "--json", home=home).json["content"]["judges"]
    assert judged == [checkpoint]
    alone = smoke_with(
        tmp_path, ("[accuracy, safety, fairness, therapeutic]", "[accuracy, therapeutic]"), (", safety: 24, fairness: 4", "")
    )
    again = pe("run", alone, "--json", home=home)  # the model learnt nothing from the judge, so it goes on without
    assert again.code in (0, 1), again.stderr
    assert again.json["checkpoint"] == report.checkpoint_id
    assert pe("show", again.json["decision"], "--json", home=home).json["recalls"] == []
    assert "recalled data" in refused.stderr + refused.stdout
