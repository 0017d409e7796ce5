"""Which test rows hang together, and what an evaluation says of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pe_training.datasets.seal import seal
from pe_training.evaluation import execute
from pe_training.evaluation.execute import Asked
from pe_training.evaluation.held_out import opening, row_clusters
from pe_training.evaluation.predictions import from_parquet
from pe_training.storage.state import State
from pe_training_tests.datasets.samples import NAME, fresh_state, read, sample_release
from pe_training_tests.evaluation import controls
from pe_training_tests.releases import make_row

ASKED = "I put my mother's plates out on the street and I can't sleep since."


def said(*turns: str, system: str | None = None) -> list[dict[str, str]]:
    """Client and therapist in turns."""
    found = [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
    return found if system is None else [{"role": "system", "content": system}, *found]


def clusters(*conversations: list[dict[str, str]], sources: list[str] | None = None) -> list[str]:
    return row_clusters([str(i) for i in range(len(conversations))], conversations, sources)


def test_windows_of_one_conversation_and_answers_to_one_post_are_one_cluster() -> None:
    window = said(ASKED, "What was on them?", "Blue birds.", "You miss them.")
    assert clusters(said(ASKED, "What was on them?"), window, said(ASKED, "Call her.")) == ["0", "0", "0"]


def test_neither_case_nor_punctuation_nor_an_instruction_makes_another_conversation() -> None:
    assert clusters(said(ASKED, "a"), said(ASKED.upper().replace(".", " ...") + " ", "b", system="You are kind.")) == ["0", "0"]


def test_conversations_that_begin_with_the_same_greeting_are_told_apart_by_what_follows() -> None:
    first, second = (
        said("Hi there", "Hello.", ASKED, "x"),
        said("Hi there", "Hello.", "My brother sold the boat without a word to me.", "x"),
    )
    assert clusters(first, second, said("Hi there", "Hello.", ASKED, "Another answer.")) == ["0", "1", "0"]
    assert opening(first) != opening(second)
    assert clusters(said("Hi", "Hello."), said("Hi", "Good morning.")) == ["0", "1"]


def test_rows_of_one_source_are_one_cluster_only_where_the_suite_says_so() -> None:
    texts = [said(f"{name} told me that I should write to you about the flat.") for name in ("Anna", "Bea", "Cleo", "Dora")]
    assert clusters(*texts) == ["0", "1", "2", "3"]
    assert clusters(*texts, sources=["a", "b", "a", "c"]) == ["0", "1", "0", "3"]


def test_sources_that_share_a_conversation_are_one_cluster() -> None:
    texts = [said(f"{name} told me that I should write to you about the flat.") for name in ("Anna", "Bea", "Anna", "Dora")]
    assert clusters(*texts, sources=["a", "b", "b", "c"]) == ["0", "0", "0", "3"]
    assert set(clusters(*texts, sources=["a"] * 4)) == {"0"}


ANSWERS = ("That took some courage.", "What did the street look like after?", "Plates can be bought again.")


def asked_of(tmp_path: Path, state: State, *, cluster_by: str | None) -> tuple[Asked, Any]:
    """A held-out suite over a sealed dataset: three answers to one post, and seven rows of two files that share nothing."""
    rows = [make_row([("user", ASKED), ("assistant", text)], split="test", labels={"tone": "warm"}) for text in ANSWERS]
    rows += [
        make_row([("user", f"Number {i} is what they call me where I work."), ("assistant", f"{i}?")], split="test", labels={"tone": tone})
        for i, tone in enumerate(["warm", "cold"] * 3 + ["cold"])
    ]
    for i, row in enumerate(rows):
        row["metadata"]["source_key"] = f"file-{i % 2}"
    dataset = seal(read(sample_release(tmp_path / "release", rows)).rows, name=NAME, store=state.artifacts)
    state.registry.put(dataset)
    suite = controls.suite("accuracy")
    suite = replace(suite, config=suite.config.model_copy(update={"cluster_by": cluster_by}))
    spec = SimpleNamespace(
        dataset=SimpleNamespace(version=dataset.id), evaluation=SimpleNamespace(max_examples={}), seed=1, task="text_classification",
        model_task="text_classification", hyperparameters=SimpleNamespace(label="tone"),
    )  # fmt: skip
    manifest: Any = SimpleNamespace(spec=spec, suites={"accuracy": "sha256:0"})
    asker: Any = SimpleNamespace(label=lambda messages: messages)
    return execute._ask_rows(suite, manifest, asker, state=state), manifest


def test_an_evaluation_counts_conversations_and_shows_which_rows_are_of_one(tmp_path: Path) -> None:
    state = fresh_state(tmp_path / "home")
    asked, manifest = asked_of(tmp_path, state, cluster_by=None)
    said = [{"warm": 0.8, "cold": 0.2}] * 10
    scored = execute._score_rows(asked, said, None, manifest)
    accuracy = next(metric for metric in scored.metrics if metric.name == "accuracy").tuned
    assert accuracy is not None
    assert (accuracy.n, accuracy.examples, accuracy.method) == (8, 10, "cluster-wilson")
    kept = from_parquet(state.artifacts.get(execute._keep(asked, scored, state=state).digest))
    assert sorted(sum(row["cluster"] == name for row in kept) for name in {row["cluster"] for row in kept}) == [1] * 7 + [3]
    assert {row["cluster"] for row in kept} <= {row["id"] for row in kept}  # names of rows, and nobody's words


@pytest.mark.parametrize("shared", [False, True])
def test_sources_are_clusters_where_the_suite_says_so(tmp_path: Path, shared: bool) -> None:
    asked, _ = asked_of(tmp_path, fresh_state(tmp_path / "home"), cluster_by="source_key" if shared else None)
    assert len(set(asked.clusters)) == (1 if shared else 8)  # the answers to one post lie in both files and join them
