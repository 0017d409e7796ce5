"""The nursery of evaluation processes. Each notes in its home's ``asked.log`` every question, by key, as it is put to a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pe_training.core.ids import is_digest
from pe_training.evaluation.generate import Answerer, Book, Kind, Question, answer_all
from pe_training.settings import Settings
from pe_training_tests.faults import nursery

ASKED_LOG = "asked.log"


class EvaluationNursery(nursery.Nursery):
    """``start(Prepared(home, checkpoint, manifest))``."""

    module = __name__


def asked_in(home: Path) -> list[str]:
    """Keys of the questions that were put to a model in a home, in order. A last line may be torn by a kill; it was not asked then."""
    path = home / ASKED_LOG
    return [line for line in path.read_text().splitlines() if is_digest(line)] if path.exists() else []


def noting(questions: Sequence[Question], *, model: Answerer, book: Book, **named: Any) -> list[Any]:
    """:func:`answer_all` with a note of what reaches the model."""
    keys = {id(question.content): book.key({"kind": question.kind, **question.asked}) for question in questions}
    log = os.open(Settings().root / ASKED_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    class Noting:
        def answer(self, kind: Kind, contents: Sequence[Any]) -> list[Any]:
            os.write(log, "".join(f"{keys[id(content)]}\n" for content in contents).encode())
            return model.answer(kind, contents)

    return answer_all(questions, model=Noting(), book=book, **named)


def _main() -> None:
    import pyarrow.parquet  # noqa: F401 - with these three, what takes the time
    import sacrebleu  # noqa: F401
    import scipy.stats  # noqa: F401

    from pe_training.evaluation import execute
    from pe_training.evaluation.__main__ import evaluate

    execute.answer_all = noting  # type: ignore[assignment]
    nursery.serve(evaluate)


if __name__ == "__main__":
    _main()
