"""How a model or a verdict came to be, for others to check: an in-toto statement with SLSA provenance, version 1, signed.

The statement is about files by their digests, and about records by the digest of their text. What it says follows from records
that are there, so that it comes out the same to the byte whenever it is asked for.
Sources: in-toto Attestation Framework, Statement v1; SLSA, Provenance v1.
"""

from __future__ import annotations

from typing import Any

from pe_training.core.ids import canonical_json
from pe_training.lineage.evidence import PRODUCER, Evidence, hex_of, pinned, stored_at, text_digest, uri, weights_of
from pe_training.promotion.record import PromotionDecision
from pe_training.storage.envelopes import sealed
from pe_training.storage.keys import Key
from pe_training.storage.state import State

PAYLOAD_TYPE = "application/vnd.in-toto+json"


def attestation(evidence: Evidence, *, key: Key, state: State) -> bytes:
    """The signed envelope."""
    return sealed(canonical_json(statement(evidence, state=state)), payload_type=PAYLOAD_TYPE, key=key)


def statement(evidence: Evidence, *, state: State) -> dict[str, Any]:
    """The statement that is signed: of a decision where the evidence is for one, else of the model."""
    subject, predicate = _decided(evidence, evidence.decision, state=state) if evidence.decision else _trained(evidence)
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": predicate,
    }


def _trained(evidence: Evidence) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    run, checkpoint = evidence.run, evidence.checkpoint
    return weights_of(checkpoint.content_files), {
        "buildDefinition": {
            "buildType": f"{PRODUCER}:training:v1",
            "externalParameters": {"line": run.line, "recipe": run.recipe},
            "internalParameters": {"hardware": run.hardware.content()},
            "resolvedDependencies": [
                *_data(evidence),
                {"name": "base model", "uri": f"{PRODUCER}:base:{checkpoint.base.ref}", "digest": pinned(checkpoint.base)},
            ],
        },
        "runDetails": {
            "builder": {
                "id": f"{PRODUCER}:trainer",
                "builderDependencies": [{"name": "training code and its libraries", "digest": {"sha256": hex_of(run.code)}}],
            },
            "metadata": {"invocationId": run.id, "startedOn": evidence.began, "finishedOn": evidence.ended},
        },
    }


def _decided(evidence: Evidence, decision: PromotionDecision, *, state: State) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    assert evidence.report is not None
    assert evidence.manifest is not None
    at = stored_at(state, decision.id)
    about = {"verdict": decision.verdict, "stage": decision.stage, "line": decision.line}
    subject = {"name": decision.id, "uri": uri(decision.id), "digest": {"sha256": text_digest(decision)}, "annotations": about}
    rest = (evidence.report, evidence.manifest)
    return [subject], {
        "buildDefinition": {
            "buildType": f"{PRODUCER}:decision:v1",
            "externalParameters": {"policy": decision.policy_name, "stage": decision.stage},
            "internalParameters": {"evidence": decision.evidence},
            "resolvedDependencies": [
                *weights_of(evidence.checkpoint.content_files),
                *({"name": record.id, "uri": uri(record.id), "digest": {"sha256": text_digest(record)}} for record in rest),
                *weights_of(evidence.manifest.inputs),
                *_data(evidence),
            ],
        },
        "runDetails": {
            "builder": {"id": f"{PRODUCER}:judge"},
            "metadata": {"invocationId": decision.id, "startedOn": at, "finishedOn": at},
        },
    }


def _data(evidence: Evidence) -> list[dict[str, Any]]:
    """The dataset version, and the shards in which its rows lie."""
    dataset = evidence.dataset
    named = {"name": dataset.name, "uri": uri(dataset.id), "digest": {"sha256": text_digest(dataset)}}
    return [named, *weights_of(tuple(dataset.files()))]
