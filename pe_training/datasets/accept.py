"""Accept a release: validate it, seal it, and remember the outcome, once per release.

Bytes first, then one transaction with the record and the outcome: after a crash at any point either nothing is known of the
release and it can be accepted again, or all of it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from pe_training.core.clock import now, stamp
from pe_training.core.config import suggest
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import short
from pe_training.datasets.checks import judge
from pe_training.datasets.policy import ReleasePolicy, load_release_policy
from pe_training.datasets.read import verify_dataset
from pe_training.datasets.recalled import recalls_over, taint_accepted_in
from pe_training.datasets.record import DatasetVersion
from pe_training.datasets.release import Release, changed, read_head, read_release
from pe_training.datasets.report import ValidationReport
from pe_training.datasets.seal import seal
from pe_training.datasets.suite_prompts import SuitePrompts
from pe_training.storage import tables as t
from pe_training.storage.locks import exclusive
from pe_training.storage.state import State


class Validated(NamedTuple):
    """A release and what was found."""

    release: Release
    report: ValidationReport


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """The outcome for one release. ``dataset`` is ``None`` where it was refused."""

    dataset: DatasetVersion | None
    report: ValidationReport
    release_digest: str

    def sealed(self) -> DatasetVersion:
        """The dataset version. Raises refused with the checks that failed."""
        if self.dataset is None:
            raise self.report.refusal()
        return self.dataset


@dataclass(frozen=True, kw_only=True)
class KnownRelease:
    """What the registry remembers of a release."""

    digest: str
    name: str
    version: str
    outcome: str  # accepted | refused
    dataset_id: str | None
    report_digest: str
    at: str


def preview(path: Path, *, suites: SuitePrompts, state: State) -> Validated:
    """A release judged by today's policy against the accepted version before it; stores nothing. ``suites``: what it must not hold."""
    from pe_training.datasets.texts.scan import TextScan

    policy = policy_today(state)
    release = read_release(path, scan=TextScan.of(policy, suites))
    previous_id = version_before(state, name=release.name, digest=release.digest)
    previous = state.registry.get(previous_id, DatasetVersion) if previous_id else None
    return Validated(release, judge(release, policy, previous=previous))


def policy_today(state: State) -> ReleasePolicy:
    """The policy that settings name, without the waivers that have lapsed."""
    return load_release_policy(state.settings.release_policy_file).on(now().date())


def accept(path: Path, *, suites: SuitePrompts, state: State) -> Acceptance:
    """Validate, seal and register a release. The same bytes again give the stored outcome, whose shards are verified.

    A release that was refused is judged anew when the policy (for example by a waiver) or an evaluation suite has changed since, and one
    that was accepted when a waiver that it needed has lapsed; the outcome before stays on record.
    """
    head = read_head(path)
    with exclusive(state.settings.root / "locks" / f"accept-{head.name}.lock"):
        known = find_release(state, head.digest)
        if known is None or _is_to_be_judged_anew(known, suites, state=state):
            release, report = preview(path, suites=suites, state=state)
            if release.digest != head.digest:
                raise changed(path)
            _register(release, report, after=known, state=state)
            known = find_release(state, release.digest)
            assert known is not None
        return recall_outcome(known, state=state)


def _is_to_be_judged_anew(known: KnownRelease, suites: SuitePrompts, *, state: State) -> bool:
    report = stored_report(known.report_digest, state=state)
    if known.outcome == "accepted":
        return bool(report.lapsed(now().date()))
    return (report.policy, report.suites) != (policy_today(state).content_digest, suites.digests)


def stored_report(digest: str, *, state: State) -> ValidationReport:
    """A report from the store. Raises not_found or corrupt where it is not what was stored."""
    return ValidationReport.model_validate_json(state.artifacts.get(digest))


def find_release(state: State, digest: str) -> KnownRelease | None:
    """The newest outcome for a release digest, or ``None`` where it has not been seen."""
    with state.registry.reading() as connection:
        return _newest(connection, digest)


def _newest(connection: sa.Connection, digest: str) -> KnownRelease | None:
    row = connection.execute(_known().where(t.releases.c.digest == digest).order_by(t.releases.c.seq.desc()).limit(1)).first()
    return KnownRelease(**row._mapping) if row else None


def recall_outcome(known: KnownRelease, *, state: State) -> Acceptance:
    """The stored outcome with its report. Raises corrupt where the report or a shard is missing or damaged."""
    report = stored_report(known.report_digest, state=state)
    dataset = state.registry.get(known.dataset_id, DatasetVersion) if known.dataset_id else None
    for shard in dataset.shards if dataset else ():
        try:
            state.artifacts.verify(shard.digest)
        except PeError as error:
            assert dataset is not None
            message = f"{short(dataset.id)} is registered, but its {shard.path} is not whole: {error.message}"
            raise PeError(error.kind, message, where=error.where, hint=error.hint) from error
    return Acceptance(dataset=dataset, report=report, release_digest=known.digest)


def named_version(state: State, text: str) -> DatasetVersion:
    """What a person calls a version: a ``ds_`` id or its beginning, ``NAME@VERSION`` or ``NAME@latest``. Raises not_found or input."""
    name, at, version = text.partition("@")
    if at:
        return resolve_version(state, name=name, version=version)
    return state.registry.get(state.registry.resolve(text), DatasetVersion)


def resolve_version(state: State, *, name: str, version: str) -> DatasetVersion:
    """``latest``, a release version or a ``ds_`` id (or its beginning) of dataset ``name``. Raises not_found or input."""
    if version.startswith("ds_"):
        dataset = state.registry.get(state.registry.resolve(version), DatasetVersion)
        if dataset.name != name:
            raise PeError(Kind.INPUT, f"{short(dataset.id)} is a version of {dataset.name!r}, not of {name!r}", hint="check the name")
        return dataset
    newest = state.registry.latest(DatasetVersion, label=name)
    if newest is None:
        raise PeError(Kind.NOT_FOUND, f"no accepted version of dataset {name!r}", hint=_names_hint(state, name))
    if version == "latest":
        return newest
    r = t.releases.c
    with state.registry.reading() as connection:
        rows = connection.execute(_known().where(r.name == name).order_by(r.seq)).all()
    accepted = {row.version: row.dataset_id for row in rows if row.outcome == "accepted"}
    if version in accepted:
        return state.registry.get(accepted[version], DatasetVersion)
    refused = " (it was refused)" if version in {row.version for row in rows} else ""
    hint = suggest(version, [*accepted, "latest"])
    raise PeError(Kind.NOT_FOUND, f"no accepted version {version!r} of dataset {name!r}{refused}", hint=hint)


def origins(state: State, dataset_id: str) -> dict[str, str]:
    """What a version was made from: the digest of the newest ``release`` accepted as it, and the version that was the newest before."""
    r = t.releases.c
    query = sa.select(r.digest.label("release"), r.previous_id.label("previous")).where(r.dataset_id == dataset_id, r.outcome == "accepted")
    with state.registry.reading() as connection:
        row = connection.execute(query.order_by(r.seq.desc()).limit(1)).first()
    return {role: str(found) for role, found in row._mapping.items() if found} if row else {}


def version_before(state: State, *, name: str, digest: str) -> str | None:
    """The version of a dataset that a release is compared with: the newest when it was first accepted, or now where it was not."""
    with state.registry.reading() as connection:
        return _before(connection, name, t.releases.c.digest == digest)


def _before(connection: sa.Connection, name: str, mine: sa.ColumnElement[bool]) -> str | None:
    """The version of a dataset that was the newest when what ``mine`` selects was first accepted, or is now where it was not."""
    r = t.releases.c
    first = connection.execute(sa.select(sa.func.min(r.seq)).where(mine, r.outcome == "accepted")).scalar()
    query = sa.select(r.dataset_id).where(r.name == name, r.outcome == "accepted").order_by(r.seq.desc()).limit(1)
    found = connection.execute(query if first is None else query.where(r.seq < first)).scalar()
    return str(found) if found else None


def _register(release: Release, report: ValidationReport, *, after: KnownRelease | None, state: State) -> None:
    report_digest = state.artifacts.put_bytes(report.model_dump_json().encode())
    dataset = seal(release.rows, name=release.name, store=state.artifacts) if report.accepted else None
    registered = state.registry.find(dataset.id, DatasetVersion) if dataset else None
    if registered is not None and registered != dataset:
        verify_dataset(registered, state=state)  # an id names rows, not files: what is there must be these rows too
    covered = recalls_over(dataset, state=state) if dataset else {}
    with state.registry.writing() as connection:
        if _newest(connection, release.digest) != after:
            return  # somebody else has judged it meanwhile
        if dataset is not None:
            _refuse_second_meaning(connection, release, dataset)
            state.registry.put_in(connection, dataset)
        connection.execute(
            sa.insert(t.releases).values(
                digest=release.digest,
                name=release.name,
                version=release.version,
                outcome="accepted" if dataset else "refused",
                dataset_id=dataset.id if dataset else None,
                report_digest=report_digest,
                at=stamp(now()),
                previous_id=_before(connection, release.name, t.releases.c.dataset_id == dataset.id) if dataset else None,
            )
        )
        if dataset is not None:
            taint_accepted_in(connection, dataset, known=covered, store=state.artifacts)  # after the insert: see taints.py


def _refuse_second_meaning(connection: sa.Connection, release: Release, dataset: DatasetVersion) -> None:
    """A version that was accepted names its rows for ever: manifests and people refer to it."""
    r = t.releases.c
    same = (r.name == release.name) & (r.version == release.version) & (r.outcome == "accepted") & (r.dataset_id != dataset.id)
    other = connection.execute(sa.select(r.dataset_id).where(same)).scalar()
    if other:
        message = f"{release.name} {release.version} was already accepted with other rows ({short(other)})"
        raise PeError(Kind.CONFLICT, message, where=str(release.path), hint="give the changed release a new version")


def _known() -> sa.Select[tuple[object, ...]]:
    r = t.releases.c
    return sa.select(r.digest, r.name, r.version, r.outcome, r.dataset_id, r.report_digest, r.at)


def _names_hint(state: State, name: str) -> str:
    r = t.records.c
    with state.registry.reading() as connection:
        names = [str(found) for found in connection.execute(sa.select(r.label).where(r.kind == DatasetVersion.kind).distinct()).scalars()]
    return suggest(name, names) if names else "none is accepted yet: `pe dataset add PATH`"
