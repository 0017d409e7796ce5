"""Folders that Hugging Face ``datasets.save_to_disk`` wrote, read without that library.

A saved ``Dataset`` is ``state.json`` and the Arrow stream files that it lists, in order; a ``DatasetDict`` is
``dataset_dict.json`` and one such folder per split. Only what is listed is read: the library leaves its caches beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_file, digest_json
from pe_training.datasets.intake.plain_paths import plain_path
from pe_training.datasets.shard_lines import MAX_ROW_BYTES, TOO_LONG, UnreadableError, repeats

STATE = "state.json"
SPLITS = "dataset_dict.json"
_BATCH_ROWS = 100  # Arrow packs equal texts into one, so that a small file may hold rows beyond any memory
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # of a stream; pyarrow takes a file that was cut between two batches for whole
_JSON_OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])
_FILES: TypeAdapter[list[dict[str, str]]] = TypeAdapter(list[dict[str, str]])
_NAMES: TypeAdapter[list[str]] = TypeAdapter(list[str])


@dataclass(frozen=True, kw_only=True)
class ArrowFile:
    """One Arrow stream file of a saved dataset; ``split`` is the name that a ``DatasetDict`` gives it."""

    name: str
    path: Path
    split: str | None


def is_hf_folder(path: Path) -> bool:
    """Whether ``save_to_disk`` could have written this folder."""
    return path.is_dir() and ((path / STATE).is_file() or (path / SPLITS).is_file())


def arrow_files(folder: Path) -> tuple[ArrowFile, ...]:
    """The Arrow files of a saved dataset in reading order, named below ``folder``. Raises input or not_found."""
    found = []
    for name, split, place in listed_files(
        lambda list_name: _bytes(folder, list_name), where=str(folder), in_splits=(folder / SPLITS).exists()
    ):
        path = plain_path(folder, name, where=place)
        if not path.is_file():
            raise _no_arrow(place)
        found.append(ArrowFile(name=name, path=path, split=split))
    return tuple(found)


def listed_files(read: Callable[[str], bytes], *, where: str, in_splits: bool) -> Iterator[tuple[str, str | None, str]]:
    """Name, split and place in a list of every Arrow file that the lists of a saved dataset name, wherever ``read`` finds those lists.

    Raises input where a list is damaged; that the names stay in the folder is for the caller to see to.
    """
    splits: list[str | None] = [None]
    if in_splits:
        try:
            splits = list(_NAMES.validate_python(_json(read, SPLITS, where=where).get("splits"), strict=True))
        except ValidationError:
            raise _damaged(f"{where}/{SPLITS}", "lists no splits") from None
    for split in splits:
        prefix = "" if split is None else f"{split}/"
        for index, name in enumerate(_data_files(read, prefix, where=where)):
            place = f"{where}/{prefix}{STATE}:_data_files.{index}.filename"
            if not name.endswith(".arrow"):
                raise _no_arrow(place)
            yield f"{prefix}{name}", split, place


def folder_digest(folder: Path) -> str:
    """``sha256:`` digest of everything that is read of a saved dataset: its lists and its Arrow files."""
    files = arrow_files(folder)
    lists = {str(Path(file.name).parent / STATE) for file in files} | ({SPLITS} if (folder / SPLITS).exists() else set())
    return digest_json({name: digest_file(folder / name) for name in sorted(lists | {file.name for file in files})})


def arrow_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """``(number, JSON)`` of every row of one Arrow stream file; a null stays a null. Raises :class:`UnreadableError`."""
    import pyarrow as pa

    number = 0
    try:
        with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as reader:
            if repeats(reader.schema):
                raise UnreadableError(1, "a column of the Arrow file stands twice")
            for batch in reader:
                for start in range(0, batch.num_rows, _BATCH_ROWS):
                    for row in batch.slice(start, _BATCH_ROWS).to_pylist(maps_as_pydicts="strict"):
                        number += 1
                        line = to_json(row, inf_nan_mode="constants")
                        if len(line) > MAX_ROW_BYTES:
                            raise UnreadableError(number, TOO_LONG)
                        yield number, line
        if not _ends(path):
            raise UnreadableError(number + 1, "the Arrow file has no end mark: it was cut, or is older than 2019")
    except (pa.ArrowException, PydanticSerializationError, OSError, ValueError, KeyError) as error:
        raise UnreadableError(number + 1, f"the Arrow file cannot be read ({type(error).__name__})") from None


def _ends(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-len(_END), os.SEEK_END)
        return file.read() == _END


def _data_files(read: Callable[[str], bytes], prefix: str, *, where: str) -> list[str]:
    place = f"{where}/{prefix}{STATE}"
    state = _json(read, f"{prefix}{STATE}", where=where)
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise _damaged(place, "the rows are reordered by an indices file, as old versions wrote")
    try:
        return [entry["filename"] for entry in _FILES.validate_python(state.get("_data_files"), strict=True)]
    except (ValidationError, KeyError):
        raise _damaged(place, "lists no _data_files with a filename") from None


def _json(read: Callable[[str], bytes], name: str, *, where: str) -> dict[str, JsonValue]:
    try:
        return _JSON_OBJECT.validate_json(read(name))
    except ValidationError:
        raise _damaged(f"{where}/{name}", "is not a JSON object") from None


def _bytes(folder: Path, name: str) -> bytes:
    path = plain_path(folder, name, where=str(folder / name))
    try:
        return path.read_bytes()
    except OSError:
        raise _damaged(str(path), "cannot be read") from None


def _no_arrow(where: str) -> PeError:
    return PeError(Kind.INPUT, "is not an .arrow file", where=where, hint="save the dataset again with save_to_disk")


def _damaged(where: str, message: str) -> PeError:
    return PeError(Kind.INPUT, message, where=where, hint="save the dataset again with save_to_disk")
