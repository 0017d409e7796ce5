"""Small records of every foreign shape, and sources that declare them."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pe_training.datasets.conversion import Conversion
from pe_training.datasets.intake.source import Source
from pe_training.datasets.intake.tally import Converted, Tally

WORDS = "the words of a client"  # must never be in a message
QUESTION, ANSWER = "I cannot sleep before exams.", "That sounds tiring. What keeps you awake?"
RECORDS: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "client", "content": QUESTION}, {"role": "Therapist", "content": ANSWER}]},
    "sharegpt": {"conversations": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}]},
    "conversation": {"conversation": [{"role": "patient", "content": QUESTION}, {"role": "counsellor", "content": ANSWER}]},
    "alpaca": {"instruction": QUESTION, "input": "", "output": ANSWER},
    "prompt_response": {"prompt": QUESTION, "response": ANSWER},
    "question_answer": {"question": QUESTION, "answer": ANSWER},
    "preference": {"prompt": QUESTION, "chosen": ANSWER, "rejected": "Just sleep."},
    "labelled_text": {"text": ANSWER, "context": QUESTION, "label": 2},
}


def source_of(format: str, **declared: Any) -> Source:
    """A declaration of one JSON Lines file."""
    body: dict[str, Any] = {"name": "notes", "version": "v1", "format": format, "files": [{"path": "notes.jsonl"}]}
    return Source.model_validate(body | declared)


def write_lines(path: Path, records: Sequence[Mapping[str, Any] | str]) -> Path:
    """JSON Lines; a text among the records is written as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records), encoding="utf-8")
    return path


@contextlib.contextmanager
def quiet_datasets() -> Iterator[Any]:
    """Hugging Face's ``datasets``, offline and without its progress bars."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    with contextlib.redirect_stderr(io.StringIO()), patch.dict(os.environ, offline):
        import datasets

        datasets.disable_progress_bars()
        yield datasets


def counted(items: Iterable[Converted]) -> Conversion:
    """The tally of a whole stream, which is read to its end."""
    tally = Tally()
    for item in items:
        tally.add(item)
    return tally.conversion()
