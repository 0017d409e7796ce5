"""The exports fit the formats that they claim, say what the records say, and come out the same to the byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.statement import Statement
from openlineage.client.generated import base as openlineage_base
from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet
from openlineage.client.generated.job_type_job import JobTypeJobFacet
from openlineage.client.serde import Serde
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from pe_training.core.errors import Kind, PeError
from pe_training.lineage.attestation import attestation, statement
from pe_training.lineage.bill import bill
from pe_training.lineage.evidence import evidence_of, newest_report
from pe_training.lineage.openlineage import events
from pe_training.settings import Settings
from pe_training.storage.envelopes import problem_of, sealed
from pe_training.storage.keys import signing_key, trusted_keys
from pe_training.storage.state import State
from pe_training_tests.e2e.chain import pe
from pe_training_tests.lineage.proven import Proven, proven
from pe_training_tests.promotion import factory as promotion
from pe_training_tests.storage.test_signatures import key_pair


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Proven:
    folder = tmp_path_factory.mktemp("exported")
    return proven(promotion.new_state(folder / "home"), folder)


def signing(state: State, folder: Path, *, curve: ec.EllipticCurve | None = None) -> tuple[State, Path]:
    """The same home where a key signs, and the key's public half."""
    secret, public = key_pair(folder / "keys", "ours", private=ec.generate_private_key(curve or ec.SECP256R1()))
    return State(Settings(**(state.settings.model_dump() | {"signing_key": secret, "trusted_keys": public}))), public


def both(made: Proven) -> list[str]:
    return [made.chain.checkpoint.id, made.decision.id]


def digests(descriptors: list[dict[str, Any]]) -> set[str]:
    return {"sha256:" + one["digest"]["sha256"] for one in descriptors if "sha256" in one["digest"]}


@pytest.mark.parametrize("which", [0, 1], ids=["a model", "a decision"])
def test_a_statement_fits_in_totos_schema_and_its_predicate_slsas(made: Proven, which: int) -> None:
    said = statement(evidence_of(made.state, both(made)[which]), state=made.state)
    read = Statement.copy_from_pb(json_format.ParseDict(said, Statement([], "", {}).pb))  # refuses a field that the schema has not
    read.validate()
    predicate = json_format.ParseDict(said["predicate"], Provenance())
    assert said["predicateType"] == "https://slsa.dev/provenance/v1"
    assert predicate.build_definition.build_type == f"urn:pe-training:{('training', 'decision')[which]}:v1"
    assert predicate.run_details.metadata.invocation_id == (made.chain.run.id, made.decision.id)[which]
    assert predicate.run_details.metadata.started_on.seconds <= predicate.run_details.metadata.finished_on.seconds
    assert json_format.MessageToDict(predicate) == said["predicate"]  # nothing is lost in the schema's own form


def test_a_models_statement_names_its_files_and_all_its_data(made: Proven) -> None:
    said = statement(evidence_of(made.state, made.chain.checkpoint.id), state=made.state)
    assert digests(said["subject"]) == {file.digest for file in made.chain.checkpoint.files()}
    needed = digests(said["predicate"]["buildDefinition"]["resolvedDependencies"])
    assert {file.digest for file in made.chain.dataset.files()} | {made.chain.checkpoint.base.pin} <= needed
    assert said["predicate"]["buildDefinition"]["externalParameters"]["recipe"] == made.chain.run.recipe


def test_a_decisions_statement_names_the_verdict_the_model_and_the_policy(made: Proven) -> None:
    said = statement(evidence_of(made.state, made.decision.id), state=made.state)
    (subject,) = said["subject"]
    assert (subject["name"], subject["annotations"]["verdict"]) == (made.decision.id, "pass")
    needed = digests(said["predicate"]["buildDefinition"]["resolvedDependencies"])
    assert {made.decision.policy, *(file.digest for file in made.chain.checkpoint.files())} <= needed


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_another_implementation_verifies_the_envelope_with_the_public_key_and_no_other(
    made: Proven, tmp_path: Path, curve: ec.EllipticCurve
) -> None:
    state, public = signing(made.state, tmp_path, curve=curve)
    key = signing_key(state.settings)
    assert key is not None
    data = attestation(evidence_of(state, made.decision.id), key=key, state=state)
    envelope = Envelope.from_dict(json.loads(data))
    theirs = SSlibKey.from_crypto(load_pem_public_key(public.read_bytes()), keyid=key.fingerprint)
    assert list(envelope.verify([theirs], 1)) == [key.fingerprint]
    assert json.loads(envelope.payload) == statement(evidence_of(state, made.decision.id), state=state)
    _, stranger = key_pair(tmp_path / "others", "theirs")
    other = SSlibKey.from_crypto(load_pem_public_key(stranger.read_bytes()), keyid=key.fingerprint)
    with pytest.raises(VerificationError):
        envelope.verify([other], 1)
    envelope.payload += b" "
    with pytest.raises(VerificationError):
        envelope.verify([theirs], 1)


def test_an_envelope_is_the_same_to_the_byte_every_time(made: Proven, tmp_path: Path) -> None:
    state, _ = signing(made.state, tmp_path)
    key = signing_key(state.settings)
    assert key is not None
    for identifier in both(made):
        assert len({attestation(evidence_of(state, identifier), key=key, state=state) for _ in range(3)}) == 1


def test_our_own_reader_refuses_an_envelope_by_what_is_wrong_with_it(made: Proven, tmp_path: Path) -> None:
    state, _ = signing(made.state, tmp_path)
    key, trusted = signing_key(state.settings), trusted_keys(state.settings)
    assert key is not None
    assert trusted is not None
    envelope = sealed(b"text", payload_type="text/plain", key=key)
    ask = {"payload": b"text", "payload_type": "text/plain"}
    assert problem_of(envelope, trusted=trusted, **ask) is None
    assert problem_of(envelope, trusted=trusted, **ask | {"payload": b"test"}) == "it was made for something else"
    assert problem_of(envelope, trusted=trusted, **ask | {"payload_type": "text/html"}) == "it was made for something else"
    assert problem_of(envelope, trusted=(), **ask) == "its key is not trusted here"
    assert problem_of(b"{}", trusted=trusted, **ask) == "it is no signed envelope"
    said = json.loads(envelope)
    said["signatures"][0]["sig"] = "MAYCAQECAQE="
    assert problem_of(json.dumps(said).encode(), trusted=trusted, **ask) == "its signature is not valid"


@pytest.mark.parametrize("which", [0, 1], ids=["a model", "a decision"])
def test_a_bill_of_materials_fits_the_schema_and_comes_out_the_same(made: Proven, which: int) -> None:
    found = evidence_of(made.state, both(made)[which])
    said = bill(found, report=newest_report(made.state, found.checkpoint.id))
    text = json.dumps(said)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert text == json.dumps(bill(evidence_of(made.state, both(made)[which]), report=newest_report(made.state, found.checkpoint.id)))
    broken = said | {"metadata": {"component": {"type": "model", "name": "x"}}}
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(broken)) is not None


def test_a_bill_says_what_is_in_the_model_with_hashes_licences_and_intervals(made: Proven) -> None:
    said = bill(evidence_of(made.state, made.chain.checkpoint.id), report=made.chain.report)
    model, (data, base) = said["metadata"]["component"], said["components"]
    assert (model["type"], model["version"], data["type"], base["type"]) == (
        "machine-learning-model", made.chain.checkpoint.id, "data", "machine-learning-model",
    )  # fmt: skip
    for component, files in ((model, made.chain.checkpoint.files()), (data, made.chain.dataset.files())):
        hashes = {"sha256:" + one["hashes"][0]["content"] for one in component["components"]}
        assert hashes == {file.digest for file in files}
    assert [one["license"]["name"] for one in data["licenses"]] == ["synthetic"]
    figures = {one["type"]: one for one in model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]}
    measured = made.chain.report.metric("safety", "safety_score")
    assert measured is not None
    assert measured.tuned is not None
    assert figures["safety/safety_score"]["confidenceInterval"]["lowerBound"] == repr(measured.tuned.low)
    assert len(figures) == sum(metric.tuned is not None for metric in made.chain.report.metrics)
    assert (
        "quantitativeAnalysis"
        not in bill(evidence_of(made.state, made.chain.checkpoint.id), report=None)["metadata"]["component"]["modelCard"]
    )


def as_openlineage(event: dict[str, Any]) -> dict[str, Any]:
    """An event through the classes that OpenLineage generates from its schemas, which know no other field, and back."""

    def facet(kind: type[Any], said: dict[str, Any]) -> Any:
        made = kind(**{name: value for name, value in said.items() if not name.startswith("_")}, producer=said["_producer"])
        assert made._schemaURL == said["_schemaURL"]
        return made

    def dataset(kind: type[Any], said: dict[str, Any]) -> Any:
        facets = {name: facet({"version": DatasetVersionDatasetFacet}[name], value) for name, value in said["facets"].items()}
        return kind(**said | {"facets": facets})

    job = event["job"] | {
        "facets": {name: facet({"jobType": JobTypeJobFacet}[name], value) for name, value in event["job"]["facets"].items()}
    }
    read = openlineage_base.RunEvent(
        **{name: value for name, value in event.items() if name not in {"schemaURL", "eventType", "run", "job", "inputs", "outputs"}},
        eventType=openlineage_base.EventType(event["eventType"]),
        run=openlineage_base.Run(**event["run"]),
        job=openlineage_base.Job(**job),
        inputs=[dataset(openlineage_base.InputDataset, one) for one in event["inputs"]],
        outputs=[dataset(openlineage_base.OutputDataset, one) for one in event["outputs"]],
    )
    written: dict[str, Any] = json.loads(Serde.to_json(read))
    return written


@pytest.mark.parametrize("which", [0, 1], ids=["a model", "a decision"])
def test_events_fit_openlineages_own_classes_and_come_back_as_they_were(made: Proven, which: int) -> None:
    told = events(made.state, evidence_of(made.state, both(made)[which]))
    for event in told:
        assert as_openlineage(event) == event
    assert told == events(made.state, evidence_of(made.state, both(made)[which]))


def test_events_tell_the_whole_way_from_the_release_to_the_stage_and_join(made: Proven) -> None:
    told = events(made.state, evidence_of(made.state, made.decision.id))
    ends = [event for event in told if event["eventType"] == "COMPLETE"]
    assert [event["job"]["name"].partition(".")[0] for event in ends] == [
        "accept", "training", "evaluation", "decision", "promotion", "promotion",
    ]  # fmt: skip
    assert len({event["run"]["runId"] for event in told}) == len(ends) == len(told) / 2
    made_so_far = {one["name"] for one in ends[0]["inputs"]}
    assert made_so_far == {"release/tiny/v1"}
    for event in ends:
        assert {one["name"] for one in event["inputs"]} <= made_so_far
        made_so_far |= {one["name"] for one in event["outputs"]}
    assert {"stage/empathy/training", "stage/empathy/staging"} <= made_so_far
    assert [event["eventTime"] for event in ends] == sorted(event["eventTime"] for event in ends)


def test_what_is_neither_a_model_nor_a_decision_is_an_input_error(made: Proven) -> None:
    with pytest.raises(PeError) as caught:
        evidence_of(made.state, made.chain.dataset.id)
    assert caught.value.kind == Kind.INPUT
    assert "is neither a model nor a decision" in str(caught.value)


def test_the_verbs_write_what_the_library_makes(made: Proven, tmp_path: Path) -> None:
    state, _ = signing(made.state, tmp_path)
    home, secret = state.settings.root, str(state.settings.signing_key)
    out, identifier = tmp_path / "model.dsse.json", made.chain.checkpoint.id
    unsigned = pe("attest", identifier, "--out", out, "--json", home=home)
    assert (unsigned.code, unsigned.json["error"]["where"]) == (2, "PE_SIGNING_KEY")
    dry = pe("attest", identifier[:12], "--out", out, "--dry-run", "--json", home=home, PE_SIGNING_KEY=secret)
    assert (dry.code, dry.json["applied"], out.exists()) == (0, False, False)
    done = pe("attest", identifier[:12], "--out", out, "--json", home=home, PE_SIGNING_KEY=secret)
    assert (done.code, done.json["applied"], done.json["id"]) == (0, True, identifier)
    key = signing_key(state.settings)
    assert key is not None
    assert out.read_bytes() == attestation(evidence_of(state, identifier), key=key, state=state)
    out.write_text("something else")
    taken = pe("attest", identifier, "--out", out, home=home, PE_SIGNING_KEY=secret)
    assert (taken.code, "is there already, and says something else" in taken.stderr) == (2, True)
    listed = pe("bom", identifier, home=home)
    assert json.loads(listed.stdout) == pe("bom", identifier, "--json", home=home).json
    assert listed.stdout == pe("bom", identifier, home=home).stdout
    told = pe("openlineage", made.decision.id, home=home).stdout.splitlines()
    assert [json.loads(line) for line in told] == pe("openlineage", made.decision.id, "--json", home=home).json["events"]
    assert pe("bom", made.chain.dataset.id, home=home).code == 2
