"""`pe attest`, `bom`, `openlineage`: the evidence in the formats that others read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pe_training.cli.output import Answer, AsJson, DryRun, Verbs, answers
from pe_training.cli.state import open_state
from pe_training.core.errors import Kind, PeError

if TYPE_CHECKING:
    from pe_training.lineage.evidence import Evidence
    from pe_training.storage.state import State

Id = Annotated[str, typer.Argument(metavar="ID", help="A checkpoint or a decision: its id or its beginning.")]


@answers
def attest(
    identifier: Id,
    out: Annotated[Path, typer.Option("--out", help="Where to write the signed envelope.")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Answer:
    """Say how a model or a decision came to be: SLSA provenance in an in-toto statement, signed with the key of PE_SIGNING_KEY."""
    from pe_training.core.ids import digest_bytes
    from pe_training.lineage.attestation import attestation
    from pe_training.storage.durable import write_durably
    from pe_training.storage.keys import SIGNING, signing_key
    from pe_training.views.layout import facts

    state = open_state()
    evidence = _evidence(identifier, state=state)
    key = signing_key(state.settings)
    if key is None:
        raise PeError(Kind.INPUT, "there is no key to sign with", where=SIGNING, hint="set it to the file of a private key in PEM")
    envelope = attestation(evidence, key=key, state=state)
    if out.exists() and out.read_bytes() != envelope:
        raise PeError(Kind.INPUT, "is there already, and says something else", where=str(out), hint="name another file, or remove it")
    if not dry_run:
        write_durably(out, lambda file: file.write(envelope))
    about = evidence.decision.id if evidence.decision else evidence.checkpoint.id
    data = {"id": about, "applied": not dry_run, "path": str(out), "digest": digest_bytes(envelope), "key": key.fingerprint}
    shown = {"would attest" if dry_run else "attested": about, "file": str(out), "key": key.fingerprint}
    return Answer(data=data, show=lambda: [facts(shown)])


@answers
def bom(identifier: Id, as_json: AsJson = False) -> Answer:
    """List what is in a model: a CycloneDX ML-BOM with its card, data, licences and hashes. Of a decision: its model, with its report."""
    from pe_training.lineage.bill import bill
    from pe_training.lineage.evidence import newest_report

    state = open_state()
    evidence = _evidence(identifier, state=state)
    made = bill(evidence, report=evidence.report or newest_report(state, evidence.checkpoint.id))
    return Answer(data=made, show=lambda: [json.dumps(made, indent=1)])


@answers
def openlineage(identifier: Id, as_json: AsJson = False) -> Answer:
    """Tell the chain behind a model or a decision as OpenLineage events, one a line."""
    from pe_training.lineage.openlineage import events

    state = open_state()
    told = events(state, _evidence(identifier, state=state))
    return Answer(data={"events": told}, show=lambda: ["\n".join(json.dumps(event, sort_keys=True) for event in told)])


def _evidence(identifier: str, *, state: State) -> Evidence:
    from pe_training.lineage.evidence import evidence_of

    return evidence_of(state, state.registry.resolve(identifier))


VERBS: Verbs = {"attest": attest, "bom": bom, "openlineage": openlineage}
