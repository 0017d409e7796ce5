"""`pe sign`: vouch for a model with a key."""

from __future__ import annotations

from typing import Annotated

import typer

from pe_training.cli.output import Answer, AsJson, DryRun, Verbs, answers
from pe_training.cli.state import open_state
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import kind_of


@answers
def sign(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="A checkpoint or an imported model: its id or its beginning.")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Answer:
    """Sign a model's files with the key of PE_SIGNING_KEY, after reading them whole. Signing it twice changes nothing."""
    from pe_training.storage.keys import SIGNING, signing_key
    from pe_training.storage.signatures import sign as sign_with
    from pe_training.training.record import Checkpoint, ImportedModel
    from pe_training.views.layout import facts

    state = open_state()
    whole = state.registry.resolve(identifier)
    models = {model.kind: model for model in (Checkpoint, ImportedModel)}
    if kind_of(whole) not in models:
        raise PeError(Kind.INPUT, f"{identifier} is no model", hint="sign a checkpoint (ck_) or an imported model (im_)")
    key = signing_key(state.settings)
    if key is None:
        raise PeError(Kind.INPUT, "there is no key to sign with", where=SIGNING, hint="set it to the file of a private key in PEM")
    record = state.registry.get(whole, models[kind_of(whole)])
    made = None if dry_run else sign_with(record, key=key, state=state)
    data = {
        "id": whole, "applied": not dry_run, "key": key.fingerprint, "files": [file.path for file in record.files()],
        "signature": made and made.content(),
    }  # fmt: skip
    shown = {
        "signed" if made else "would sign": whole, "files": str(len(record.files())), "key": key.fingerprint,
        "signature": made.path if made else "none was made",
    }  # fmt: skip
    return Answer(data=data, show=lambda: [facts(shown)])


VERBS: Verbs = {"sign": sign}
