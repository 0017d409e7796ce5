"""Stages as an operator moves them: promoted only with a pass, never skipping, taken back in one step."""

from __future__ import annotations

from pathlib import Path

import pytest

from pe_training_tests.e2e.chain import BRIEF, pe, smoke_with
from pe_training_tests.promotion.people import ONE, WHY, make_world

pytestmark = pytest.mark.slow
RULES = """\
rules:
  - id: held-out-loss
    title: Change of held-out loss against the base model
    suite: accuracy
    metric: loss
    of: difference
    bound: at_most
    threshold: 0.0
    unit: nats
    min_n: 10
"""


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Policies that a tiny model can pass: it must have learnt something. It says nothing yet, so no canary is asked (test_canary.py)."""
    folder = tmp_path_factory.mktemp("policies")
    for stage, below in (("staging", "training"), ("production", "staging")):
        head = f"apiVersion: pe-training/policy-v1\nname: {stage}\nstage: {stage}\nrequires_stage: {below}\ndescription: For a test.\n"
        (folder / f"{stage}.yaml").write_text(f"{head}canary: none\n{RULES}")
    return str(folder)


def test_a_checkpoint_goes_up_stage_by_stage_and_back(ready_home: Path, tmp_path: Path, policies: str) -> None:
    home, variables = ready_home, {"PE_POLICIES": policies, "PE_ACTOR": "the operator"}
    first = pe("run", smoke_with(tmp_path, ("policy: dev", "policy: staging"), *BRIEF), "--json", home=home, **variables).json
    assert _stages(home) == {"training": first["checkpoint"], "staging": first["checkpoint"]}

    dry = pe("promote", first["checkpoint"][:12], "--to", "production", "--dry-run", "--json", home=home, **variables)
    assert dry.json["applied"] is False
    assert "production" not in _stages(home)
    done = pe("promote", first["checkpoint"], "--to", "production", "--reason", "first release", "--json", home=home, **variables)
    assert (done.code, done.json["actor"], done.json["to_id"]) == (0, "the operator", first["checkpoint"])

    beside = ("baseline: base_model", "baseline: base_model\n  incumbent: production")
    path = smoke_with(tmp_path, ("policy: dev", "policy: staging"), *BRIEF, ("learning_rate: 3.0e-3", "learning_rate: 2.0e-3"), beside)
    second = pe("run", path, "--json", home=home, **variables).json
    assert second["checkpoint"] != first["checkpoint"]
    report = pe("show", second["report"], "--json", home=home).json["content"]
    assert report["incumbent"] == first["checkpoint"]
    (loss,) = [m for m in report["metrics"] if m["name"] == "loss"]
    before = pe("show", first["report"], "--json", home=home).json["content"]
    (its_own,) = [m for m in before["metrics"] if m["name"] == "loss"]
    assert loss["incumbent"] == its_own["tuned"]  # asked the same, it says the same
    assert loss["over_incumbent"]["value"] == pytest.approx(loss["tuned"]["value"] - its_own["tuned"]["value"], abs=2e-6)
    page = Path(pe("report", second["decision"], "--json", home=home).json["report_path"]).read_text()
    assert "Against the incumbent" in page
    assert pe("promote", second["checkpoint"], "--to", "production", home=home, **variables).code == 0
    again = pe("promote", second["checkpoint"], "--to", "production", "--json", home=home, **variables)
    assert (again.code, again.json["error"]["kind"]) == (1, "conflict")

    back = pe("rollback", "production", "--line", "smoke", "--reason", "drill", "--json", home=home, **variables)
    assert back.json["to_id"] == first["checkpoint"]
    assert _stages(home)["production"] == first["checkpoint"]
    shown = pe("stages", "--line", "smoke", home=home)
    assert "rollback by the operator: drill" in " ".join(shown.stdout.split())
    assert pe("verify", home=home).code == 0
    _only_with_the_word_of_a_person(home, tmp_path, Path(policies), second["checkpoint"])


def _only_with_the_word_of_a_person(home: Path, folder: Path, policies: Path, checkpoint: str) -> None:
    """The same promotion under a policy that also asks for somebody."""
    world = make_world(folder / "people")
    asked = policies / "production.yaml"
    asked.write_text(asked.read_text() + ONE)
    variables = {"PE_POLICIES": str(policies), "PE_ACTOR": "the operator", "PE_PEOPLE": str(world.folder / "people.yaml")}
    before = _stages(home)
    refused = pe("promote", checkpoint, "--to", "production", "--json", home=home, **variables)
    assert (refused.code, refused.json["error"]["kind"]) == (1, "refused")
    assert "yet: it waits for the approval of clinical_safety (ada or bob)" in refused.json["error"]["message"]
    assert _stages(home) == before
    decision = refused.json["error"]["where"]
    tried = pe("recalls", "--attempts", "--json", home=home).json["attempts"]
    assert [(one["route"], one["subject"], one["actor"]) for one in tried] == [("promotion", checkpoint, "the operator")]
    said = ("approve", decision, "--role", "clinical_safety", "--reason", WHY, "--key", world.key("ada"))
    assert pe(*said, home=home, **variables).code == 0
    assert pe("promote", checkpoint, "--to", "production", home=home, **variables).code == 0
    assert _stages(home)["production"] == checkpoint
    shown = pe("report", decision, home=home, **variables).stdout
    assert "approved by ada (clinical_safety), until " in shown
    assert pe("verify", decision, home=home, **variables).code == 0
    gone = pe("stages", home=home, PE_POLICIES=str(policies)).stdout
    assert "the approval of clinical_safety does not hold: nobody is named who may speak here (PE_PEOPLE)" in " ".join(gone.split())


def test_the_shipped_policies_refuse_the_tiny_model_with_every_reason(finished: tuple[Path, object], own_home: Path) -> None:
    checkpoint = pe("ls", "ck", "--json", home=own_home).json["records"][0]["id"]
    refused = pe("promote", checkpoint, "--to", "staging", home=own_home)
    assert refused.code == 1
    assert "may not enter staging" in refused.stderr
    decision = refused.stderr.partition("`pe show ")[2].partition("`")[0]
    assert "staging judges from 30 examples on" in " ".join(pe("show", decision, home=own_home).stdout.split())


def _stages(home: Path) -> dict[str, str]:
    return {pointer["stage"]: pointer["checkpoint_id"] for pointer in pe("stages", "--json", home=home).json["stages"]}
