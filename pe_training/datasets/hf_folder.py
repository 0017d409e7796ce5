"""Folders that Hugging Face ``datasets.save_to_disk`` wrote, read without that library.

A saved ``Dataset`` is ``state.json`` and the Arrow stream files that it lists, in order; a ``DatasetDict`` is
``dataset_dict.json`` and one such folder per split. Only what is listed is read: the library leaves its caches beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_file, digest_json
from pe_training.datasets.plain_paths import plain_path
from pe_training.datasets.shard_lines import MAX_ROW_BYTES, UnreadableError

STATE = "state.json"
SPLITS = "dataset_dict.json"
_BATCH_ROWS = 1_000
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
    if not (folder / SPLITS).exists():
        return tuple(_files_of(folder, split=None))
    try:
        splits = _NAMES.validate_python(_json(folder, SPLITS).get("splits"), strict=True)
    except ValidationError:
        raise _damaged(folder / SPLITS, "lists no splits") from None
    return tuple(file for split in splits for file in _files_of(folder, split=split))


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
            for batch in reader:
                for start in range(0, batch.num_rows, _BATCH_ROWS):
                    for row in batch.slice(start, _BATCH_ROWS).to_pylist(maps_as_pydicts="strict"):
                        number += 1
                        line = to_json(row, inf_nan_mode="constants")
                        if len(line) > MAX_ROW_BYTES:
                            raise UnreadableError(
                                number, f"the row is longer than {MAX_ROW_BYTES >> 20} MiB; the rest of the file is not read"
                            )
                        yield number, line
    except (pa.ArrowException, PydanticSerializationError, OSError, ValueError, KeyError) as error:
        raise UnreadableError(number + 1, f"the Arrow file cannot be read ({type(error).__name__})") from None


def _files_of(folder: Path, *, split: str | None) -> Iterator[ArrowFile]:
    prefix = "" if split is None else f"{split}/"
    where = str(folder / prefix / STATE)
    state = _json(folder, f"{prefix}{STATE}")
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise _damaged(Path(where), "the rows are reordered by an indices file, as old versions wrote")
    try:
        listed = _FILES.validate_python(state.get("_data_files"), strict=True)
        names = [entry["filename"] for entry in listed]
    except (ValidationError, KeyError):
        raise _damaged(Path(where), "lists no _data_files with a filename") from None
    for index, name in enumerate(names):
        place = f"{where}:_data_files.{index}.filename"
        path = plain_path(folder, f"{prefix}{name}", where=place)
        if not name.endswith(".arrow") or not path.is_file():
            raise PeError(Kind.INPUT, "is not an .arrow file", where=place, hint="save the dataset again with save_to_disk")
        yield ArrowFile(name=f"{prefix}{name}", path=path, split=split)


def _json(folder: Path, name: str) -> dict[str, JsonValue]:
    path = plain_path(folder, name, where=str(folder / name))
    try:
        return _JSON_OBJECT.validate_json(path.read_bytes())
    except (ValidationError, OSError):
        raise _damaged(path, "is not a JSON object") from None


def _damaged(path: Path, message: str) -> PeError:
    return PeError(Kind.INPUT, message, where=str(path), hint="save the dataset again with save_to_disk")
