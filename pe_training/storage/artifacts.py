"""Bytes, kept once, under the digest of what they are.

``<root>/sha256/<first two hex>/<64 hex>``. A file either is there whole or is not there; reading through :meth:`get` or
:meth:`verify` recomputes the digest, because one flipped bit in a checkpoint loads without complaint everywhere else.
Local folders get a durable commit; any other fsspec URL gets one conditional upload of a complete object.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from upath import UPath

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_bytes, digest_file, is_digest, short
from pe_training.core.records import Attachment
from pe_training.storage.durable import flushed, forget_abandoned, world_errors, write_durably, write_named
from pe_training.storage.stores import OPTIONS, store_errors

_CHUNK_BYTES = 1 << 20
_PIECE_BYTES, _PIECES_AHEAD = 1 << 24, 4  # of a stream: what is written or hashed at once, and how far writing may be ahead of hashing
_READ_ONLY = 0o444  # an editor that saves in place should have to insist


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class ArtifactStore:
    """Content-addressed files below one URL."""

    def __init__(self, url: str, *, cache: Path, behind: ArtifactStore | None = None) -> None:
        """``url``: any fsspec URL. ``cache``: local folder for objects that a library must open by path.

        ``behind``: a store that is read where this one lacks an object, and never written.
        """
        self.url, self._behind = url, behind
        try:
            self._root: UPath = UPath(url, **OPTIONS.get(url.partition("://")[0], {}))
            _ = self._root.fs  # else made on first use, which is too late to say that its package is missing
        except (ValueError, ImportError) as error:
            hint = "use file:///... or another URL that an installed fsspec package serves, such as s3://bucket/prefix"
            raise PeError(Kind.INPUT, f"no store can be opened here ({error})", where="PE_ARTIFACTS_URL", hint=hint) from None
        self._local = Path(self._root.path) if self._root.protocol in ("", "file", "local") else None
        self._cache = cache

    def put_bytes(self, data: bytes) -> str:
        """Store ``data``; returns its digest. Storing what is there already costs one look."""
        digest = digest_bytes(data)
        if not self.has(digest):
            self._commit_bytes(digest, data)
        return digest

    def put_stream(self, chunks: Iterable[bytes | memoryview]) -> str:
        """Store what ``chunks`` make together, hashed beside being written and never held as a whole; returns its digest."""
        hasher = hashlib.sha256()

        def write(file: BinaryIO) -> None:
            with ThreadPoolExecutor(1, thread_name_prefix="hasher") as beside, flushed(file) as written:
                hashing: deque[Future[None]] = deque()
                for piece in _pieces(chunks):
                    hashing.append(beside.submit(hasher.update, piece))
                    file.write(piece)
                    written(len(piece))
                    if len(hashing) > _PIECES_AHEAD:
                        hashing.popleft().result()
                for hashed in hashing:
                    hashed.result()

        if self._local is not None:
            with world_errors(self._local):
                forget_abandoned(self._local)
                path = write_named(self._local, write, name=lambda: self._local_path("sha256:" + hasher.hexdigest()), mode=_READ_ONLY)
            return "sha256:" + path.name
        with tempfile.TemporaryDirectory() as name:
            spool = Path(name) / "object"
            with world_errors(spool), spool.open("wb") as file:
                write(file)
            digest = "sha256:" + hasher.hexdigest()
            self._upload(digest, spool)
        return digest

    def put_file(self, source: Path) -> str:
        """Store a copy of a local file; returns its digest."""
        digest = digest_file(source)
        if self.has(digest):
            return digest
        if self._local is None:
            self._upload(digest, source)
            return digest
        with source.open("rb") as reading:
            write_durably(self._local_path(digest), lambda writing: shutil.copyfileobj(reading, writing, _CHUNK_BYTES), mode=_READ_ONLY)
        return digest

    def attach(self, files: Mapping[str, Path]) -> tuple[Attachment, ...]:
        """Store local files; returns them as attachments, sorted by their name in the record."""
        return tuple(
            Attachment(path=name, digest=self.put_file(path), size_bytes=path.stat().st_size) for name, path in sorted(files.items())
        )

    def has(self, digest: str) -> bool:
        """Whether an object of that name exists (not whether it is intact: see :meth:`verify`)."""
        return self._exists(digest) or (self._behind is not None and self._behind.has(digest))

    def get(self, digest: str) -> bytes:
        """The bytes, verified. Raises not_found or corrupt."""
        path = self._open_checked(digest)
        with self._answering(digest):
            data = bytes(path.read_bytes())
        if digest_bytes(data) != digest:
            raise self._corrupt(digest)
        return data

    def local_path(self, digest: str) -> Path:
        """A verified local file with these bytes, for libraries that open by path. Never write to it."""
        if self._behind is not None and not self._exists(digest):
            return self._behind.local_path(digest)
        if self._local is not None:
            self.verify(digest)
            return self._local_path(digest)
        cached = self._cache / digest.removeprefix("sha256:")
        if not cached.exists() or digest_file(cached) != digest:
            data = self.get(digest)
            write_durably(cached, lambda file: file.write(data))
        return cached

    def checkout(self, files: Iterable[Attachment], folder: Path) -> Path:
        """Lay verified ``files`` out under their names in ``folder`` (hard links where possible); returns it."""
        for attachment in files:
            if not _stays_inside(folder, attachment.path):
                raise PeError(Kind.CORRUPT, f"attachment name leaves its folder: {attachment.path!r}", where=short(attachment.digest))
            source, target = self.local_path(attachment.digest), folder / attachment.path
            with world_errors(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                try:
                    os.link(source, target)
                except OSError:
                    shutil.copyfile(source, target)
        return folder

    def verify(self, digest: str) -> None:
        """Read the whole object and compare. Raises not_found or corrupt with the place of the object."""
        hasher, path = hashlib.sha256(), self._open_checked(digest)
        with self._answering(digest), path.open("rb") as file:
            readable = cast(_Readable, file)
            while chunk := readable.read(_CHUNK_BYTES):
                hasher.update(chunk)
        if "sha256:" + hasher.hexdigest() != digest:
            raise self._corrupt(digest)

    def delete(self, digest: str) -> None:
        """Forget an object that no fact names any more. Deleting what is not there is fine."""
        if self._exists(digest):
            with self._answering(digest):
                self._path(digest).unlink(missing_ok=True)

    def _commit_bytes(self, digest: str, data: bytes) -> None:
        if self._local is not None:
            write_durably(self._local_path(digest), lambda file: file.write(data), mode=_READ_ONLY)
            return
        path = self._path(digest)
        with self._answering(digest):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def _upload(self, digest: str, source: Path) -> None:
        """Copy a local file into a remote store, in parts where it is large."""
        path = self._path(digest)
        with self._answering(digest):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.fs.put_file(str(source), path.path)

    def _open_checked(self, digest: str) -> UPath:
        path = self._path(digest)
        if not self._exists(digest):
            if self._behind is not None:
                return self._behind._open_checked(digest)
            hint = "restore it from a backup of the artifact store, or run the job that made it again"
            raise PeError(Kind.CORRUPT, f"artifact {short(digest)} is missing", where=self._place(digest), hint=hint)
        return path

    def _exists(self, digest: str) -> bool:
        with self._answering(digest):
            return bool(self._path(digest).exists())

    def _answering(self, digest: str) -> AbstractContextManager[None]:
        """Around each thing that is asked of the store: what it fails with becomes one error."""
        if self._local is not None:
            return world_errors(self._local_path(digest))
        return store_errors(self._place(digest), nothing="it was there a moment ago: see who else deletes from this store")

    def _corrupt(self, digest: str) -> PeError:
        hint = "its bytes changed after they were stored; restore it from a backup or make it again"
        return PeError(Kind.CORRUPT, f"artifact {short(digest)} does not match its digest", where=self._place(digest), hint=hint)

    def _place(self, digest: str) -> str:
        """Where an object lies, as a person would type it."""
        return str(self._path(digest) if self._local is None else self._local_path(digest))

    def _path(self, digest: str) -> UPath:
        assert is_digest(digest), digest
        name = digest.removeprefix("sha256:")
        return self._root / "sha256" / name[:2] / name

    def _local_path(self, digest: str) -> Path:
        assert self._local is not None
        name = digest.removeprefix("sha256:")
        return self._local / "sha256" / name[:2] / name


def _pieces(chunks: Iterable[bytes | memoryview]) -> Iterator[memoryview]:
    for chunk in chunks:
        view = memoryview(chunk)
        for start in range(0, len(view), _PIECE_BYTES):
            yield view[start : start + _PIECE_BYTES]


def _stays_inside(folder: Path, name: str) -> bool:
    """Whether ``name`` is a file below ``folder``, also through links that lie there already."""
    parts = Path(name).parts
    if not parts or ".." in parts or "\0" in name or Path(name).is_absolute():
        return False
    return (folder / name).parent.resolve().is_relative_to(folder.resolve())
