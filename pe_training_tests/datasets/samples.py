"""A small correct set of rows that every test of this room starts from, and a fresh state to accept it into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pe_training.datasets.checks import judge
from pe_training.datasets.policy import ReleasePolicy, load_release_policy
from pe_training.datasets.release import Release, read_release
from pe_training.datasets.report import ValidationReport
from pe_training.datasets.suite_prompts import SuitePrompts
from pe_training.datasets.texts.scan import TextScan
from pe_training.settings import SAMPLES, Settings
from pe_training.storage.state import State
from pe_training_tests.releases import build_release, make_row

CANARY = "zanzibar-canary"  # stands in every message: it may reach no report, error or log
PROMPT = "My brother left in spring and since then I lie awake counting every car that passes our house at night."
SUITES = SuitePrompts(prompts={"nights": [PROMPT, "Will you remember me tomorrow?"]}, digests={"nights": "sha256:" + "1" * 64})
NAME, VERSION = "sample-dialogues", "v1.0.0"


def talk(number: int) -> list[tuple[str, str]]:
    """A dialogue of three messages unlike any other number's."""
    return [
        ("system", f"You are a supportive listener who asks one question at a time. {CANARY}"),
        ("user", f"Exam {number} keeps me awake. {CANARY}"),
        ("assistant", f"Exam {number} sounds heavy. What weighs most? {CANARY}"),
    ]


def sample_rows() -> list[dict[str, Any]]:
    """22 train, 2 val and 2 test rows; places are ``train/part-00000.jsonl:1`` and so on."""
    splits = ["train"] * 22 + ["val"] * 2 + ["test"] * 2
    return [
        make_row(talk(i), split=split, quality_score=0.8, bias_flags=[], labels={"crisis": "routine", "turn": i}, group={"age": "18-25"})
        for i, split in enumerate(splits)
    ]


def sample_release(folder: Path, rows: list[dict[str, Any]] | None = None, **options: Any) -> Path:
    """The sample rows as a release at ``folder/NAME/VERSION``; ``options`` go to the builder."""
    name, version = options.pop("name", NAME), options.pop("version", VERSION)
    chosen = sample_rows() if rows is None else rows
    return build_release(folder / name / version, chosen, name=name, version=version, **options)


def fresh_state(folder: Path) -> State:
    """Empty storage."""
    return State(Settings(home=folder))


def shipped_policy(**changes: object) -> ReleasePolicy:
    """The policy that is shipped, with some values changed."""
    return load_release_policy(SAMPLES / "release_policy.yaml").model_copy(update=changes)


def read(folder: Path, policy: ReleasePolicy | None = None, *, suites: SuitePrompts = SUITES) -> Release:
    """A release read as a policy, by default the shipped one, asks."""
    return read_release(folder, scan=TextScan.of(policy or shipped_policy(), suites))


def report_on(folder: Path, policy: ReleasePolicy | None = None, *, suites: SuitePrompts = SUITES) -> ValidationReport:
    """A release judged by a policy, by default the shipped one, as the first of its name."""
    return judge(read(folder, policy, suites=suites), policy or shipped_policy())
