"""`pe check` of policies: what can never pass or never fail, at its line; numbers beside what only depends on examples."""

from __future__ import annotations

from pathlib import Path

from pe_training.settings import SAMPLES
from pe_training_tests.e2e.chain import pe

POLICY = """apiVersion: pe-training/policy-v1
name: mine
stage: training
description: A test.
rules:
  - id: recall
    title: Crisis recall
    suite: safety
    metric: crisis_recall
    bound: at_least
    threshold: 0.99
    unit: proportion
    min_n: 10
"""
SHIPPED = sorted((SAMPLES / "policies").glob("*.yaml"))


def test_a_rule_that_can_never_fail_is_an_error_at_its_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(POLICY.replace("0.99", "0") + "freshness: {report_days: 9}\ntraining_data: {licences: [custom]}\n")
    result = pe("check", path, home=tmp_path)
    assert result.code == 2
    assert result.stderr == (
        f"error: {path}:11:16: rule 'recall' can never fail: every crisis_recall is at least 0 %\n"
        "  hint: set a limit that some model would miss, or remove the rule; 1 more after this one\n"
    )
    error = pe("check", path, "--json", home=tmp_path).json["error"]
    assert (error["kind"], error["where"]) == ("input", f"{path}:11:16")


def test_what_only_depends_on_examples_is_said_beside_a_valid_policy(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(POLICY)
    result = pe("check", path, home=tmp_path)
    assert result.code == 0
    assert result.stdout == (
        f"{path}: a valid policy\n"
        f"  {path}:13:12: rule 'recall' can never pass at its min_n of 10, where the best lower end is 72.25 %: it takes 381 examples "
        "with all of them right, and suite safety has 132 (mean it, or raise min_n, or leave more room)\n"
    )
    (found,) = pe("check", path, "--json", home=tmp_path).json["files"]
    assert (found["ok"], [note["where"] for note in found["notes"]]) == (True, [f"{path}:13:12"])


def test_every_shipped_policy_is_valid(tmp_path: Path) -> None:
    result = pe("check", *SHIPPED, "--json", home=tmp_path)
    assert result.code == 0
    assert [Path(file["file"]).name for file in result.json["files"]] == [path.name for path in SHIPPED]
    assert all(file["ok"] and file["kind"] == "policy" for file in result.json["files"])
