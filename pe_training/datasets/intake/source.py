"""What somebody declares of files in a foreign shape: how to read them, and everything that a row must say and theirs do not.

Nothing is guessed. What is not declared takes the most suspicious value that a row can hold (unscrubbed, no known licence, no
known family), so that forgetting it ends in a failed check and never in a training run.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationError, model_validator

from pe_training.core.config import load_config
from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import digest_file
from pe_training.core.records import LATER, Frozen, Growing
from pe_training.datasets.complaints import complaint
from pe_training.datasets.intake.hf_folder import folder_digest, is_hf_folder
from pe_training.datasets.release import NAME, VERSION
from pe_training.datasets.release_manifest import FORMATS
from pe_training.datasets.rows import Count, Name, SplitName, Time

Format = Literal["chat", "sharegpt", "alpaca", "prompt_response", "question_answer", "conversation", "preference", "labelled_text"]
UNKNOWN_TIME = "1970-01-01T00:00:00Z"  # nobody said when; a clock would give the same files another digest every time
_HEX_DIGITS = 12


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value  # YAML has lists


def _as_text(value: Any) -> Any:
    if isinstance(value, date):
        raise ValueError("must be written in quotes, such as '2026-01-01T00:00:00Z'")
    return value


def _spelled_split(value: Any) -> Any:
    return "val" if value in ("validation", "valid", "dev") else value


Sha256 = Annotated[str, BeforeValidator(lambda v: v.removeprefix("sha256:") if isinstance(v, str) else v), Field(pattern=r"^[0-9a-f]{64}$")]


class SourceFile(Growing):
    """One file, or one folder that ``save_to_disk`` wrote, below the folder of the source."""

    path: Name
    sha256: Sha256 | None = None  # of a folder: :func:`pe_training.datasets.intake.hf_folder.folder_digest`
    rows: Count | None = None
    label: Annotated[Name | None, LATER] = None  # of labelled_text: what the label in this file is called, in the place of the source's


class SplitField(Growing):
    """The split is the value of this field of the record, by its usual names or by the ``names`` given here."""

    field: Name
    names: Annotated[dict[Name, Annotated[SplitName, BeforeValidator(_spelled_split)]], LATER] = Field(default={})
    val: Annotated[float, LATER] = Field(default=0.0, ge=0, lt=1, description="share of the training rows that validate, by content")


class SplitShares(Frozen):
    """The split follows from the content hash, so that equal contents fall together; the rest is ``train``."""

    val: float = Field(default=0.0, ge=0, lt=1)
    test: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _leaves_some_to_train(self) -> SplitShares:
        if not 0 < self.val + self.test < 1:
            raise ValueError("val and test together must be more than 0 and less than 1")
        return self

    def split_of(self, content_hash: str) -> str:
        """``train``, ``val`` or ``test`` for a content hash."""
        place = share_of(content_hash)
        return "test" if place < self.test else "val" if place < self.test + self.val else "train"


def share_of(content_hash: str) -> float:
    """A place in [0, 1) from the first 64 bits of a content hash."""
    return int(content_hash.removeprefix("sha256:")[:16], 16) / 2**64


def _kind_of_split(value: Any) -> str:
    """Which of the three ways is meant, so that an error speaks of that one."""
    if isinstance(value, SplitField) or (isinstance(value, dict) and "field" in value):
        return "field"
    return "shares" if isinstance(value, SplitShares | dict) else "name"


Split = Annotated[
    Annotated[SplitName, BeforeValidator(_spelled_split), Tag("name")]
    | Annotated[SplitField, Tag("field")]
    | Annotated[SplitShares, Tag("shares")],
    Discriminator(_kind_of_split),
]


class Source(Growing):
    """A declaration, ``apiVersion: pe-training/source-v1``."""

    apiVersion: Literal["pe-training/source-v1"] = "pe-training/source-v1"
    name: str = Field(pattern=NAME.pattern.replace(r"\Z", "$"))  # pydantic's `$` is the very end; Python's is not
    version: str
    format: Format
    files: Annotated[tuple[SourceFile, ...], BeforeValidator(_tuple)]
    family: Name = "undeclared"
    license_tag: Literal["therapeutic_license", "reddit_cc", "synthetic", "public_domain", "custom"] = "custom"
    pii_status: Literal["scrubbed", "none_detected", "requires_review"] = "requires_review"
    phase: str = Field(default="stage0_undeclared", pattern=r"^stage[0-7]_[a-z0-9_]{1,60}$")
    language: str | None = Field(default=None, pattern=r"^[a-z]{2}$")
    purpose: Name | None = None
    processing_pipeline: Name = "undeclared"
    processed_at: Annotated[Time, BeforeValidator(_as_text)] = UNKNOWN_TIME
    dedup_status: Literal["unique", "duplicate_removed", "near_duplicate_removed"] = "unique"  # a check counts repeats, whatever this says
    split: Split | None = None
    label: Name = "label"  # of labelled_text: what its label is called
    classes: Annotated[dict[Name, Name | int], LATER] = Field(default={})  # of labelled_text: label -> what it becomes; '*' is any other
    trailing_client_turns: Literal["keep", "drop"] = "keep"  # client turns after the last answer, from which nothing can be learnt
    repeats: Annotated[Literal["keep", "drop", "join"], LATER] = "keep"  # records with the words of another (repeats.py)
    ignore: Annotated[tuple[Name, ...], BeforeValidator(_tuple)] = ()  # fields, or 'labels.key' and 'group.key', that are left out

    @model_validator(mode="after")
    def _makes_sense(self) -> Source:
        if not VERSION.match(self.version):
            raise ValueError("version must be such as v1.2.0: letters, digits, dots, hyphens; not 'latest'")
        paths = [file.path for file in self.files]
        if not paths or len(set(paths)) < len(paths):
            raise ValueError("files must list at least one path, and every path once")
        if self.label != "label" and self.format != "labelled_text":
            raise ValueError("label is for the format labelled_text")
        if self.classes and self.format != "labelled_text":
            raise ValueError("classes is for the format labelled_text")
        if self.format != "labelled_text" and any(file.label for file in self.files):
            raise ValueError("files.label is for the format labelled_text")
        if self.repeats == "drop" and any(file.label for file in self.files):
            raise ValueError("files.label goes with repeats: join or keep; drop would drop what the other files say of a text")
        if self.repeats == "join" and self.format != "labelled_text":
            raise ValueError("repeats: join is for the format labelled_text; elsewhere repeats can be dropped")
        if self.trailing_client_turns == "drop" and self.format in ("labelled_text", "preference"):
            raise ValueError(f"trailing_client_turns is not for the format {self.format}")
        return self

    def of(self, file: SourceFile) -> Source:
        """The declaration as it holds for one of its files."""
        return self.model_copy(update={"label": file.label}) if file.label else self


def load_source(path: Path) -> Source:
    """Read a declaration. Raises input or not_found with ``file:line:column``."""
    return load_config(path, DeclaredSource)


class DeclaredSource(Source):
    """A file must say what kind of file it is."""

    apiVersion: Literal["pe-training/source-v1"]


def source_for(path: Path, *, format: str, name: str | None = None, version: str | None = None, **declared: Any) -> Source:
    """The declaration of one file or ``save_to_disk`` folder from flags. ``declared`` are further fields of :class:`Source`.

    The name defaults to the file's stem, the version to ``x`` and the first 12 hex digits of its digest. Raises input, not_found.
    """
    if not path.exists():
        raise PeError(Kind.NOT_FOUND, "no such file", where=str(path), hint="give a file, or a folder that save_to_disk wrote")
    saved = is_hf_folder(path)
    if not saved and not (path.is_file() and path.name.endswith(FORMATS)):
        hint = f"use {', '.join(FORMATS)}, or a folder that save_to_disk wrote"
        raise PeError(Kind.INPUT, "is not a kind of file that is read", where=str(path), hint=hint)
    path = path.absolute()
    sha256 = (folder_digest(path) if saved else digest_file(path)).removeprefix("sha256:")
    stem = re.sub(r"(\.jsonl|\.jsonl\.gz|\.parquet)$", "", path.name)
    body = {
        "name": stem.replace("_", "-") if name is None else name,
        "version": f"x{sha256[:_HEX_DIGITS]}" if version is None else version,
        "format": format,
        "files": [{"path": path.name, "sha256": sha256}],
    }
    try:
        return Source.model_validate(body | declared)
    except ValidationError as error:
        field, message = complaint(error, Source)
        place = f"{path}:{field}" if field else str(path)
        raise PeError(Kind.INPUT, message, where=place, hint="give it by a flag, or write a declaration") from None
