"""What lies at a URL as a local copy, wholly and durably: a release folder, a saved folder, a semver export, a declaration or one file.

Only what is listed is copied. A copy is named after the URL and after what the store says of every file (its ETag or time), so the same
state of a bucket is fetched once, and a shard that was uploaded again is fetched again.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from pe_training.core.config import MAX_FILE_BYTES, parse_config
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_bytes, digest_json
from pe_training.core.progress import Meter
from pe_training.datasets.intake.hf_folder import SPLITS, STATE, listed_files
from pe_training.datasets.intake.plain_paths import plain_name
from pe_training.datasets.intake.remote import Remote, RemoteFile
from pe_training.datasets.intake.semver import chosen_version, parse_semver_manifest, version_in
from pe_training.datasets.intake.source import DeclaredSource
from pe_training.datasets.release_manifest import FORMATS, MANIFEST, parse_release_manifest, shard_names
from pe_training.storage.durable import new_folder, world_errors

FOLDER = "fetched"
DECLARATIONS = (".yaml", ".yml")
MAX_LIST_BYTES = 512 << 20  # of a manifest, which may map the provenance of every row
_KEY_DIGITS = 12


@dataclass(kw_only=True)
class _Plan:
    """What is to be copied from one remote folder, and where it is opened then."""

    remote: Remote
    prefix: str  # the folder below the copy's own in which names are as in the remote
    opened: str = ""  # the file that the caller asked for; empty where it is the folder
    texts: dict[str, bytes] = field(default_factory=dict)  # lists that were read already
    files: dict[str, RemoteFile] = field(default_factory=dict)

    @property
    def silent(self) -> bool:
        """Whether the store does not say, of some file, if it has changed since."""
        return any(found.mark is None for found in self.files.values())

    def read(self, name: str, *, max_bytes: int = MAX_LIST_BYTES) -> bytes:
        """A list, which is then part of the copy."""
        self.texts[name] = self.remote.read(name, max_bytes=max_bytes)
        return self.texts[name]

    def include(self, name: str) -> bool:
        """Whether a file is there; then it is part of the copy."""
        found = self.files.get(name) or self.remote.look(name)
        if found is not None:
            self.files[name] = found
        return found is not None


def fetch(url: str, *, into: Path, version: str | None = None) -> Path:
    """The local copy, below ``into``, of what lies at ``url``; ``version`` chooses among several semver exports there.

    Raises input, not_found, refused where a shard is larger than its manifest says, busy where it changes, infrastructure.
    """
    plan = _plan(url, version=version)
    marks = {name: [found.size_bytes, found.mark] for name, found in plan.files.items()}
    lists = {name: digest_bytes(data) for name, data in plan.texts.items()}
    key = digest_json({"url": plan.remote.shown, "opened": plan.opened, "lists": lists, "files": marks})
    copy = into / FOLDER / key.removeprefix("sha256:")[:_KEY_DIGITS]
    if plan.silent or not copy.exists():
        _copy(plan, copy)
    return copy / plan.prefix / plan.opened


def _copy(plan: _Plan, copy: Path) -> None:
    """Make a copy, wholly; one of that name from before stays until then."""
    meter = Meter("fetching", sum(found.size_bytes or 0 for found in plan.files.values()))
    with new_folder(copy) as writing:
        folder = writing / plan.prefix
        for name, data in plan.texts.items():
            with world_errors(folder / name):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(data)
        for name, found in plan.files.items():
            plan.remote.copy(name, folder / name, expected=found, meter=meter)
        if plan.silent and copy.exists():
            with world_errors(copy):
                shutil.rmtree(copy)


def _plan(url: str, *, version: str | None) -> _Plan:
    remote = Remote.open(url)
    parent, name = remote.parent()
    if name.endswith(DECLARATIONS):
        return _declaration(_Plan(remote=parent, prefix="source", opened=name))
    if name.endswith(FORMATS):
        plan = _Plan(remote=parent, prefix="source", opened=name)
        if not plan.include(name):
            raise _nothing(remote.shown)
        return plan
    if stated := version_in(name):
        return _export(_Plan(remote=parent, prefix=parent.parent()[1], opened=name), version=stated)
    if name == MANIFEST:
        remote, (parent, name) = parent, parent.parent()
    if remote.look(MANIFEST):
        return _release(_Plan(remote=remote, prefix=f"{parent.parent()[1] or 'release'}/{name}"))
    plan = _Plan(remote=remote, prefix=name)
    if any(remote.look(found) for found in (SPLITS, STATE)):
        return _saved(plan, "")
    known = sorted(found for found in map(version_in, remote.files()) if found)
    if not known:
        raise _nothing(remote.shown)
    return _export(plan, version=chosen_version(known, wanted=version, where=remote.shown))


def _release(plan: _Plan) -> _Plan:
    place = plan.remote.place(MANIFEST)
    manifest = parse_release_manifest(plan.read(MANIFEST), where=place)
    for _, entry, name, where in shard_names(manifest, where=place, is_there=plan.include):
        if plan.include(name) and (plan.files[name].size_bytes or 0) > entry.size_bytes:
            message = f"{name} has {plan.files[name].size_bytes:,} bytes and the manifest says {entry.size_bytes:,}; nothing was fetched"
            raise PeError(Kind.REFUSED, message, where=where, hint="upload the release again, the manifest last")
    return plan


def _declaration(plan: _Plan) -> _Plan:
    where = plan.remote.place(plan.opened)
    source = parse_config(plan.read(plan.opened, max_bytes=MAX_FILE_BYTES).decode(errors="replace"), DeclaredSource, name=where)
    for index, file in enumerate(source.files):
        plain_name(file.path, where=f"{where}:files.{index}.path")
        if not plan.include(file.path):
            _saved(plan, f"{file.path}/")
    return plan


def _saved(plan: _Plan, prefix: str) -> _Plan:
    """A folder that ``save_to_disk`` wrote, at ``prefix`` below the plan's."""
    in_splits = plan.remote.look(f"{prefix}{SPLITS}") is not None
    if not in_splits and plan.remote.look(f"{prefix}{STATE}") is None:
        raise _nothing(plan.remote.place(prefix.rstrip("/")))

    def read(name: str) -> bytes:
        plain_name(name, where=plan.remote.place(f"{prefix}{name}"))
        return plan.read(f"{prefix}{name}")

    for name, _, where in listed_files(read, where=plan.remote.place(prefix).rstrip("/"), in_splits=in_splits):
        plain_name(name, where=where)
        if not plan.include(f"{prefix}{name}"):
            raise _nothing(plan.remote.place(f"{prefix}{name}"))
    return plan


def _export(plan: _Plan, *, version: str) -> _Plan:
    name = f"manifest_{version}.json"
    manifest = parse_semver_manifest(plan.read(name), version=version, where=plan.remote.place(name))
    for index, entry in enumerate(manifest.files):
        plain_name(entry.name, where=f"{plan.remote.place(name)}:files.{index}")
        if not plan.include(entry.name):
            raise _nothing(plan.remote.place(entry.name))
    plan.opened = name
    return plan


def _nothing(where: str) -> PeError:
    hint = f"check the URL: of a folder with {MANIFEST}, of a folder that save_to_disk wrote, of a declaration or of a data file"
    return PeError(Kind.NOT_FOUND, "nothing that is read is there", where=where, hint=hint)
