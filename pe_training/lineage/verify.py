"""Proof that a record and everything behind it still is what it was: names, files, links, rows and verdicts.

The predecessor loaded a corrupt registry as an empty one and saved over it. So this reads bytes and recomputes digests, and
believes no column: each check compares two things that were written separately. It never stops at the first damage, since the
question after "is it broken" is "what else is".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import sqlalchemy as sa

from pe_training.core.errors import PeError
from pe_training.core.ids import KINDS, digest_file, is_digest, kind_of, short
from pe_training.core.records import Attachment, Record
from pe_training.datasets.read import verify_dataset
from pe_training.datasets.record import DatasetVersion
from pe_training.evaluation.record import EvaluationReport, JudgeCalibration
from pe_training.lineage.check import Check, Verification
from pe_training.lineage.trace import release_query
from pe_training.manifests.record import ResolvedManifest
from pe_training.promotion.record import EVIDENCE_PAGE, PromotionDecision
from pe_training.promotion.standing import damage
from pe_training.promotion.verdict import require_follows
from pe_training.storage import tables as t
from pe_training.storage.keys import trusted_keys
from pe_training.storage.registry import parse_record
from pe_training.storage.signatures import judged
from pe_training.storage.state import State
from pe_training.training.record import Checkpoint, ImportedModel, TrainingRun

MODELS: dict[str, type[Record]] = {
    model.kind: model
    for model in (
        DatasetVersion, ResolvedManifest, TrainingRun, Checkpoint, ImportedModel, JudgeCalibration, EvaluationReport, PromotionDecision,
    )
}  # fmt: skip
PAGE_RECORDS = 200


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """One row of the table of records, believed in nothing."""

    kind: str
    key: str | None
    label: str
    body: str


@dataclass
class _Seen:
    """Objects read in this verification: digest -> (place, problem). Records share files, and reading is what costs."""

    objects: dict[str, tuple[str, str | None]] = field(default_factory=dict)


def verify(state: State, identifier: str) -> Verification:
    """Check a record and everything up its lineage, by its links and by its own content. Raises not_found for the id itself."""
    state.registry.body(identifier)
    seen, waiting, done, checks = _Seen(), [identifier], set[str](), list[Check]()
    while waiting:
        one = waiting.pop(0)  # near ones first, so that the first finding is the one nearest to what was asked for
        if one in done:
            continue
        done.add(one)
        found, parents = _verify_one(state, one, seen)
        checks += found
        waiting += parents
    return Verification(records=len(done), compared=len(checks), checks=tuple(checks), objects=len(seen.objects))


def verify_all(state: State) -> Verification:
    """Check every record of the registry, a page at a time, and links and files of records that are not there."""
    seen, records, compared, findings = _Seen(), 0, 0, list[Check]()
    for identifier in _all_ids(state):
        found, _ = _verify_one(state, identifier, seen)
        records, compared = records + 1, compared + len(found)
        findings += [check for check in found if check.problem is not None]
    findings += _strays(state)
    refused = [_file(state, file.path, file, seen) for file in _refusals(state)]
    findings += [check for check in refused if check.problem is not None]
    compared += len(refused)
    return Verification(records=records, compared=compared, checks=tuple(findings), objects=len(seen.objects))


def _verify_one(state: State, identifier: str, seen: _Seen) -> tuple[list[Check], list[str]]:
    """Checks of one record, and the ids of its parents by links and content."""
    linked = state.registry.parents(identifier)
    columns = _columns(state, identifier)
    if columns is None:
        return [_absent(identifier)], list(linked.values())
    listed = {file.path: file for file in state.registry.attachments(identifier)}
    checks = [_file(state, identifier, file, seen) for file in listed.values()]
    record, content = _content(identifier, columns.body)
    checks.append(content)
    if record is None:
        return checks, list(linked.values())
    checks += [_agree(record, identifier, columns), *_listing(record, identifier, listed, state, seen), *_links(record, identifier, linked)]
    if content.problem is not None:
        return checks, [*linked.values(), *record.parents().values()]  # what else it claims is not worth deriving
    if isinstance(record, DatasetVersion):
        checks += [_file(state, identifier, file, seen) for file in _validation_reports(state, record)]
        checks.append(_caught(identifier, "rows", "data", lambda: verify_dataset(record, state=state)))
    if isinstance(record, Checkpoint | ImportedModel):
        checks += _signatures(record, state)
    if isinstance(record, PromotionDecision):
        checks += _page(state, identifier, listed)
        checks.append(_caught(identifier, "verdict", "records", lambda: require_follows(record, state=state)))
        said = damage(record, state=state)
        checks += [Check(record_id=identifier, what="statement", name=name, place="statements", problem=told) for name, told in said]
    return checks, [*linked.values(), *record.parents().values()]


def _signatures(record: Record, state: State) -> Iterator[Check]:
    """Who vouches for a model. Without trusted keys nobody can say, so nothing is compared."""
    trusted = trusted_keys(state.settings)
    if trusted is None:
        return
    found = [one for one in judged(record.id, record.files(), trusted=trusted, state=state) if one.trusted]
    for one in found:
        yield Check(record_id=record.id, what="signature", name=one.path, place=one.digest, problem=one.problem)
    if not found:
        yield Check(record_id=record.id, what="signature", name="", place="attachments", problem="no trusted key has signed it")


def _page(state: State, identifier: str, listed: dict[str, Attachment]) -> Iterator[Check]:
    """The evidence page where people open it, which is a copy of the artifact."""
    path, kept = state.settings.report_page(identifier), listed.get(EVIDENCE_PAGE)
    if path.exists():
        same = kept is not None and digest_file(path) == kept.digest
        problem = None if same else "is not the page that was rendered; remove it and `pe report` lays it out again"
        yield Check(record_id=identifier, what="file", name=path.name, place=str(path), problem=problem)


def _caught(identifier: str, what: str, place: str, prove: Callable[[], object]) -> Check:
    """A proof that another room makes by raising."""
    try:
        prove()
    except PeError as error:
        return Check(record_id=identifier, what=what, name="", place=error.where or place, problem=error.message)
    except Exception as error:  # noqa: BLE001 - damage may break any reader; it is a finding and must not hide the others
        return Check(record_id=identifier, what=what, name="", place=place, problem=f"cannot be read ({type(error).__name__})")
    return Check(record_id=identifier, what=what, name="", place=place)


def _content(identifier: str, body: str) -> tuple[Record | None, Check]:
    """The record that the stored text says, and whether its id is the digest of it."""
    problem, record, model = None, None, MODELS.get(kind_of(identifier))
    if model is None:
        problem = f"has no known kind (known: {', '.join(MODELS)})"
    else:
        try:
            record = parse_record(body, model, where=identifier)
        except PeError:
            problem = f"its stored text is not a {KINDS[model.kind]}"
    if record is not None and record.id != identifier:
        problem = f"its content has the id {record.id}: the stored text was changed"
    elif record is not None and record.to_json() != body:
        problem = "its stored text is not the canonical text of its content"
    return record, Check(record_id=identifier, what="content", name="", place="records.body", problem=problem)


def _agree(record: Record, identifier: str, columns: _Columns) -> Check:
    """The columns that lists and write-once answers go by, against the content."""
    stored, said = (columns.kind, columns.key, columns.label), (record.kind, record.key(), record.label())
    wrong = [name for name, a, b in zip(("kind", "key", "label"), stored, said, strict=True) if a != b]
    problem = f"column {' and '.join(wrong)} differs from the content" if wrong else None
    return Check(record_id=identifier, what="columns", name="", place="records", problem=problem)


def _listing(record: Record, identifier: str, listed: dict[str, Attachment], state: State, seen: _Seen) -> Iterator[Check]:
    """The record's own list of files against the table. The table may hold more: files can be tied to a record later."""
    for file in record.files():
        row, problem = listed.get(file.path), None
        if row is None:
            problem = "the record names this file and the table does not"
            yield _file(state, identifier, file, seen)
        elif row != file:
            problem = f"the record says {short(file.digest)} of {file.size_bytes} bytes, the table {short(row.digest)} of {row.size_bytes}"
            if row.digest != file.digest:
                yield _file(state, identifier, file, seen)
        yield Check(record_id=identifier, what="listing", name=file.path, place="attachments", problem=problem)


def _links(record: Record, identifier: str, linked: dict[str, str]) -> Iterator[Check]:
    """The table of links against the parents that the content cites."""
    said = record.parents()
    for role in sorted(said.keys() | linked.keys()):
        problem = None
        if role not in linked:
            problem = f"the record cites {said[role]} and no link does"
        elif role not in said:
            problem = f"a link says {linked[role]} and the record cites nothing"
        elif linked[role] != said[role]:
            problem = f"the record cites {said[role]}, the link says {linked[role]}"
        yield Check(record_id=identifier, what="link", name=role, place="edges", problem=problem)


def _file(state: State, identifier: str, file: Attachment, seen: _Seen) -> Check:
    """The bytes behind a file's digest, read whole (once per verification)."""
    if file.digest not in seen.objects:
        seen.objects[file.digest] = _read(state, file.digest)
    place, problem = seen.objects[file.digest]
    return Check(record_id=identifier, what="file", name=file.path, place=place, problem=problem)


def _read(state: State, digest: str) -> tuple[str, str | None]:
    if not is_digest(digest):
        return "attachments", "is listed under something that is no digest"
    try:
        state.artifacts.verify(digest)
    except PeError as error:
        return error.where or "artifacts", error.message
    except OSError as error:
        return state.artifacts.url, f"artifact {short(digest)} cannot be read ({type(error).__name__})"
    return state.artifacts.url, None


def _validation_reports(state: State, dataset: DatasetVersion) -> list[Attachment]:
    """Why each release that became this version was accepted. Kept beside the record, since several releases can be one version."""
    with state.registry.reading() as connection:
        rows = connection.execute(release_query(dataset.name, dataset.id)).all()
    return [Attachment(path=f"validation report of {row.version}", digest=row.report_digest, size_bytes=0) for row in rows]


def _refusals(state: State) -> list[Attachment]:
    """Why each release that became no version was refused."""
    r = t.releases.c
    with state.registry.reading() as connection:
        rows = connection.execute(sa.select(r.name, r.version, r.report_digest).where(r.dataset_id.is_(None)).order_by(r.seq)).all()
    return [Attachment(path=f"refusal of {row.name} {row.version}", digest=row.report_digest, size_bytes=0) for row in rows]


def _columns(state: State, identifier: str) -> _Columns | None:
    r = t.records.c
    with state.registry.reading() as connection:
        row = connection.execute(sa.select(r.kind, r.key, r.label, r.body).where(r.id == identifier)).first()
    return _Columns(**row._mapping) if row else None


def _all_ids(state: State) -> Iterator[str]:
    """Ids of all records, oldest first."""
    r, last = t.records.c, 0
    while True:
        with state.registry.reading() as connection:
            page = connection.execute(sa.select(r.seq, r.id).where(r.seq > last).order_by(r.seq).limit(PAGE_RECORDS)).all()
        if not page:
            return
        yield from (str(row.id) for row in page)
        last = page[-1].seq


def _strays(state: State) -> Iterator[Check]:
    """Records that others were made from and that are gone, and what deleted records left behind."""
    e, a, s = t.edges.c, t.attachments.c, t.stages.c
    left = (("link", e.child, e.role), ("listing", a.record_id, a.path), ("stage", s.checkpoint_id, s.stage))
    with state.registry.reading() as connection:
        for parent in connection.execute(_without_record(e.parent, e.parent)):
            yield _absent(parent[0])
        for what, owner, name in left:
            for row in connection.execute(_without_record(owner, name)):
                yield Check(record_id=row[0], what=what, name=row[1], place=owner.table.name, problem="its record is not in the registry")


def _without_record(owner: sa.Column[str], name: sa.Column[str]) -> sa.Executable:
    missing = sa.select(owner, name).distinct().outerjoin(t.records, t.records.c.id == owner).where(t.records.c.id.is_(None))
    return missing.order_by(owner, name)


def _absent(identifier: str) -> Check:
    return Check(record_id=identifier, what="record", name="", place="records", problem="is not in the registry")
