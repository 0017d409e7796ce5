"""What audits have seen, kept outside the registry: who rewrites the whole chain, or cuts off its end, must reach these too.

An anchor is a small file beside the registry and the same bytes in the artifact store. Its name is the digest of its content, it
names the anchor before it, and where this machine signs it lies in a signed envelope as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pe_training.core.clock import now, stamp
from pe_training.core.errors import PeError
from pe_training.core.ids import canonical_json, digest_bytes
from pe_training.core.records import Frozen
from pe_training.lineage.check import Check
from pe_training.lineage.ledger import entry_at
from pe_training.storage.durable import write_durably
from pe_training.storage.envelopes import problem_of, sealed
from pe_training.storage.keys import signing_key, trusted_keys
from pe_training.storage.ledger import Head
from pe_training.storage.state import State

PAYLOAD_TYPE = "application/vnd.pe-training.ledger-anchor+json"


class Anchor(Frozen):
    """The end of the chain when everything was found whole, and what was read to say so."""

    seq: int
    hash: str
    at: str
    records: int
    files: int
    previous: str | None = None  # digest of the anchor before

    @property
    def head(self) -> Head:
        """The entry that it saw last."""
        return Head(seq=self.seq, hash=self.hash)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An anchor where it lies. ``anchor`` is ``None`` where the file is none."""

    path: Path
    data: bytes
    anchor: Anchor | None

    @property
    def digest(self) -> str:
        """Of the bytes as they are."""
        return digest_bytes(self.data)

    @property
    def named(self) -> str:
        """The digest that the file's name says."""
        return "sha256:" + self.path.stem.rpartition("-")[2]


def anchors(state: State) -> list[Kept]:
    """All anchors of this home, oldest first."""
    return [_kept(path) for path in sorted(_folder(state).glob("*.json")) if not path.name.endswith(".dsse.json")]


def put_anchor(state: State, head: Head, *, records: int, files: int) -> Path:
    """Anchor the end of the chain: the one there is where nothing was written since, else a new one."""
    before = anchors(state)
    last = before[-1] if before else None
    if last is not None and last.anchor is not None and last.anchor.head == head:
        return last.path
    made = Anchor(
        seq=head.seq, hash=head.hash, at=stamp(now()), records=records, files=files, previous=last.digest if last else None
    )  # fmt: skip
    data = canonical_json(made.content())
    digest = state.artifacts.put_bytes(data)
    path = _folder(state) / f"{head.seq:012d}-{digest.removeprefix('sha256:')}.json"
    if key := signing_key(state.settings):
        envelope = sealed(data, payload_type=PAYLOAD_TYPE, key=key)
        write_durably(_envelope(path), lambda file: file.write(envelope), mode=0o444)
    write_durably(path, lambda file: file.write(data), mode=0o444)
    return path


def check_anchors(state: State) -> list[Check]:
    """One comparison for each anchor and what it says about itself, the one before it, and the ledger."""
    previous, checks = None, list[Check]()
    for kept in anchors(state):
        problems = "; ".join(_problems(state, kept, previous))
        checks.append(Check(record_id="ledger", what="anchor", name=kept.path.name, place=str(kept.path), problem=problems or None))
        previous = kept
    return checks


def _problems(state: State, kept: Kept, previous: Kept | None) -> Iterator[str]:
    if kept.digest != kept.named or kept.anchor is None:
        yield "the file was changed: its name is not the digest of its content"
        return
    try:
        state.artifacts.verify(kept.digest)
    except PeError as error:
        yield f"its copy in the store: {error.message}"
    if kept.anchor.previous != (previous.named if previous else None):
        yield "the anchor before it is not the one that it names"
    seen = entry_at(state, kept.anchor.seq)
    if seen is None:
        yield f"it saw {kept.anchor.seq} entries, and the ledger has no entry of that number: its end is gone"
    elif seen != kept.anchor.head:
        yield f"it saw another entry {kept.anchor.seq}: the ledger was written anew"
    yield from _unsigned(state, kept)


def _unsigned(state: State, kept: Kept) -> Iterator[str]:
    """Where this machine trusts certain keys, one of them must have signed."""
    trusted, path = trusted_keys(state.settings), _envelope(kept.path)
    if trusted is None:
        return
    if not path.exists():
        yield "no trusted key has signed it"
    elif problem := problem_of(path.read_bytes(), payload=kept.data, payload_type=PAYLOAD_TYPE, trusted=trusted):
        yield f"its signature: {problem}"


def _kept(path: Path) -> Kept:
    data = path.read_bytes()
    try:
        return Kept(path=path, data=data, anchor=Anchor.model_validate_json(data))
    except ValueError:
        return Kept(path=path, data=data, anchor=None)


def _folder(state: State) -> Path:
    return state.settings.root / "audits"


def _envelope(path: Path) -> Path:
    return path.with_suffix(".dsse.json")
