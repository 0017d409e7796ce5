"""Differences between manifests, as a plan shows them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pe_training.manifests.plan import difference

LEAF = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
TREE = st.dictionaries(st.text("abc", min_size=1, max_size=2), st.recursive(LEAF, lambda x: st.dictionaries(st.text("abc"), x)), max_size=4)


def test_a_difference_names_keys_with_before_and_after() -> None:
    changes = difference({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": None, "e": "x" * 99})
    assert [(c.key, c.before, c.after) for c in changes] == [("a.c", "2", "3"), ("e", "absent", "x" * 57 + "...")]


@given(TREE)
def test_what_is_equal_does_not_differ(tree: dict[str, Any]) -> None:
    assert difference(tree, tree) == []


@given(TREE, TREE)
def test_the_way_back_is_the_same_keys_with_the_sides_exchanged(before: dict[str, Any], after: dict[str, Any]) -> None:
    there, back = difference(before, after), difference(after, before)
    assert [(c.key, c.before, c.after) for c in there] == [(c.key, c.after, c.before) for c in back]
