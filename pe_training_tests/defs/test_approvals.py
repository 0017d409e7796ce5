"""Approvals in the Dagster UI: the Launchpad takes a seal and no name, the check says who is missing, and the last word moves the stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pe_training.core.errors import Kind, PeError
from pe_training.datasets.gate import attempts
from pe_training.definitions import defs
from pe_training.evaluation.record import EvaluationReport, SuiteUse
from pe_training.evaluation.request import evaluation_request
from pe_training.manifests.resolve import read_manifest, resolve
from pe_training.promotion.approvals import digest_of, draft_approval
from pe_training.promotion.people import read_register
from pe_training.promotion.pointers import current
from pe_training.promotion.seals import sign, speaker_of_key
from pe_training.promotion.standing import standing_of
from pe_training.promotion.statements import spoken_since
from pe_training.training.identity import plan_run
from pe_training.training.record import Checkpoint
from pe_training_tests.e2e.chain import SMOKE
from pe_training_tests.promotion import factory
from pe_training_tests.promotion.people import ASKED, WHY, World, asking, make_world

pytestmark = pytest.mark.filterwarnings("ignore::dagster.PreviewWarning")


@dataclass(frozen=True)
class Place:
    """A home with one candidate whose policy asks for two people, and a Dagster instance."""

    world: World
    partition: str
    report: EvaluationReport
    instance: dg.DagsterInstance

    def run(self, job: str, **options: Any) -> dg.ExecuteInProcessResult:
        """A job, to its end."""
        return defs().resolve_job_def(job).execute_in_process(instance=self.instance, **options)

    def launch(self, decision: str, **given: str) -> dg.ExecuteInProcessResult:
        """What the Launchpad does."""
        config = {"decision": decision, "role": "clinical_safety", "reason": WHY} | given
        return self.run("approve", run_config={"ops": {"approve_decision": {"config": config}}})

    def tick(self, cursor: str | None = None) -> dg.SensorResult:
        """The sensor once."""
        from pe_training.defs.promotion import approved
        from pe_training.defs.resources import Store

        with dg.build_sensor_context(instance=self.instance, cursor=cursor) as context:
            result = approved(context, store=Store())
        assert isinstance(result, dg.SensorResult)
        return result


@pytest.fixture
def place(ready_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "staging.yaml").write_text(asking(ASKED) + "canary: none\n")
    world = make_world(tmp_path, policies=tmp_path / "policies")
    assert world.state.settings.root == ready_home
    for name, value in (("HOME", ready_home), ("PEOPLE", world.folder / "people.yaml"), ("POLICIES", tmp_path / "policies")):
        monkeypatch.setenv(f"PE_{name}", str(value))
    spec = read_manifest(SMOKE)
    spec = spec.model_copy(update={"promotion": spec.promotion.model_copy(update={"policy": "staging"})})
    state = world.state
    manifest = resolve(spec, state=state)
    run = plan_run(manifest)
    weights, history = (
        factory.kept(state, "model.safetensors", b"weights"),
        factory.kept(state, "history.jsonl", b'{"step": 1, "loss": 2.0}\n'),
    )
    checkpoint = Checkpoint(
        run_id=run.id, line=spec.name, task="causal_lm", base=manifest.base, format="full", step=2, weights=weights.digest,
        val_loss_before=3.0, val_loss=2.5, content_files=(weights, history),
    )  # fmt: skip
    suites = {name: SuiteUse(digest=digest, selection=digest, available=9, used=9) for name, digest in manifest.suites.items()}
    report = EvaluationReport(
        checkpoint_id=checkpoint.id, line=spec.name, request=evaluation_request(checkpoint, manifest), suites=suites,
        decoding={"method": "greedy"}, baseline="base_model", judge="rules 1", metrics=factory.excellent(), predictions=(),
    )  # fmt: skip
    for record in (manifest, run, checkpoint, report):
        state.registry.put(record)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("training_run", [manifest.id])
        yield Place(world, manifest.id, report, instance)


def test_from_a_pass_that_waits_to_the_stage_that_its_last_approval_moves(place: Place) -> None:
    world = place.world
    made = place.run("decide", partition_key=place.partition)
    (asset,) = made.asset_materializations_for_node("promotion_decision")
    decision_id = str(asset.metadata["id"].value)
    assert str(asset.metadata["approvals"].value).startswith("**0 of 2 approvals** given")
    check = next(one for one in made.get_asset_check_evaluations() if one.check_name == "approvals")
    assert (check.passed, check.severity, check.metadata["value"].value, check.metadata["threshold"].value) == (
        False, dg.AssetCheckSeverity.WARN, 0, 2,
    )  # fmt: skip
    assert "waits for ada or bob" in str(check.metadata["waits"].value)
    assert [pointer.stage for pointer in current(world.state)] == ["training"]
    assert attempts(world.state)[0].route == "promotion"
    assert (place.tick().run_requests, place.tick().cursor) == ([], None)

    statement = draft_approval(decision_id, person="ada", role="clinical_safety", reason=WHY, state=world.state)
    _, private = speaker_of_key(world.key("ada"), register=read_register(world.folder / "people.yaml"))
    seal = sign(statement, private)
    assert place.launch(decision_id, key=seal.key, signature=seal.signature).success
    first = place.tick()
    assert (first.run_requests, first.cursor) == ([], "1")

    login = draft_approval(decision_id, person="cleo", role="privacy", reason=WHY, state=world.state)
    assert place.launch(decision_id, role="privacy", token=world.provider.token("login-8", digest_of(login))).success
    last = place.tick(first.cursor)
    assert last.cursor == "2"
    (request,) = last.run_requests or []
    assert (request.partition_key, request.run_key) == (place.partition, "approved-2")
    assert [added.partition_keys for added in last.dynamic_partitions_requests or []] == [[place.partition]]

    after = place.run("decide", partition_key=request.partition_key)
    assert next(one for one in after.get_asset_check_evaluations() if one.check_name == "approvals").passed
    assert [pointer.stage for pointer in current(world.state)] == ["training", "staging"]
    assert place.tick("0").run_requests == []


def test_whoever_only_has_the_ui_cannot_speak_for_a_person(place: Place) -> None:
    world = place.world
    decision = factory.judge(place.report.id, manifest_id=place.partition, state=world.state)
    statement = draft_approval(decision.id, person="ada", role="clinical_safety", reason=WHY, state=world.state)
    _, private = speaker_of_key(world.key("ada"), register=read_register(world.folder / "people.yaml"))
    seal = sign(statement, private)
    cases: list[tuple[dict[str, str], str]] = [
        ({}, "a name alone proves nothing: there is no seal"),
        ({"key": seal.key}, "a name alone proves nothing: there is no seal"),
        ({"key": seal.key, "signature": seal.signature, "reason": "another reason than hers"}, "the signature is not of these words"),
        ({"key": seal.key, "signature": seal.signature, "role": "privacy"}, "the signature is not of these words"),
        ({"token": world.provider.token("login-7", "a session")}, "the token was not made for these words"),
    ]
    for given, message in cases:
        with pytest.raises(PeError) as caught:
            place.launch(decision.id, **given)
        assert (caught.value.kind, caught.value.message.removeprefix("nothing is approved: ")) == (Kind.REFUSED, message)
        assert attempts(world.state)[0].route == "approval"
    with pytest.raises(dg.DagsterInvalidConfigError, match="person"):
        place.launch(decision.id, person="ada")
    assert spoken_since(world.state, 0) == []
    assert not standing_of(decision, state=world.state).opens
