"""A folder at an fsspec URL: looked at and copied from, with errors that say what to do and repeat no credential.

Stores are opened with what the environment says (AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_ENDPOINT_URL ...); a URL that holds a name or
password is refused, and of a signed URL the signature is not shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pe_training.core.errors import Kind, PeError
from pe_training.core.progress import Meter
from pe_training.storage.durable import world_errors
from pe_training.storage.stores import CREDENTIALS, OPTIONS, store_errors

_MARKS = (  # as the stores name them; the sooner the better
    "ETag", "etag", "Content-MD5", "md5Checksum", "Digest", "mtime", "LastModified", "Last-Modified", "last_modified", "updated", "created",
)  # fmt: skip
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
}
_NOTHING = "check the URL: of a folder with manifest.json, of a folder that save_to_disk wrote, of a declaration or of a data file"


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """What a store says of a file without reading it."""

    size_bytes: int | None  # None where the store does not say
    mark: str | None  # differs when the bytes were replaced; None where the store has none


class Remote:
    """One folder of a store. Names are relative to it."""

    def __init__(self, fs: Any, root: str, *, shown: str, query: str = "") -> None:
        """``root`` as ``fs`` names it; ``shown`` to people; ``query``: of a signed web address, for every file below it."""
        self._fs, self._root, self.shown, self._query = fs, root.rstrip("/"), shown.rstrip("/"), query

    @classmethod
    def open(cls, url: str) -> Remote:
        """The folder at ``url``; asks the store nothing yet. Raises input."""
        from fsspec.core import url_to_fs

        _require_plain(url)
        shown = shown_url(url)
        try:
            protocol = urlsplit(url).scheme
            plain, mark, signature = url.partition("?") if protocol in ("http", "https") else (url, "", "")
            fs, root = url_to_fs(plain, **OPTIONS.get(protocol, {}))
        except ImportError:
            package = _PACKAGES.get(protocol, "the fsspec package for it")
            raise PeError(Kind.INPUT, f"{package} is not installed", where=shown, hint=f"pip install {package}") from None
        except ValueError:
            hint = "use s3://, https://, or another URL that an installed fsspec package serves"
            raise PeError(Kind.INPUT, f"no store is known for {protocol}://", where=shown, hint=hint) from None
        fs.invalidate_cache()  # another process may have written since this one last looked
        return cls(fs, root, shown=shown, query=mark + signature)

    def parent(self) -> tuple[Remote, str]:
        """The folder that this is in, and the name that it has there."""
        root, _, name = self._root.rpartition("/")
        return Remote(self._fs, root, shown=self.shown.rpartition("/")[0], query=self._query), name

    def place(self, name: str) -> str:
        """Where a file lies, as a person would type it."""
        return f"{self.shown}/{name}"

    def look(self, name: str) -> RemoteFile | None:
        """What the store says of a file, or ``None`` where there is none. Raises infrastructure."""
        try:
            with store_errors(self.place(name), nothing=_NOTHING):
                info = self._fs.info(self._path(name))
        except PeError as error:
            if error.kind == Kind.NOT_FOUND:
                return None
            raise
        if info.get("type") != "file":
            return None
        mark = next((str(info[key]) for key in _MARKS if info.get(key)), None)
        return RemoteFile(size_bytes=info.get("size"), mark=mark)

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """The bytes of a small file. Raises not_found, infrastructure, or input where it is not small."""
        with store_errors(self.place(name), nothing=_NOTHING), self._fs.open(self._path(name), "rb") as file:
            data = bytes(file.read(max_bytes + 1))
        if len(data) > max_bytes:
            raise PeError(Kind.INPUT, f"is larger than {max_bytes:,} bytes", where=self.place(name), hint="is this the right file?")
        return data

    def copy(self, name: str, to: Path, *, expected: RemoteFile, meter: Meter) -> None:
        """A local copy of a file. Raises busy where it has changed, not_found, infrastructure."""
        from fsspec.callbacks import Callback

        class Counting(Callback):  # type: ignore[misc]  # fsspec is not typed
            def relative_update(self, inc: int = 1) -> None:
                super().relative_update(inc)
                meter.add(inc)

        with world_errors(to):
            to.parent.mkdir(parents=True, exist_ok=True)
        with store_errors(self.place(name), nothing=_NOTHING):
            self._fs.get_file(self._path(name), str(to), callback=Counting())
        if expected.size_bytes not in (None, to.stat().st_size):
            message = "the file changed while it was fetched"
            raise PeError(Kind.BUSY, message, where=self.place(name), hint="wait until it is wholly uploaded, then run this again")

    def folders(self, name: str = "") -> list[str]:
        """Names of the folders in this one, or in one below it. Raises not_found or infrastructure."""
        return self._names(name, kind="directory")

    def files(self) -> list[str]:
        """Names of the files directly in this folder. Raises not_found or infrastructure."""
        return self._names("", kind="file")

    def _names(self, name: str, *, kind: str) -> list[str]:
        with store_errors(self.place(name) if name else self.shown, nothing=_NOTHING):
            found = self._fs.ls(self._path(name), detail=True)
        return sorted(str(entry["name"]).rstrip("/").rpartition("/")[2] for entry in found if entry["type"] == kind)

    def _path(self, name: str) -> str:
        return (f"{self._root}/{name}" if name else self._root) + self._query


def shown_url(url: str) -> str:
    """A URL without what may be secret in it: user, password, query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _require_plain(url: str) -> None:
    parts = urlsplit(url)
    if not url.isprintable() or "::" in url:
        raise PeError(Kind.INPUT, "is not a plain URL", where=shown_url(url), hint="use a URL such as s3://bucket/folder")
    if "@" in parts.netloc:
        raise PeError(Kind.INPUT, "the URL holds a user name or password", where=shown_url(url), hint=CREDENTIALS)
    if {".", ".."} & set(url.split("/")):
        raise PeError(Kind.INPUT, "the URL has a part . or ..", where=shown_url(url), hint="write the folder that is meant")
    if not parts.netloc and not parts.path.strip("/"):
        raise PeError(Kind.INPUT, "names no folder or file", where=shown_url(url), hint="use a URL such as s3://bucket/folder")
