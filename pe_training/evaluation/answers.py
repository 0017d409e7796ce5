"""Answers that models gave, kept: what was asked once is not asked again, by whatever run and after whatever kill.

A batch of answers is one artifact, and a row for each question points at it: bytes first, then facts. What the registry names is whole,
and read by its digest; answers whose bytes are damaged or gone are forgotten and asked for again. What can be left over stays little: a
killed batch leaves at most one file, which the same batch has again as its own, and answers that older code had of the same model go as
newer come.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pe_training.core.errors import Kind, PeError
from pe_training.core.ids import canonical_json, digest_json
from pe_training.evaluation.identity import ModelIdentity
from pe_training.storage import tables as t
from pe_training.storage.registry import INSERTS
from pe_training.storage.state import State

_AT_ONCE = 500  # SQLite takes some thousands of values in one statement


@dataclass(frozen=True)
class AnswerBook:
    """The answers of one model. An answer is a JSON value: a reply, a label, a loss."""

    model: ModelIdentity
    state: State

    def key(self, question: Mapping[str, Any]) -> str:
        """The digest that an answer is found by: of the question, which says how it is to be answered, and of the model."""
        return digest_json({"model": self.model.digest, "question": question})

    def known(self, keys: Sequence[str]) -> dict[str, Any]:
        """The answers that are here, of those asked for, from verified bytes."""
        files: dict[str, list[str]] = {}
        a = t.answers.c
        with self.state.registry.reading() as connection:
            for part in _parts(keys):
                for row in connection.execute(sa.select(a.question, a.digest).where(a.question.in_(part))):
                    files.setdefault(str(row.digest), []).append(str(row.question))
        found: dict[str, Any] = {}
        for digest, questions in sorted(files.items()):
            answers = self._read(digest)
            if answers is None or not answers.keys() >= set(questions):
                self._forget_files([digest])
            else:
                found |= {question: answers[question] for question in questions}
        return found

    def keep(self, answers: Mapping[str, Any]) -> None:
        """File answers under their keys. Where another process was faster, its answers stay."""
        self._forget_older()
        digest = self.state.artifacts.put_bytes(canonical_json(dict(answers)))
        rows = [{"question": key, "subject": self.model.subject, "model": self.model.digest, "digest": digest} for key in sorted(answers)]
        with self.state.registry.writing() as connection:
            insert = INSERTS[connection.dialect.name](t.answers)
            for start in range(0, len(rows), _AT_ONCE):
                connection.execute(insert.values(rows[start : start + _AT_ONCE]).on_conflict_do_nothing())
        self._delete_unneeded([digest])

    def _read(self, digest: str) -> dict[str, Any] | None:
        try:
            answers = json.loads(self.state.artifacts.get(digest))
        except PeError as error:
            if error.kind is not Kind.CORRUPT:
                raise
            return None
        return answers if isinstance(answers, dict) else None

    def _forget_older(self) -> None:
        """What other code answered for the same model on this kind of machine."""
        a = t.answers.c
        with self.state.registry.reading() as connection:
            older = sa.select(a.digest).distinct().where(a.subject == self.model.subject, a.model != self.model.digest)
            digests = [str(row.digest) for row in connection.execute(older)]
        self._forget_files(digests)

    def _forget_files(self, digests: Sequence[str]) -> None:
        """Pointers before bytes."""
        if digests:
            with self.state.registry.writing() as connection:
                for part in _parts(digests):
                    connection.execute(sa.delete(t.answers).where(t.answers.c.digest.in_(part)))
            self._delete_unneeded(digests)

    def _delete_unneeded(self, digests: Sequence[str]) -> None:
        tables = (t.answers, t.attachments, t.run_states)
        with self.state.registry.reading() as connection:
            needed = {
                digest
                for digest in digests
                if connection.execute(sa.select(sa.or_(*(sa.exists().where(table.c.digest == digest) for table in tables)))).scalar()
            }
        for digest in sorted(set(digests) - needed):
            self.state.artifacts.delete(digest)


def _parts(keys: Iterable[str]) -> Iterator[list[str]]:
    listed = list(keys)
    return (listed[start : start + _AT_ONCE] for start in range(0, len(listed), _AT_ONCE))
